"""`stvd stack` in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows import stack as local
from flows.settings import Settings
from flows.stack import StackState


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_stack(settings: Settings, *options: str) -> Iterator[StackState]:
    """The stack on free ports, once it is ready; stopped on leaving."""
    ports = [f"--{name}-port={free_port()}" for name in ("prefect", "mlflow")]
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import app; app()", "stack", *ports, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 2 * settings.start_seconds
        while (state := local.running(settings)) is None:
            assert process.poll() is None, (
                process.stdout.read() if process.stdout else b""
            ).decode()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield state
    finally:
        local.stop(settings)
        process.wait(timeout=120)
