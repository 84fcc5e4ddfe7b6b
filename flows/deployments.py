"""The flows as deployments of a work pool: what an operator sees in the Prefect UI.

`python -m flows.deployments` registers pool, deployments and automations with the server of
`PREFECT_API_URL`; a worker for each queue runs what is asked for (`flows.stack_services.worker`).
"""

from __future__ import annotations

from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.workers.process import ProcessWorker

from flows import automations
from flows.backfill import backfill
from flows.diagnose import diagnose
from flows.downscale import downscale
from flows.evaluate import evaluate
from flows.nightly import nightly
from flows.promote import promote
from flows.settings import Settings
from flows.stack_services import POOL, QUEUES
from flows.train import train

NORMAL, LOW = QUEUES
NIGHTLY = Cron("30 2 * * *", timezone="UTC")  # a local zone misfires where clocks change

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
# Flow, queue, what else. The partitions of a backfill have a queue and a limit of their own, so that
# those of the nightly run never wait for them.
DEPLOYMENTS: list[tuple[Flow[..., Any], str, dict[str, Any]]] = [
    (nightly, NORMAL, {"schedule": NIGHTLY, "concurrency_limit": ONE_AT_A_TIME}),
    (downscale, NORMAL, {"concurrency_limit": 1}),
    (diagnose, NORMAL, {}),
    (backfill, LOW, {}),
    (downscale, LOW, {"name": LOW, "concurrency_limit": 1}),
    (train, LOW, {"concurrency_limit": 1}),
    (evaluate, LOW, {"concurrency_limit": 1}),
    (promote, NORMAL, {}),
]


def pool(settings: Settings) -> WorkPoolCreate:
    """The work pool: that of the template, or processes beside the worker."""
    if settings.pool_template is None:
        template = ProcessWorker.get_default_base_job_template()
        return WorkPoolCreate(name=POOL, type="process", base_job_template=template)
    template = yaml.safe_load(settings.pool_template.read_text())
    if not isinstance(template, dict) or set(template) != {"type", "base_job_template"}:
        raise ValueError(
            f"{settings.pool_template} must have `type` and `base_job_template`, no more"
        )
    return WorkPoolCreate(name=POOL, **template)


def register(settings: Settings | None = None) -> list[str]:
    """Make the work pool and every deployment, or bring them up to date; their full names."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool(settings or Settings()), overwrite=True)
        for priority, queue in enumerate(QUEUES, start=1):
            _queue(client, queue, priority)
    names = []
    for flow, queue, options in DEPLOYMENTS:
        deployment = RunnerDeployment.from_flow(
            flow,
            **{"name": POOL, **options},
            work_pool_name=POOL,
            work_queue_name=queue,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        names.append(f"{flow.name}/{deployment.name}")
    return names


def _queue(client: SyncPrefectClient, name: str, priority: int) -> None:
    try:
        client.create_work_queue(name, work_pool_name=POOL, priority=priority)
    except ObjectAlreadyExists:
        queue = client.read_work_queue_by_name(name, work_pool_name=POOL)
        client.update_work_queue(queue.id, priority=priority)


if __name__ == "__main__":
    print("\n".join([*register(), *automations.register(Settings())]))
