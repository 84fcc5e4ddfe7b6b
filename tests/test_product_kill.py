"""Writers killed at random moments: no half is ever seen, and the end is as if nothing happened."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from product_samples import CELL, KEY, cell, make_grid, make_spec, publish, samples

from stvd.product import AlreadyPublished, Product, ProductNotFound, open_product
from stvd.product.storage import Location

KILLS = int(os.environ.get("STVD_TEST_KILLS", "16"))
CELLS = max(16, KILLS)


def write_all(uri: str, seed: int, started: Any) -> None:
    """What a worker does: make the product if need be, publish what is missing, in its own order."""
    started.set()
    spec = make_spec(chunks=None, shards=None)
    product = Product.create_or_open(uri, spec, make_grid())
    order = list(range(CELLS))
    random.Random(seed).shuffle(order)
    for number in order:
        if cell(number).id in product.ledger():
            continue
        try:
            publish(product, cell(number), fingerprint=KEY)
        except AlreadyPublished:
            continue


@pytest.fixture(scope="module")
def start() -> Any:
    """Starts a worker in 0.1 s: forked from a process that has imported everything and run nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "dask.array", "stvd.product"])

    def start_worker(uri: Path, seed: int) -> Any:
        started = context.Event()
        process = context.Process(target=write_all, args=(str(uri), seed, started))
        process.start()
        started.wait(60)
        return process

    return start_worker


class Reader(threading.Thread):
    """Opens a product over and over, and compares all its frames with what they must be."""

    def __init__(self, uri: Path) -> None:
        super().__init__(daemon=True)
        self.uri = uri
        self.expected = samples(range(CELLS * CELL), range(2))
        self.stop = threading.Event()
        self.lengths: list[int] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.wait(0.2):
                self.look()
        except BaseException as error:
            self.error = error

    def look(self) -> None:
        try:
            ds = open_product(self.uri)
        except ProductNotFound:
            return
        frames = ((ds.time - np.datetime64("2000-01-01")) // np.timedelta64(3, "h")).values
        assert all(np.count_nonzero(frames // CELL == n) in (0, CELL) for n in range(CELLS))
        assert np.array_equal(ds.pr.values, self.expected[:, frames])
        assert not self.lengths or len(frames) >= self.lengths[-1]
        self.lengths.append(len(frames))


def test_killed_writers_leave_no_trace(tmp_path: Path, start: Any) -> None:
    moments = random.Random(1)
    disturbed, calm = tmp_path / "disturbed", tmp_path / "calm"
    reader = Reader(disturbed)
    reader.start()
    killed = 0
    for _ in range(KILLS // 2):
        for process in [start(disturbed, moments.randrange(1000)) for _ in range(2)]:
            time.sleep(moments.uniform(0, 0.4))
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
        assert reader.error is None, reader.error
    assert killed > KILLS // 2, "workers finished before they were killed: publish more cells"
    for uri in (disturbed, calm):
        last = start(uri, 0)
        last.join(120)
        assert last.exitcode == 0
    reader.stop.set()
    reader.join(60)
    assert reader.error is None, reader.error
    assert len(set(reader.lengths)) > 2

    assert_identical(disturbed, calm)
    assert Location.parse(disturbed).open().list_branches() == {"main"}


def assert_identical(one: Path, other: Path) -> None:
    """Same samples bit for bit, same axis, same records but for when and by whom they were made."""
    a, b = open_product(one), open_product(other)
    assert a.sizes["time"] == b.sizes["time"] == CELLS * CELL
    for name in a.variables:
        assert a[name].values.tobytes() == b[name].values.tobytes(), name
    contents = [
        {
            id_: (e.fingerprint, e.content, e.stored_bytes)
            for id_, e in Product.open(p).ledger().items()
        }
        for p in (one, other)
    ]
    assert contents[0] == contents[1]
