"""The flows as deployments of a process work pool: what an operator sees in the Prefect UI.

`python -m flows.deployments` registers them with the server of `PREFECT_API_URL`;
`prefect worker start --pool stvd` runs them.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.workers.process import ProcessWorker

from flows.backfill import backfill
from flows.diagnose import diagnose
from flows.downscale import downscale
from flows.nightly import nightly
from flows.train import train

POOL = "stvd"
NIGHTLY = Cron("30 2 * * *", timezone="UTC")  # a local zone misfires where clocks change

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
NORMAL, LOW = "default", "low"
# Flow, queue, what else. The partitions of a backfill have a queue and a limit of their own, so that
# those of the nightly run never wait for them.
DEPLOYMENTS: list[tuple[Flow[..., Any], str, dict[str, Any]]] = [
    (nightly, NORMAL, {"schedule": NIGHTLY, "concurrency_limit": ONE_AT_A_TIME}),
    (downscale, NORMAL, {"concurrency_limit": 1}),
    (diagnose, NORMAL, {}),
    (backfill, LOW, {}),
    (downscale, LOW, {"name": LOW, "concurrency_limit": 1}),
    (train, LOW, {"concurrency_limit": 1}),
]


def register(pool: str = POOL) -> list[str]:
    """Make the work pool and every deployment, or bring them up to date; their full names."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(
            WorkPoolCreate(
                name=pool,
                type="process",
                base_job_template=ProcessWorker.get_default_base_job_template(),
            ),
            overwrite=True,
        )
        for priority, queue in enumerate((NORMAL, LOW), start=1):
            try:
                client.create_work_queue(queue, work_pool_name=pool, priority=priority)
            except ObjectAlreadyExists:
                known = client.read_work_queue_by_name(queue, work_pool_name=pool)
                client.update_work_queue(known.id, priority=priority)
    names = []
    for flow, queue, options in DEPLOYMENTS:
        deployment = RunnerDeployment.from_flow(
            flow,
            **{"name": pool, **options},
            work_pool_name=pool,
            work_queue_name=queue,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        names.append(f"{flow.name}/{deployment.name}")
    return names


if __name__ == "__main__":
    print("\n".join(register()))
