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
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.workers.process import ProcessWorker

from flows.backfill import backfill
from flows.diagnose import diagnose
from flows.downscale import downscale
from flows.evaluate import evaluate
from flows.nightly import nightly
from flows.promote import promote
from flows.train import train

POOL = "stvd"
NIGHTLY = Cron("30 2 * * *", timezone="UTC")  # a local zone misfires where clocks change

ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
)
FLOWS: dict[Flow[..., Any], dict[str, Any]] = {
    nightly: {"schedule": NIGHTLY, "concurrency_limit": ONE_AT_A_TIME},
    backfill: {},
    downscale: {"concurrency_limit": 1},
    diagnose: {},
    train: {"concurrency_limit": 1},
    evaluate: {"concurrency_limit": 1},
    promote: {},
}


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
    names = []
    for flow, options in FLOWS.items():
        deployment = RunnerDeployment.from_flow(
            flow,
            name=pool,
            work_pool_name=pool,
            entrypoint_type=EntrypointType.MODULE_PATH,
            **options,
        )
        deployment.apply()
        names.append(f"{flow.name}/{pool}")
    return names


if __name__ == "__main__":
    print("\n".join(register()))
