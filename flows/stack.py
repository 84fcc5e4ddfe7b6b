"""The local stack: Prefect, MLflow, an object store if asked for, and a worker for each queue.

All on this machine and on loopback. `flows.stack_services` and `flows.stack_store` say what is
started; this module starts it, waits until it is well, and stops it, last first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from flows import stack_store
from flows.settings import Settings
from flows.stack_processes import (
    MARK,
    STOP_SECONDS,
    alive,
    end,
    ended,
    gone_is_fine,
    mark,
    marked,
    reap,
)
from flows.stack_services import (
    HOST,
    QUEUES,
    Service,
    StackError,
    deployments,
    mlflow,
    prefect,
    worker,
)


class Ports(BaseModel):
    """Where the servers listen; without a port for it there is no object store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect: int = 4200
    mlflow: int = 5000
    store: int | None = None


class StackState(BaseModel):
    """What a running supervisor has started, as written to the state file; no secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supervisor: str
    prefect_url: str
    mlflow_url: str
    store_url: str | None = None
    pids: dict[str, int]
    health: dict[str, str] = {}

    @property
    def prefect_api_url(self) -> str:
        return f"{self.prefect_url}/api"


def running(settings: Settings) -> StackState | None:
    """The stack that runs on these settings' folder, or None."""
    try:
        state = StackState.model_validate_json(settings.state_file.read_text())
    except (OSError, ValueError):
        return None
    return state if alive(state.supervisor) else None


def connect(settings: Settings) -> None:
    """Point Prefect and MLflow at the stack that runs on this folder, else at its own files.

    What the environment already says stands. Call it before Prefect or MLflow are imported.
    """
    os.environ.setdefault(MARK, mark())
    if state := running(settings):
        os.environ.setdefault("PREFECT_API_URL", state.prefect_api_url)
        os.environ.setdefault("MLFLOW_TRACKING_URI", state.mlflow_url)
        if state.store_url and "AWS_ENDPOINT_URL" not in os.environ:
            os.environ.update(stack_store.reaching(settings, state.store_url))
            settings = Settings()
    settings.apply()


def services(settings: Settings, ports: Ports) -> list[Service]:
    """Servers first, then what needs them, in the order of starting."""
    artifacts = settings.mlflow_artifacts or (
        stack_store.ARTIFACTS if ports.store else settings.artifacts.as_uri()
    )
    return [
        prefect(ports.prefect),
        mlflow(settings, ports.mlflow, artifacts),
        *([stack_store.store(settings, ports.store)] if ports.store else []),
        deployments(),
        *(worker(queue, "--type", "process") for queue in QUEUES),
    ]


@contextmanager
def stack(
    settings: Settings, ports: Ports | None = None, *, say: Callable[[str], None] = print
) -> Iterator[StackState]:
    """Start the servers and the workers, and stop them, last first, on leaving.

    Raises
    ------
    StackError
        If one already runs here, a port is taken, or a service does not come up.
    """
    ports = ports or Ports()
    if other := running(settings):
        raise StackError(
            f"a stack already runs on {settings.home}: Prefect {other.prefect_url}, MLflow "
            f"{other.mlflow_url}. Use it, or end it with `stvd stack --stop`."
        )
    if orphans := reap():
        say(f"Ended {orphans} processes that an earlier run had left behind")
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    parts = services(settings, ports)
    for service in parts:
        _assert_ports_free(service)

    os.environ[MARK] = mark()
    urls = {"prefect": f"http://{HOST}:{ports.prefect}", "mlflow": f"http://{HOST}:{ports.mlflow}"}
    store_url = f"http://{HOST}:{ports.store}" if ports.store else None
    environment = {
        **settings.environment(),
        **os.environ,
        **settings.exported(),
        "PREFECT_API_URL": f"{urls['prefect']}/api",
        "MLFLOW_TRACKING_URI": urls["mlflow"],
        **(stack_store.reaching(settings, store_url) if store_url else {}),
    }
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for service in (part for part in parts if part.health):
            _start(service, environment, settings, started, say)
        _await_health(parts, started, settings)
        if store_url:
            stack_store.make_bucket(stack_store.BUCKET, environment)
        for service in (part for part in parts if not part.health):
            _start(service, environment, settings, started, say)
            if service.once:
                _await_end(service, started.pop(service.name), settings)
        state = StackState(
            supervisor=mark(),
            prefect_url=urls["prefect"],
            mlflow_url=urls["mlflow"],
            store_url=store_url,
            pids={name: process.pid for name, process in started.items()},
            health={part.name: part.health for part in parts if part.health},
        )
        settings.state_file.write_text(state.model_dump_json(indent=2))
        yield state
    finally:
        for name in reversed(started):
            say(f"Stopping {name}")
            with gone_is_fine():
                end([psutil.Process(started[name].pid)])
            started[name].wait()
        end(marked(lambda owner: owner == mark()), patience=5)
        settings.state_file.unlink(missing_ok=True)


def stop(settings: Settings) -> bool:
    """End the stack that runs on this folder, from another terminal; False if there was none."""
    state = running(settings)
    if state is None:
        return reap() > 0
    supervisor = psutil.Process(int(state.supervisor.split("@")[0]))
    supervisor.send_signal(signal.SIGTERM)  # SIGINT is ignored in a background job of a shell
    try:
        supervisor.wait(timeout=4 * STOP_SECONDS)
    except psutil.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
        reap()
    return True


def check(state: StackState, settings: Settings) -> None:
    """`StackError` naming the first service that has ended."""
    for name, pid in state.pids.items():
        if ended(pid):
            raise StackError(f"{name} has ended; its log: {_log(name, settings)}")


def health(state: StackState) -> dict[str, bool]:
    """Whether each service is well: a server answers, a worker's process is there."""
    return {
        name: not ended(pid) and (name not in state.health or _healthy(state.health[name]))
        for name, pid in state.pids.items()
    }


def _start(
    service: Service,
    environment: dict[str, str],
    settings: Settings,
    started: dict[str, subprocess.Popen[bytes]],
    say: Callable[[str], None],
) -> None:
    say(f"Starting {service.name}")
    with _log(service.name, settings).open("ab") as log:
        started[service.name] = subprocess.Popen(
            service.command,
            env=environment | service.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await_health(
    parts: list[Service], started: dict[str, subprocess.Popen[bytes]], settings: Settings
) -> None:
    waiting = {part.name: part.health for part in parts if part.health}
    deadline = time.monotonic() + settings.start_seconds
    while waiting:
        for name, url in list(waiting.items()):
            log = _log(name, settings)
            if started[name].poll() is not None:
                raise StackError(f"{name} ended while starting; the reason is in {log}")
            if _healthy(url):
                del waiting[name]
        if waiting and time.monotonic() > deadline:
            raise StackError(
                f"{', '.join(waiting)} not ready after {settings.start_seconds:.0f} s; see {log}"
            )
        time.sleep(0.2)


def _await_end(service: Service, process: subprocess.Popen[bytes], settings: Settings) -> None:
    try:
        code = process.wait(settings.start_seconds)
    except subprocess.TimeoutExpired:
        code = -1
    if code != 0:
        raise StackError(
            f"{service.name} ended with status {code}; the reason is in {_log(service.name, settings)}"
        )


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _assert_ports_free(service: Service) -> None:
    for port in service.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise StackError(
                    f"port {port} on {HOST}, wanted for {service.name}, is taken: end what "
                    f"listens there or say `stvd stack --{service.name}-port PORT`"
                ) from error


def _log(name: str, settings: Settings) -> Path:
    return settings.home / "logs" / f"{name}.log"
