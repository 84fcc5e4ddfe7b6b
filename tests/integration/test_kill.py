"""`kill -9` at a random moment, then again: the product is that of an undisturbed run, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stvd.product import Product, ProductNotFound, open_product

KILLS = int(os.environ.get("STVD_TEST_FLOW_KILLS", "2"))
pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


def backfill(record: Path, checkpoint: Path, product: Path, url: str) -> subprocess.Popen[bytes]:
    from prefect.settings import get_current_settings

    environment = {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "MLFLOW_TRACKING_URI": url,
    }
    command = "from flows.cli import app; app()"
    options = ["--source", record, "--checkpoint", checkpoint, "--product", product]
    return subprocess.Popen(
        [
            *(sys.executable, "-c", command, "backfill", *map(str, options)),
            *("--members", "2", "--cell-frames", "5"),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class Reader(threading.Thread):
    """Opens a product over and over; what it sees is made of whole partitions, and only grows."""

    def __init__(self, product: Path) -> None:
        super().__init__(daemon=True)
        self.product = product
        self.stop = threading.Event()
        self.lengths: list[int] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.wait(0.5):
                self.look()
        except BaseException as error:
            self.error = error

    def look(self) -> None:
        try:
            seen = open_product(self.product).pr
        except ProductNotFound:
            return
        assert seen.sizes["time"] % 5 == 0, "a reader saw a part of a partition"
        assert np.isfinite(seen.values).all()
        assert seen.sizes["time"] >= max(self.lengths, default=0)
        self.lengths.append(seen.sizes["time"])


@pytest.mark.parametrize("seed", [20260722])
def test_a_killed_backfill_continues(
    seed: int, record: Path, tiny_checkpoint: Path, tmp_path: Path, mlflow_server: str
) -> None:
    undisturbed = backfill(record, tiny_checkpoint, tmp_path / "whole", mlflow_server)
    output = undisturbed.communicate(timeout=300)[0].decode()
    assert undisturbed.returncode == 0, output

    chance, reader = random.Random(seed), Reader(tmp_path / "killed")
    reader.start()
    for _ in range(KILLS):
        run = backfill(record, tiny_checkpoint, tmp_path / "killed", mlflow_server)
        while not (tmp_path / "killed").exists() and run.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 3))
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    last = backfill(record, tiny_checkpoint, tmp_path / "killed", mlflow_server)
    output = last.communicate(timeout=300)[0].decode()
    assert last.returncode == 0, output
    reader.stop.set()
    reader.join(60)
    assert reader.error is None, reader.error
    assert reader.lengths, "the reader saw nothing"

    ours, theirs = (Product.open(tmp_path / name).ledger() for name in ("killed", "whole"))
    assert {k: e.fingerprint for k, e in ours.items()} == {
        k: e.fingerprint for k, e in theirs.items()
    }
    assert {k: e.content for k, e in ours.items()} == {k: e.content for k, e in theirs.items()}
    np.testing.assert_array_equal(
        open_product(tmp_path / "killed").pr.values, open_product(tmp_path / "whole").pr.values
    )
