"""The supervisor of the local stack, with stand-ins for its servers."""

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
from flows.stack import MARK, Service, StackError

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
            port=port,
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
    return local.marked(lambda owner: owner == local.mark())


def test_starts_tells_where_and_leaves_nothing(
    settings: Settings, stand_ins: list[Service]
) -> None:
    with local.stack(settings, say=lambda _: None) as state:
        assert local.running(settings) == state
        local.check(state, settings)
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
        other.bind(("127.0.0.1", stand_ins[0].port))
        other.listen()
        with pytest.raises(StackError, match=f"port {stand_ins[0].port} .*--prefect-port"):  # noqa: SIM117
            with local.stack(settings, say=lambda _: None):
                pass
    assert family() == []


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
            "from flows.stack import MARK, mark\n"
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
    local.reap()
    assert psutil.pid_exists(child), "its supervisor is alive: it stays"
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    assert local.reap() >= 1
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_an_old_state_file_is_not_a_running_stack(settings: Settings) -> None:
    settings.state_file.write_text(
        '{"supervisor": "1@0", "prefect_url": "http://x", "mlflow_url": "http://y", "pids": {}}'
    )
    assert local.running(settings) is None
    settings.state_file.write_text("not json")
    assert local.running(settings) is None
