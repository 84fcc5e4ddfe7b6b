"""One service of the stack in this process's place: what a container runs.

`python -m flows.serve prefect`, `mlflow`, `store`, or `worker QUEUE`, on `STVD_HOST`.
"""

from __future__ import annotations

import os
import sys

from flows.settings import Settings
from flows.stack_services import QUEUES, Service, StackError, mlflow, prefect, worker
from flows.stack_store import store, write_keys

PORTS = {"prefect": 4200, "mlflow": 5000, "store": 8333, "worker": 8080}


def service(name: str, settings: Settings, queue: str = QUEUES[0]) -> Service:
    """The service called `name`.

    Raises
    ------
    StackError
        If there is none of that name, or its settings are not whole.
    """
    port, host = PORTS.get(name, 0), settings.host
    match name:
        case "prefect":
            return prefect(port, host)
        case "mlflow":
            return mlflow(
                settings, port, settings.mlflow_artifacts or settings.artifacts.as_uri(), host
            )
        case "store":
            if not (settings.store_access_key and settings.store_secret_key):
                raise StackError("store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, its keys")
            write_keys(
                settings, settings.store_access_key, settings.store_secret_key.get_secret_value()
            )
            return store(settings, port, host)
        case "worker":
            return worker(queue, "--with-healthcheck")
    raise StackError(f"no service {name!r}: one of {', '.join(PORTS)}")


def environment(wanted: Service, settings: Settings) -> dict[str, str]:
    """What the service's process gets; what the environment already says stands."""
    return {
        **settings.environment(),
        **os.environ,
        "PREFECT_WORKER_WEBSERVER_HOST": settings.host,
        **wanted.environment,
    }


if __name__ == "__main__":
    try:
        wanted = service(sys.argv[1], Settings(), *sys.argv[2:3])
    except (IndexError, StackError) as error:
        sys.exit(str(error) if isinstance(error, StackError) else __doc__)
    os.execvpe(wanted.command[0], wanted.command, environment(wanted, Settings()))
