"""The supervisor of the local stack, with stand-ins for its servers."""

import configparser
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import stack as local
from flows.settings import Settings
from flows.stack import Ports
from flows.stack_processes import MARK, end, mark, marked, reap
from flows.stack_services import Service, StackError
from flows.stack_store import PARTS, keys, store

SERVER = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STVD_RUNS", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Settings()


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[Service]:
    port = free_port()
    parts = [
        Service(
            name="prefect",
            command=(sys.executable, "-c", SERVER.format(port=port)),
            ports=(port,),
            health=f"http://127.0.0.1:{port}/",
        ),
        # A worker with a child of its own that does not care for SIGTERM.
        Service(
            name="worker",
            command=(
                *(sys.executable, "-c"),
                "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
                "'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'], "
                "start_new_session=True); time.sleep(600)",
            ),
        ),
    ]
    monkeypatch.setattr(local, "services", lambda *_: parts)
    return parts


def family() -> list[psutil.Process]:
    return marked(lambda owner: owner == mark())


def test_starts_tells_where_and_leaves_nothing(
    settings: Settings, stand_ins: list[Service]
) -> None:
    with local.stack(settings, say=lambda _: None) as state:
        assert local.running(settings) == state
        local.check(state, settings)
        assert local.health(state) == {"prefect": True, "worker": True}
        deadline = time.monotonic() + 10
        while len(family()) < 3 and time.monotonic() < deadline:  # server, worker, its child
            time.sleep(0.1)
        assert len(family()) == 3
        with pytest.raises(StackError, match="already runs"), local.stack(settings):
            pass
    assert family() == []
    assert local.running(settings) is None


def test_a_taken_port_is_named_before_anything_starts(
    settings: Settings, stand_ins: list[Service]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stand_ins[0].ports[0]))
        other.listen()
        with pytest.raises(StackError, match=f"port {stand_ins[0].ports[0]} .*--prefect-port"):  # noqa: SIM117
            with local.stack(settings, say=lambda _: None):
                pass
    assert family() == []


def test_a_dead_worker_and_a_mute_server_are_named(
    settings: Settings, stand_ins: list[Service]
) -> None:
    with local.stack(settings, say=lambda _: None) as state:
        end([psutil.Process(state.pids["worker"])])
        assert local.health(state) == {"prefect": True, "worker": False}
        with pytest.raises(StackError, match=r"worker has ended; its log: .*worker\.log"):
            local.check(state, settings)
        psutil.Process(state.pids["prefect"]).suspend()  # it listens, and does not answer
        assert local.health(state) == {"prefect": False, "worker": False}
        psutil.Process(state.pids["prefect"]).resume()


def test_every_port_of_the_object_store_is_asked_for(settings: Settings) -> None:
    service = store(settings, 8333)
    assert service.ports == (8333, 8334, 8335, 8336, 8343, 8344, 8345, 8346)
    for part, port in zip(PARTS, service.ports[:4], strict=True):
        assert f"-{part}.port={port}" in service.command
        assert f"-{part}.port.grpc={port + 10}" in service.command


def test_the_keys_of_the_object_store_are_made_once_and_private(settings: Settings) -> None:
    assert keys(settings) == keys(settings)
    file = settings.home / "store.json"
    assert file.stat().st_mode & 0o077 == 0
    assert keys(settings)[1] not in " ".join(store(settings, 8333).command)


def test_nothing_secret_is_on_a_command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql://stvd:s%40cret@db/mlflow")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "s%40cret-of-mlflow")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:s%40cret-of-prefect")
    for service in local.services(Settings(), Ports(store=8333)):
        assert "s%40cret" not in " ".join(service.command)
    accounts = settings.home / "mlflow_accounts.ini"
    assert accounts.stat().st_mode & 0o077 == 0
    parser = configparser.ConfigParser()
    parser.read(accounts)
    assert parser["mlflow"]["database_uri"] == "postgresql://stvd:s%40cret@db/mlflow"


def test_a_server_that_does_not_start_names_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Service(
        name="mlflow",
        command=(sys.executable, "-c", "raise SystemExit('no such database')"),
        health=f"http://127.0.0.1:{free_port()}/",
    )
    worker = Service(name="worker", command=(sys.executable, "-c", "0"))
    monkeypatch.setattr(local, "services", lambda *_: [broken, worker])
    with pytest.raises(StackError, match=r"mlflow ended while starting; .*mlflow\.log"):  # noqa: SIM117
        with local.stack(settings, say=lambda _: None):
            pass
    assert "no such database" in (settings.home / "logs" / "mlflow.log").read_text()


def test_what_a_killed_supervisor_left_is_reaped() -> None:
    supervisor = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import os, subprocess, sys, time\n"
            "from flows.stack_processes import MARK, mark\n"
            "env = {**os.environ, MARK: mark()}\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
            " env=env, start_new_session=True)\n"
            "print(child.pid, flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != MARK},
    )
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    reap()
    assert psutil.pid_exists(child), "its supervisor is alive: it stays"
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    assert reap() >= 1
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_an_old_state_file_is_not_a_running_stack(settings: Settings) -> None:
    settings.state_file.write_text(
        '{"supervisor": "1@0", "prefect_url": "http://x", "mlflow_url": "http://y", "pids": {}}'
    )
    assert local.running(settings) is None
    settings.state_file.write_text("not json")
    assert local.running(settings) is None
