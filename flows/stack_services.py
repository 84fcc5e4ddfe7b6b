"""The services of a deployment, each a command with its environment and what tells that it is well.

`flows.stack` runs them on one machine, `flows.serve` one in a container: the same commands.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.settings import Settings

HOST = "127.0.0.1"
POOL = "stvd"
# The queues of the pool; what waits in the first goes before what waits in the second.
QUEUES = ("default", "low")
RUN = (sys.executable, "-m")


class StackError(RuntimeError):
    """A service cannot be started or stopped; the message says why and what to do."""


class Service(BaseModel):
    """One process.

    Parameters
    ----------
    command : of the process
    ports : that it listens on, the one that people use first
    health : answers 200 once the service is ready
    once : does its work and ends
    environment : of this service alone
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...] = ()
    health: str | None = None
    once: bool = False
    environment: dict[str, str] = {}


def prefect(port: int, host: str = HOST) -> Service:
    """Prefect's server, its UI and its background services."""
    return Service(
        name="prefect",
        command=(*RUN, "prefect", "server", "start", "--host", host, "--port", str(port)),
        ports=(port,),
        health=f"http://{HOST}:{port}/api/health",
    )


def mlflow(settings: Settings, port: int, artifacts: str, host: str = HOST) -> Service:
    """MLflow's server, through which artifacts go to `artifacts`; its database is not on the command
    line, where everybody could read a password.
    """
    signed_in = settings.mlflow_password is not None
    return Service(
        name="mlflow",
        command=(
            *(*RUN, "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
            *(("--app-name", "basic-auth") if signed_in else ()),
        ),
        ports=(port,),
        health=f"http://{HOST}:{port}/health",
        environment={
            "MLFLOW_BACKEND_STORE_URI": settings.database,
            "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
            **(_signing_in(settings) if signed_in else {}),
        },
    )


def _signing_in(settings: Settings) -> dict[str, str]:
    """What MLflow's authentication needs: a key for its sessions, and a file that names the database
    of accounts, in which no other user of the machine may read.
    """
    if importlib.util.find_spec("flask_wtf") is None:
        raise StackError(
            "MLflow's authentication needs the extra `servers`: pip install '.[servers]'"
        )
    accounts = settings.database
    if accounts.startswith("sqlite:"):
        accounts = f"sqlite:///{settings.home}/mlflow_accounts.db"
    file = private(settings.home / "mlflow_accounts.ini")
    escaped = accounts.replace("%", "%%")
    file.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {escaped}\n")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(file),
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.mlflow_user,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.mlflow_session_key.get_secret_value(),
    }


def private(file: Path) -> Path:
    """A file that only its owner may read, made if it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file


def deployments() -> Service:
    """Registers the work pool, the deployments and the automations."""
    return Service(name="deployments", command=(*RUN, "flows.deployments"), once=True)


def worker(queue: str, *options: str) -> Service:
    """Runs what waits in one queue of the pool."""
    return Service(
        name=f"worker-{queue}",
        command=(
            *(*RUN, "prefect", "worker", "start", "--pool", POOL, "--work-queue", queue),
            *("--name", f"{socket.gethostname()}-{queue}", "--install-policy", "never"),
            *("--no-create-pool-if-not-found", *options),
        ),
    )
