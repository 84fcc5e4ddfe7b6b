"""Servers that go away while a backfill runs: it waits, goes on and ends as if nothing had happened."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from stack_process import free_port

from flows import stack_services
from flows.settings import Settings
from flows.stack_services import Service
from stvd.generate import produce
from stvd.product import Product, ProductNotFound, open_product
from stvd.production import Production
from stvd.source import Source

GONE_SECONDS = float(os.environ.get("STVD_TEST_GONE_SECONDS", "10"))
PATIENCE = 600.0


class Server:
    """A service of the stack that is killed and started again at the same address."""

    def __init__(self, service: Service, environment: dict[str, str], log: Path) -> None:
        self.service, self.log = service, log
        self.environment = environment | service.environment
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.service.command,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(str(self.service.health), timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(service: Service, environment: dict[str, str], folder: Path) -> Iterator[Server]:
    server = Server(service, environment, folder / f"{service.name}.log")
    try:
        yield server
    finally:
        server.kill()


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def published(product: Path) -> int:
    try:
        return len(Product.open(product).ledger())
    except ProductNotFound:
        return 0


def states(api: str) -> dict[str, str]:
    """States of the flow runs that the server knows, by their names."""
    request = urllib.request.Request(
        f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        runs = json.loads(reply.read())
    return {run["name"]: run["state_name"] for run in runs}


def test_a_backfill_outlives_its_servers_and_a_locked_database(
    record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    settings, ports = Settings(runs=tmp_path / "runs"), (free_port(), free_port())
    services = (
        stack_services.prefect(ports[0]),
        stack_services.mlflow(settings, ports[1], (tmp_path / "artifacts").as_uri()),
    )
    api = f"http://127.0.0.1:{ports[0]}/api"
    own = settings.environment() | settings.exported()
    own |= {"PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports[1]}"}
    environment = os.environ | own
    settings.home.mkdir()
    product = tmp_path / "product"
    options = {"source": record, "checkpoint": tiny_checkpoint, "product": product}
    options |= {"members": 2, "cell-frames": 5, "windows": "independent"}
    with (
        serving(services[0], environment, tmp_path) as prefect,
        serving(services[1], environment, tmp_path) as mlflow,
        (tmp_path / "backfill.log").open("wb") as log,
    ):
        run = subprocess.Popen(
            [
                *(sys.executable, "-c", "from flows.cli import app; app()", "backfill"),
                *(word for name, value in options.items() for word in (f"--{name}", str(value))),
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: published(product) >= 1 or run.poll() is not None)
            prefect.kill()
            mlflow.kill()
            time.sleep(GONE_SECONDS)
            prefect.start()
            mlflow.start()
            wait_for(lambda: published(product) >= 2 or run.poll() is not None)
            with sqlite3.connect(settings.home / "prefect" / "prefect.db") as database:
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(GONE_SECONDS)
                database.rollback()
            database.close()
            code = run.wait(PATIENCE)
        finally:
            run.kill()
        said = (tmp_path / "backfill.log").read_text()
        assert code == 0, said
        assert "4 published" in said
        ended = states(api)
    assert len(ended) == 5, "the backfill and its partitions"
    assert {*ended.values()} == {"Completed"}, ended

    calm = Production(
        product=str(tmp_path / "calm"),
        source=Source.find(str(record), Path()),
        checkpoint=str(tiny_checkpoint),
        members=2,
        windows="independent",
        cell_frames=5,
    )
    for item in calm.plan():
        produce(calm, item.partition)
    np.testing.assert_array_equal(open_product(product).pr, open_product(calm.product).pr)
