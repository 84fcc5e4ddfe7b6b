"""Cost of planning, opening and publishing in a product of many partitions.

    python benchmarks/ledger.py [partitions]

The records are written in bulk, without samples; then everything is measured as in production.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from stvd.lattice import TimeAxis
from stvd.partition import Partition, plan
from stvd.product import Product, ProductSpec, open_product
from stvd.product.ledger import LedgerEntry
from stvd.product.storage import Location

CELL = 20
MEMBERS = range(4)


@contextmanager
def clock(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{what:<42} {time.perf_counter() - start:7.2f} s")


def make(folder: str) -> Product:
    rows, columns = 16, 24
    grid = xr.Dataset(
        {"areacella": (("y", "x"), np.ones((rows, columns)))},
        {"lat": ("y", np.linspace(-80.0, 80.0, rows)), "lon": ("x", np.arange(columns) * 15.0)},
    )
    spec = ProductSpec(
        name="many",
        source="gcm",
        members=len(MEMBERS),
        axis=TimeAxis(epoch="1850-01-01", step_seconds=10800, calendar="noleap"),
        window=5,
        cell_frames=CELL,
        factor=8,
    )
    return Product.create_or_open(f"{folder}/product", spec, grid)


def entry(number: int, rng: np.random.Generator) -> LedgerEntry:
    partition = cell(number)
    return LedgerEntry(
        partition=partition.id,
        source=partition.source,
        frames=partition.frames,
        members=partition.members,
        fingerprint=rng.bytes(32).hex(),
        parts={name: rng.bytes(6).hex() for name in ("checkpoint", "input", "sampler", "seed")},
        content=rng.bytes(32).hex(),
        snapshot="CV9SKRWGZJDVRFH3Z0WG",
        token=rng.bytes(16).hex(),
        seconds=61.234,
        stored_bytes=123_456_789,
        written_at="2026-01-01T00:00:00Z",
        provenance={"model": "stvd@3", "model_digest": rng.bytes(32).hex(), "device": "cuda"},
    )


def cell(number: int) -> Partition:
    return Partition(
        source="gcm", frames=range(CELL * number, CELL * (number + 1)), members=MEMBERS
    )


def fill(product: Product, count: int) -> None:
    """Record `count` partitions as published."""
    product.reserve(range(CELL * count))
    session = Location.parse(product.uri).open().writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    rng = np.random.default_rng(0)
    texts = np.full((count, len(MEMBERS)), "", dtype=np.dtypes.StringDType())
    texts[:, 0] = [entry(n, rng).model_dump_json(exclude_defaults=True) for n in range(count)]
    root["ledger/records"][:count] = texts
    root["qc_flag"][:, : CELL * count] = 0
    session.commit("fill")


def stored(folder: str) -> int:
    return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        product = make(folder)
        with clock(f"recording {count} partitions in bulk"):
            fill(product, count)
        with clock("reading the ledger"):
            ledger = product.ledger()
        with clock("planning"):
            planned = plan(
                product.spec.axis,
                range(CELL * (count + 100)),
                source="gcm",
                cell_frames=CELL,
                members=MEMBERS,
                ledger=ledger,
                fingerprint_of=lambda p: ledger[p.id].fingerprint,
            )
        print(f"{sum(p.runs for p in planned)} to run, {len(planned)} in all")
        with clock("opening for reading"):
            open_product(product.uri)
        before = stored(folder)
        partition = cell(count)
        rain = np.zeros((len(MEMBERS), CELL, *product.shape), np.float32)
        with clock("publishing one more"), product.write(partition, "a" * 64) as writer:
            writer.put(partition.frames, partition.members, rain)
            writer.commit()
        print(f"{'bytes added to the store':<42} {stored(folder) - before:7d}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'peak memory':<42} {peak:7.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
