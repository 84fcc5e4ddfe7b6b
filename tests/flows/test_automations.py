"""Automations: as Prefect's server takes them, and with texts that are right whatever is in them."""

import json
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from flows.automations import BEATING, FLOWS, automations, zombie
from flows.deployments import DEPLOYMENTS
from flows.execution import DEPLOYMENTS as FAN_OUT
from flows.settings import HEARTBEAT_SECONDS, Settings
from flows.stack_services import QUEUES


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STVD_FRESH_HOURS", '{"europe": 36}')
    return Settings()


def test_the_server_takes_them(settings: Settings) -> None:
    from prefect.server.events.schemas.automations import AutomationCore

    for webhook in (None, uuid4()):
        for automation in automations(settings, webhook):
            AutomationCore.model_validate(automation.model_dump(mode="json"))


def test_names_say_what_is_wrong(settings: Settings) -> None:
    assert [automation.name for automation in automations(settings)] == [
        "stvd: a run failed",
        "stvd: a run crashed",
        "stvd: a run is dead",
        "stvd: europe does not grow",
    ]


def test_a_message_with_quotes_and_lines_is_still_json(settings: Settings) -> None:
    from prefect.server.utilities.user_templates import render_user_template_sync

    action = automations(settings, uuid4())[0].actions[0]
    message = 'pr at 2031-03-04 says "no"\nline {{ two }}'
    context = {
        "flow": SimpleNamespace(name="nightly"),
        "flow_run": SimpleNamespace(name="europe", state=SimpleNamespace(message=message)),
    }
    sent = json.loads(render_user_template_sync(action.payload, context))
    assert sent == {"text": f"stvd: a run failed: nightly europe: {message}"}


def test_a_run_is_dead_after_four_missed_heartbeats() -> None:
    trigger = zombie().trigger
    assert trigger.within == timedelta(seconds=4 * HEARTBEAT_SECONDS) == timedelta(minutes=2)
    beat = "prefect.flow-run.heartbeat"
    assert trigger.after & trigger.expect == {beat}, "a sign of life ends the wait, and starts it"
    assert trigger.after == {"prefect.flow-run.Running", beat}, (
        "one that gave none is waited for too"
    )


def test_a_product_is_told_of_once_per_silence(settings: Settings) -> None:
    trigger = automations(settings)[3].trigger
    assert trigger.within == timedelta(hours=36)
    assert trigger.match.root == {"prefect.resource.id": "stvd.product.europe"}
    assert trigger.expect < trigger.after, "every partition starts the wait anew"


def test_no_more_than_what_is_asked_for_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVD_FRESH_HOURS", '{"europe": 0}')
    with pytest.raises(ValueError, match=r"fresh_hours\.europe"):
        Settings()


def test_deployments_fan_out_and_alerts_name_each_other() -> None:
    names = {f"{flow.name}/{options.get('name', 'stvd')}" for flow, _, options in DEPLOYMENTS}
    assert set(FAN_OUT.values()) <= names
    assert set(FLOWS) == {flow.name for flow, _, _ in DEPLOYMENTS} - {"downscale"}
    assert {flow.name for flow, _, _ in DEPLOYMENTS} | {"demo", "register"} == set(BEATING)


def test_a_backfill_never_stands_before_the_nightly_run() -> None:
    queues = {
        f"{flow.name}/{options.get('name', 'stvd')}": queue for flow, queue, options in DEPLOYMENTS
    }
    assert queues["nightly/stvd"] == queues[FAN_OUT["nightly"]] == QUEUES[0]
    assert queues["backfill/stvd"] == queues[FAN_OUT["backfill"]] == QUEUES[1]
