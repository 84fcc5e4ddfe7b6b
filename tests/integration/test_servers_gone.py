"""Servers that go away while a backfill runs: it waits and goes on, or fails and can be run again."""

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
import pytest
from numpy.typing import NDArray
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
IMPATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


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
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Servers:
    """Prefect and MLflow, and what a process needs to know of them.

    Parameters
    ----------
    environment : of a run that uses them
    api : of Prefect
    """

    def __init__(self, folder: Path) -> None:
        self.settings, ports = Settings(runs=folder / "runs"), (free_port(), free_port())
        self.settings.home.mkdir()
        self.api = f"http://127.0.0.1:{ports[0]}/api"
        own = self.settings.environment() | self.settings.exported()
        own |= {"PREFECT_API_URL": self.api, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports[1]}"}
        self.environment = os.environ | own
        services = (
            stack_services.prefect(ports[0]),
            stack_services.mlflow(self.settings, ports[1], (folder / "artifacts").as_uri()),
        )
        self.all = [Server(s, self.environment, folder / f"{s.name}.log") for s in services]

    def start(self) -> None:
        for server in self.all:
            server.start()

    def kill(self) -> None:
        for server in self.all:
            server.kill()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.kill()


@pytest.fixture(scope="module")
def calm(
    record: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> NDArray[np.float32]:
    """Rain of an undisturbed product."""
    how = Production(
        product=str(tmp_path_factory.mktemp("calm") / "product"),
        source=Source.find(str(record), Path()),
        checkpoint=str(tiny_checkpoint),
        members=2,
        windows="independent",
        cell_frames=5,
    )
    for item in how.plan():
        produce(how, item.partition)
    return open_product(how.product).pr.values


@pytest.fixture
def asked(record: Path, tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """A backfill of four partitions."""
    return {
        "source": str(record),
        "checkpoint": str(tiny_checkpoint),
        "product": str(tmp_path / "product"),
        "members": 2,
        "cell_frames": 5,
        "windows": "independent",
    }


class Backfill:
    """A backfill in a process of its own."""

    def __init__(self, asked: dict[str, Any], environment: dict[str, str], log: Path) -> None:
        self.product, self.log = Path(asked["product"]), log
        options = [(f"--{name.replace('_', '-')}", str(value)) for name, value in asked.items()]
        command = "from flows.cli import app; app()"
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*(sys.executable, "-c", command, "backfill"), *sum(options, ())],
                env=environment,
                stdout=file,
                stderr=file,
            )

    def published(self) -> int:
        try:
            return len(Product.open(self.product).ledger())
        except ProductNotFound:
            return 0

    def wait_for(self, partitions: int) -> None:
        """Wait until so many are published, or the process has ended."""
        wait_for(lambda: self.published() >= partitions or self.process.poll() is not None)

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said."""
        try:
            return self.process.wait(PATIENCE), self.log.read_text()
        finally:
            self.process.kill()


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class Turns:
    """Turns of the nightly deployment, of which one run at a time has one, as a worker takes them."""

    def __init__(self, api: str) -> None:
        from flows.deployments import register

        self.api = api
        with self.client():
            register()

    @contextmanager
    def client(self) -> Iterator[Any]:
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with (
            temporary_settings({PREFECT_API_URL: self.api}),
            get_client(sync_client=True) as client,
        ):
            yield client

    def ask(self) -> Any:
        """A flow run that has a turn, or was cancelled for want of one."""
        from prefect.states import Pending

        with self.client() as client:
            deployment = client.read_deployment_by_name("nightly/stvd").id
            run = client.create_flow_run_from_deployment(deployment)
            client.set_flow_run_state(run.id, Pending())
            return client.read_flow_run(run.id)

    def renew(self, run: Any) -> None:
        """What the process of a flow run does now and then; it ends where that is refused."""
        lease = run.state.state_details.deployment_concurrency_lease_id
        with self.client() as client:
            client.renew_concurrency_lease(lease, 300)

    def give_back(self, run: Any) -> None:
        from prefect.states import Completed

        with self.client() as client:
            client.set_flow_run_state(run.id, Completed())


def states(api: str) -> dict[str, str]:
    """States of the flow runs that no schedule or deployment made, by their names."""
    request = urllib.request.Request(
        f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        runs = json.loads(reply.read())
    return {run["name"]: run["state_name"] for run in runs if run["deployment_id"] is None}


def test_a_backfill_and_a_turn_outlive_their_servers_and_a_locked_database(
    servers: Servers, asked: dict[str, Any], calm: NDArray[np.float32], tmp_path: Path
) -> None:
    turns = Turns(servers.api)
    first = turns.ask()
    run = Backfill(asked, servers.environment, tmp_path / "log")
    run.wait_for(1)
    turns.renew(first)
    servers.kill()
    time.sleep(GONE_SECONDS)
    servers.start()
    turns.renew(first)
    run.wait_for(2)
    with sqlite3.connect(servers.settings.home / "prefect" / "prefect.db") as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(GONE_SECONDS)
        database.rollback()
    database.close()
    code, said = run.end()
    assert code == 0, said
    assert "4 published" in said
    ended = states(servers.api)
    assert len(ended) == 5, "the backfill and its partitions"
    assert {*ended.values()} == {"Completed"}, ended
    np.testing.assert_array_equal(open_product(run.product).pr, calm)

    assert turns.ask().state_name == "Cancelled"
    turns.give_back(first)
    assert turns.ask().state_name == "Pending"


def test_a_run_whose_servers_stay_away_fails_and_says_so_and_is_run_again(
    servers: Servers,
    asked: dict[str, Any],
    calm: NDArray[np.float32],
    tmp_path: Path,
    prefect_server: None,
    mlflow_server: str,
) -> None:
    from flows.backfill import backfill

    run = Backfill(asked, servers.environment | IMPATIENT, tmp_path / "log")
    run.wait_for(1)
    servers.kill()
    code, said = run.end()
    assert code == 1, said
    assert f"Prefect's server {servers.api} is out of reach. What was published stays" in said
    stands = run.published()
    assert 1 <= stands < 4
    summary = backfill(**asked)  # on other servers
    assert (len(summary.published), len(summary.standing)) == (4 - stands, stands)
    np.testing.assert_array_equal(open_product(run.product).pr, calm)
