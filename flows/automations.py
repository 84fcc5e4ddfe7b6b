"""What Prefect's server watches by itself: failures, crashes, and products that no longer grow.

Each is an automation whose name begins with `stvd: `. With a webhook (`STVD_ALERT_URL`) it sends
`{"text": …}`, else it only shows in the UI's event feed.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import Event, Resource

from flows.settings import HEARTBEAT_SECONDS, Settings
from tasks.announcement import PUBLISHED, resource

PREFIX = "stvd: "
WATCHED = "stvd.product.watched"
WATCHED_AFTER = (0, 2, 6)  # seconds between tellings of it
WEBHOOK = "stvd-alerts"
# A run that fails alone is told of by the flow that asked for it: `downscale` is not among them.
FLOWS = ["nightly", "backfill", "diagnose", "train", "evaluate", "promote"]
# Of other flows on the same server nobody knows whether their hearts beat.
BEATING = [*FLOWS, "demo", "downscale", "register"]
MISSED = 4  # heartbeats, after which a run is taken for dead

RUN = "flow.name ~ ' ' ~ flow_run.name"
ENDS = ["Completed", "Failed", "Crashed", "Cancelled", "TimedOut"]
WAITS = ["Paused", "Suspended", "AwaitingRetry", "Scheduled"]


def automations(settings: Settings, webhook: UUID | None = None) -> list[AutomationCore]:
    """All of them, sending their alerts to a webhook block if there is one."""
    return [
        _on_state(["Failed", "TimedOut"], "a run failed", webhook),
        _on_state(["Crashed"], "a run crashed", webhook),
        zombie(),
        *(
            stale(product, timedelta(hours=hours), webhook)
            for product, hours in settings.fresh_hours.items()
        ),
    ]


def _on_state(states: list[str], what: str, webhook: UUID | None) -> AutomationCore:
    text = f"{{{{ ('stvd: {what}: ' ~ {RUN} ~ ': ' ~ flow_run.state.message) | tojson }}}}"
    return AutomationCore(
        name=PREFIX + what,
        description=f"Tells that {what}.",
        trigger=EventTrigger(
            expect=_events(states),
            match=_labels({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_labels(
                {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[_alert(text, webhook)],
    )


def zombie(patience: timedelta = timedelta(seconds=MISSED * HEARTBEAT_SECONDS)) -> AutomationCore:
    """A run whose heart has stopped is marked as crashed: its machine, worker or process is gone."""
    begun, beat = "prefect.flow-run.Running", "prefect.flow-run.heartbeat"
    return AutomationCore(
        name=PREFIX + "a run is dead",
        description=f"Marks a run as crashed that gave no sign of life for {patience}.",
        trigger=EventTrigger(
            after={begun, beat},  # the first beat may be lost with the run
            expect={beat, *_events(ENDS + WAITS)},
            match=_labels({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_labels(
                {"prefect.resource.role": "flow", "prefect.resource.name": BEATING}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=patience,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"no sign of life for {patience}: its process or machine is gone",
            )
        ],
    )


def stale(product: str, within: timedelta, webhook: UUID | None = None) -> AutomationCore:
    """A product to which no partition was added for so long, since the last one or since it has been
    watched; told once, until there is one again.
    """
    text = f'"stvd: no new partition in {product} for {within}"'
    return AutomationCore(
        name=_stale_name(product),
        description=f"Tells that no partition of {product} was published for {within}.",
        trigger=EventTrigger(
            after={WATCHED, PUBLISHED},
            expect={PUBLISHED},
            match=_labels({"prefect.resource.id": resource(product)["prefect.resource.id"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[_alert(text, webhook)],
    )


def register(settings: Settings) -> list[str]:
    """Make the automations on the server, or bring them up to date; their names.

    One that stands as it should is not touched, so that its clock runs on. One that was ours and is
    no longer wanted is removed.
    """
    webhook = None
    if settings.alert_url:
        url = settings.alert_url.get_secret_value()
        webhook = cast(UUID, Webhook(url=url).save(WEBHOOK, overwrite=True))
    with get_client(sync_client=True) as client:
        there = {a.name: a for a in client.read_automations() if a.name.startswith(PREFIX)}
        wanted = automations(settings, webhook)
        changed = set()
        for automation in wanted:
            old = there.pop(automation.name, None)
            if old is None:
                client.create_automation(automation)
            elif AutomationCore(**old.model_dump(exclude={"id"})) != automation:
                client.update_automation(old.id, automation)
            else:
                continue
            changed.add(automation.name)
        for old in there.values():
            client.delete_automation(old.id)
        _watch(client, [p for p in settings.fresh_hours if _stale_name(p) in changed])
    return [automation.name for automation in wanted]


def _watch(client: SyncPrefectClient, products: list[str]) -> None:
    """Start the clocks of products that may never have been published.

    A server that is busy or has just begun hears of an automation a while after it has made it, and passes
    over what comes before. So each is told again; a clock that runs is not set back by it.
    """
    for seconds in WATCHED_AFTER if products else ():
        time.sleep(seconds)
        events = [Event(event=WATCHED, resource=Resource(resource(p))) for p in products]
        sent = [event.model_dump(mode="json") for event in events]
        client.request("POST", "/events", json=sent).raise_for_status()


def _stale_name(product: str) -> str:
    return f"{PREFIX}{product} does not grow"


def _alert(text: str, webhook: UUID | None) -> ActionTypes:
    """Send a text, itself JSON or a template of it."""
    if webhook is None:
        return DoNothing()
    return CallWebhook(block_document_id=webhook, payload=f'{{"text": {text}}}')


def _events(states: list[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _labels(labels: dict[str, Any]) -> Any:
    """`EventTrigger` makes of them what they have to be."""
    return labels
