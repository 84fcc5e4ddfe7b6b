"""The local stack: a Prefect server, an MLflow server and a worker on this machine, loopback only.

Every process it starts inherits a mark that names the supervisor. Whatever carries the mark of a
supervisor that is gone, a grandchild or the rest of a `kill -9`, is ended before the next start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from flows.settings import Settings

HOST = "127.0.0.1"
MARK = "STVD_SUPERVISOR"
START_SECONDS = 180.0
STOP_SECONDS = 20.0


class StackError(RuntimeError):
    """The stack cannot be started or stopped; the message says why and what to do."""


class Service(BaseModel):
    """One process of the stack; `once` is one that does its work and ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    command: tuple[str, ...]
    port: int | None = None
    health: str | None = None
    once: bool = False


class StackState(BaseModel):
    """What a running supervisor has started, as written to the state file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supervisor: str
    prefect_url: str
    mlflow_url: str
    pids: dict[str, int]

    @property
    def prefect_api_url(self) -> str:
        return f"{self.prefect_url}/api"


def mark() -> str:
    """Names this process: its number and when it started, since numbers are used again."""
    process = psutil.Process()
    return f"{process.pid}@{process.create_time():.0f}"


def alive(supervisor: str) -> bool:
    """Whether the process that `mark` named is still there; a clock may have moved by a minute."""
    try:
        number, started = supervisor.split("@")
        return abs(psutil.Process(int(number)).create_time() - float(started)) < 60
    except (psutil.Error, ValueError):
        return False


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
    settings.apply()


def marked(wanted: Callable[[str], bool]) -> list[psutil.Process]:
    """This user's processes whose supervisor's mark is `wanted`, but not this one."""
    found = []
    for process in psutil.process_iter():
        try:
            owner = process.environ().get(MARK)
        except (psutil.Error, OSError):
            continue
        if owner and process.pid != os.getpid() and wanted(owner):
            found.append(process)
    return found


def end(processes: list[psutil.Process], patience: float = STOP_SECONDS) -> None:
    """Ask processes to end; kill those that have not after `patience` seconds."""
    for process in processes:
        with _gone_is_fine():
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=patience)
    for process in stubborn:
        with _gone_is_fine():
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def reap() -> int:
    """End what supervisors and flow runs that are gone have left behind; how many there were."""
    orphans = marked(lambda owner: not alive(owner))
    end(orphans, patience=10)
    return len(orphans)


def services(settings: Settings, prefect_port: int, mlflow_port: int) -> list[Service]:
    """The servers, and the worker that needs them, in the order of starting."""
    run = (sys.executable, "-m")
    return [
        Service(
            name="prefect",
            command=(
                *run,
                "prefect",
                "server",
                "start",
                "--host",
                HOST,
                "--port",
                str(prefect_port),
            ),
            port=prefect_port,
            health=f"http://{HOST}:{prefect_port}/api/health",
        ),
        Service(
            name="mlflow",
            command=(
                *(*run, "mlflow", "server", "--host", HOST, "--port", str(mlflow_port)),
                *("--backend-store-uri", settings.tracking_uri, "--workers", "1"),
                *("--artifacts-destination", settings.artifacts.as_uri()),
            ),
            port=mlflow_port,
            health=f"http://{HOST}:{mlflow_port}/health",
        ),
        Service(
            name="deployments",
            command=(*run, "flows.deployments"),
            once=True,
        ),
        Service(
            name="worker",
            command=(
                *(*run, "prefect", "worker", "start", "--pool", "stvd", "--type", "process"),
                *("--name", socket.gethostname()),
            ),
        ),
    ]


@contextmanager
def stack(
    settings: Settings,
    *,
    prefect_port: int = 4200,
    mlflow_port: int = 5000,
    say: Callable[[str], None] = print,
) -> Iterator[StackState]:
    """Start the servers and the worker, and stop them, last first, on leaving.

    Raises
    ------
    StackError
        If one already runs here, a port is taken, or a service does not come up.
    """
    if other := running(settings):
        raise StackError(
            f"a stack already runs on {settings.home}: Prefect {other.prefect_url}, MLflow "
            f"{other.mlflow_url}. Use it, or end it with `stvd stack --stop`."
        )
    if orphans := reap():
        say(f"Ended {orphans} processes that an earlier run had left behind")
    parts = services(settings, prefect_port, mlflow_port)
    for service in parts:
        _assert_port_free(service)
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)

    prefect_url, mlflow_url = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    os.environ[MARK] = mark()
    environment = {
        **os.environ,
        **settings.environment(),
        "PREFECT_API_URL": f"{prefect_url}/api",
        "MLFLOW_TRACKING_URI": mlflow_url,
        **settings.exported(),
    }
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for service in parts:
            if service.health is None:  # what needs the servers
                _await_health(parts, started, settings)
            say(f"Starting {service.name}")
            process = _start(service, environment, settings)
            started[service.name] = process
            if service.once:
                _await_end(service, process, settings)
                del started[service.name]
        state = StackState(
            supervisor=mark(),
            prefect_url=prefect_url,
            mlflow_url=mlflow_url,
            pids={name: process.pid for name, process in started.items()},
        )
        settings.state_file.write_text(state.model_dump_json(indent=2))
        yield state
    finally:
        for name in reversed(started):
            say(f"Stopping {name}")
            with _gone_is_fine():
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
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise StackError(f"{name} has ended; its log: {_log(name, settings)}")


def _start(
    service: Service, environment: dict[str, str], settings: Settings
) -> subprocess.Popen[bytes]:
    with _log(service.name, settings).open("ab") as log:
        return subprocess.Popen(
            service.command, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def _await_health(
    parts: list[Service], started: dict[str, subprocess.Popen[bytes]], settings: Settings
) -> None:
    waiting = {part.name: part.health for part in parts if part.health}
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        for name, url in list(waiting.items()):
            log = _log(name, settings)
            if started[name].poll() is not None:
                raise StackError(f"{name} ended while starting; the reason is in {log}")
            if _healthy(url):
                del waiting[name]
        if waiting and time.monotonic() > deadline:
            raise StackError(
                f"{', '.join(waiting)} not ready after {START_SECONDS:.0f} s; see {log}"
            )
        time.sleep(0.2)


def _await_end(service: Service, process: subprocess.Popen[bytes], settings: Settings) -> None:
    try:
        code = process.wait(START_SECONDS)
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


def _assert_port_free(service: Service) -> None:
    if service.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, service.port))
        except OSError as error:
            raise StackError(
                f"port {service.port} on {HOST}, wanted for {service.name}, is taken: end what "
                f"listens there or say `stvd stack --{service.name}-port PORT`"
            ) from error


def _log(name: str, settings: Settings) -> Path:
    return settings.home / "logs" / f"{name}.log"


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
