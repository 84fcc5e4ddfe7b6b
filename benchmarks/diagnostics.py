"""Speed and memory of the annual and ETCCDI quantities of a product, against reading it and summing.

    python benchmarks/diagnostics.py                            # 10 members, a year, 192 × 192 cells
    python benchmarks/diagnostics.py --days 20 --side 48        # a small one

A synthetic 3-hourly product of that size is published in partitions of 30 days in a temporary folder, or
in `--store`, where one that is there already is used again. Each part then runs in a process of its own:
`read` sums the values of the store, before and after the others; `tables` makes every table of years,
months and hours, of members and of the ensemble; with `--states` `states` counts the partitions one by
one and keeps their states, and `update` makes the same tables when the last partition is new. Printed
are seconds, of the clock and of the processor, and the largest resident set. The aim is a ratio of at
least 0.5 of `read` and `tables` by the clock, and at most 3 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from stvd.diagnostics.tables import Tables

CELL = 240
STEPS = 8
GB = 1e9
IMPORTED = ("stvd.diagnostics.report", "stvd.product", "stvd.kept_files")  # before the clock runs


def make(store: Path, members: int, days: int, side: int) -> None:
    """Publish the product: showers that differ from cell to cell, dry two thirds of the time."""
    from stvd.lattice import TimeAxis
    from stvd.partition import Partition
    from stvd.product import Product, ProductSpec

    grid = xr.Dataset(
        {"areacella": (("y", "x"), np.full((side, side), 6.25e8))},
        {"lat": ("y", np.linspace(30.0, 60.0, side)), "lon": ("x", np.linspace(0.0, 30.0, side))},
    )
    spec = ProductSpec(
        name="showers", source="synthetic", members=members, factor=8, window=5, cell_frames=CELL,
        axis=TimeAxis(epoch="2001-01-01", step_seconds=10_800, calendar="noleap"),
    )  # fmt: skip
    product = Product.create_or_open(store / "product", spec, grid)
    rng = np.random.default_rng(0)
    for start in range(0, days * STEPS, CELL):
        partition = Partition(
            source="synthetic", frames=range(start, start + CELL), members=range(members)
        )
        with product.write(partition, "a" * 64) as writer:
            for first in range(start, start + CELL, 40):
                for member in range(members):
                    block = rng.random((1, 40, side, side), np.float32)
                    block = np.maximum(block - np.float32(2 / 3), 0) ** 3 * np.float32(0.02)
                    writer.put(range(first, first + 40), range(member, member + 1), block)
            writer.commit()


def opened(store: Path, days: int) -> xr.Dataset:
    from stvd.product import open_product

    return open_product(store / "product").isel(time=slice(0, days * STEPS))


def read(store: Path, days: int, threads: int) -> None:
    ds = opened(store, days)
    ds["pr"].data.sum().compute(num_workers=threads)


def tables(store: Path, days: int, threads: int) -> None:
    from stvd.diagnostics.report import time_axis_of
    from stvd.diagnostics.tables import tables as make_tables

    ds = opened(store, days)
    made = make_tables(ds["pr"], ds["areacella"].compute(), time_axis_of(ds), threads=threads)
    _whole(made).to_netcdf(store / "tables.nc")


def states(store: Path, days: int, threads: int) -> None:
    """Keep the states of every partition in a file."""
    for number in range(-(-days * STEPS // CELL)):
        _keep(store, days, number, threads)


def update(store: Path, days: int, threads: int) -> None:
    """A new partition: its states are counted, those of the others are there."""
    _keep(store, days, -(-days * STEPS // CELL) - 1, threads)
    _merge(store, days)


def _keep(store: Path, days: int, number: int, threads: int) -> None:
    from stvd.diagnostics.accumulate_store import partition_states
    from stvd.diagnostics.report import time_axis_of
    from stvd.kept_files import write_whole

    ds = opened(store, days)
    part = ds["pr"].isel(time=slice(CELL * number, CELL * (number + 1)))
    found = partition_states(part, time_axis_of(ds), threads=threads)
    write_whole(found, store / f"states_{number}.nc")


def apart(store: Path, days: int, threads: int) -> dict[str, float]:
    """What `cluster` does, partition after partition in this process."""
    began = time.perf_counter()
    states(store, days, threads)
    counted = time.perf_counter() - began
    _merge(store, days)
    merged = time.perf_counter() - began - counted
    print(f"counted in {counted:.2f} s; tables of the states in {merged:.2f} s")
    return {"counted": counted}


def cluster(store: Path, days: int, workers: int) -> dict[str, float]:
    """Count every partition as a task of a Dask cluster, and make the tables of what came back."""
    from dask.distributed import Client, LocalCluster

    numbers = range(-(-days * STEPS // CELL))
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        client.wait_for_workers(workers)
        client.run(lambda: [import_module(m) for m in IMPORTED])
        began, busy = time.perf_counter(), sum(client.run(time.process_time).values())
        list(client.gather(client.map(lambda n: _keep(store, days, n, 1), numbers, pure=False)))
        counted = time.perf_counter() - began
        busy = sum(client.run(time.process_time).values()) - busy
        peaks = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        sent = time.perf_counter()
        states = client.map(
            lambda n: xr.load_dataset(store / f"states_{n}.nc"), numbers, pure=False
        )
        size = sum(client.submit(lambda s: s.nbytes, s).result() for s in states)
        read = time.perf_counter() - sent
        for state in states:
            state.result()
        sent = time.perf_counter() - sent - read
    began = time.perf_counter()
    made = _merge(store, days)
    merged = time.perf_counter() - began
    made.to_netcdf(store / "cluster.nc")
    print(f"{workers} workers counted in {counted:.2f} s, processor {busy:.2f} s, the largest in "
          f"{max(peaks.values()) / GB:.2f} GB; tables of their states in {merged:.2f} s")  # fmt: skip
    print(f"{size / GB:.3f} GB of states: read by the workers in {read:.2f} s, sent from them to "
          f"this process in {sent:.2f} s")  # fmt: skip
    return {"counted": counted}


def _merge(store: Path, days: int) -> xr.Dataset:
    """The tables of years from the states of all partitions."""
    from stvd.diagnostics.tables import tables_of_states
    from stvd.kept_states import KeptStates

    kept = KeptStates([store / f"states_{k}.nc" for k in range(-(-days * STEPS // CELL))])
    return _whole(tables_of_states(kept, opened(store, days)["areacella"].compute()))


def _whole(made: Tables) -> xr.Dataset:
    """The tables of years, complete or not."""
    table = made.period_to_date if made.annual is None else made.annual
    assert table is not None
    return table


PARTS: dict[str, Callable[[Path, int, int], dict[str, float] | None]] = {
    "read": read, "tables": tables, "states": states, "update": update, "apart": apart,
    "cluster": cluster,
}  # fmt: skip


def child(part: str, store: Path, days: int, threads: int) -> None:
    """Run a part once and print what it took; modules are imported before."""
    for module in IMPORTED:
        import_module(module)

    began, busy = time.perf_counter(), time.process_time()
    more = PARTS[part](store, days, threads) or {}
    took = {"clock": time.perf_counter() - began, "processor": time.process_time() - busy}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(took | {"peak": peak} | more))


def run(part: str, store: Path, days: int, threads: int) -> dict[str, float]:
    arguments = ["--child", part, "--store", str(store), "--days", str(days)]
    arguments += ["--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
    )
    *more, last = done.stdout.splitlines()
    found: dict[str, float] = json.loads(last)
    print(
        f"{part:<8} {found['clock']:8.2f} s  processor {found['processor']:8.2f} s  "
        f"peak {found['peak'] / GB:5.2f} GB",
        flush=True,
    )
    print(*(f"         {line}" for line in more), sep="\n", end="\n" * bool(more))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--side", type=int, default=192, help="cells along y and x")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--states", action="store_true", help="also keep states and update them")
    parser.add_argument("--workers", type=int, help="also on a Dask cluster of so many processes")
    parser.add_argument("--store", type=Path, help="where the product is made, or was")
    parser.add_argument("--child", choices=PARTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.store, chosen.days, chosen.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = chosen.store or Path(folder)
        began = time.perf_counter()
        if not (store / "product").exists():
            make(store, chosen.members, chosen.days, chosen.side)
            print(f"made in {time.perf_counter() - began:.0f} s")
        ds = opened(store, chosen.days)
        size = dict(ds["pr"].sizes)
        stored = sum(f.stat().st_size for f in (store / "product").rglob("*") if f.is_file())
        print(f"{size}, {4 * ds['pr'].size / GB:.2f} GB of values, {stored / GB:.2f} GB stored, "
              f"{chosen.threads} threads")  # fmt: skip
        parts = ["read", "tables", *(["states", "update"] if chosen.states else []), "read"]
        took = [run(part, store, chosen.days, chosen.threads) for part in parts]
        reading = min(took[0]["clock"], took[-1]["clock"])
        busy = min(took[0]["processor"], took[-1]["processor"])
        print(f"speed against reading and summing: {reading / took[1]['clock']:.2f} by the clock, "
              f"{busy / took[1]['processor']:.2f} by the processor")  # fmt: skip
        if chosen.workers:
            alone = run("apart", store, chosen.days, 1)
            several = run("cluster", store, chosen.days, chosen.workers)
            print(f"one process over {chosen.workers} workers: "
                  f"{alone['counted'] / several['counted']:.2f} of the counting by the clock, "
                  f"{alone['clock'] / several['clock']:.2f} with the start of workers, their end and "
                  "the merge")  # fmt: skip
            alike = [xr.load_dataset(store / f"{n}.nc") for n in ("tables", "cluster")]
            xr.testing.assert_equal(*alike)
            print("the tables of the cluster are those made in one process, bit for bit")
        if chosen.states:
            kept = [f.stat().st_size for f in store.glob("states_*.nc")]
            print(f"states of a partition: {max(kept) / GB:.3f} GB")


if __name__ == "__main__":
    main()
