"""Time and memory of a whole report with truth: of a record, of a longer one, and when a partition is new.

    python benchmarks/diagnose.py                                   # 4 members, 2 and 8 partitions, 64 × 64 cells
    python benchmarks/diagnose.py --members 10 --partitions 12 --side 192

A synthetic 3-hourly record with truth, and a product of it in partitions of 30 days, are made in a temporary
folder. Each report (`stvd.report.report_on`: tables, scores of the product and of interpolation by season and
number of members, area means, events, figures, page) then runs in a process of its own: of two partitions;
of all but the last; of all, when only the last is new; and of all when nothing was kept. Printed are seconds,
of the clock and of the processor, those of each stage, and the largest resident set.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CELL = 240
GB = 1e9


def make_record(store: Path, partitions: int, side: int) -> None:
    """Truth, its block means and the grid, as a source reads them."""
    from stvd.lattice import TimeAxis
    from stvd.layout import write_record
    from stvd.synthetic import synthetic_coarse, synthetic_grid, synthetic_truth

    axis = TimeAxis(epoch="2001-01-01", step_seconds=10_800)
    frames, shape = range(partitions * CELL), (side, side)
    write_record(
        store / "record.zarr",
        synthetic_coarse(axis, frames, shape, predictors=()),
        synthetic_grid(shape),
        synthetic_truth(axis, frames, shape),
    )


def publish(store: Path, partitions: range, members: int) -> None:
    """Add partitions to the product: showers that differ from cell to cell, dry two thirds of the time."""
    from stvd.partition import Partition
    from stvd.product import Product, ProductSpec
    from stvd.source import Source

    source = Source.find(str(store / "record.zarr"), Path())
    spec = ProductSpec(
        name="showers", source="synthetic", members=members, factor=8, window=5, cell_frames=CELL,
        axis=source.axis,
    )  # fmt: skip
    product = Product.create_or_open(store / "product", spec, source.grid())
    for number in partitions:
        rng = np.random.default_rng(number)
        frames = range(number * CELL, (number + 1) * CELL)
        partition = Partition(source="synthetic", frames=frames, members=range(members))
        with product.write(partition, "a" * 64) as writer:
            for first in range(frames.start, frames.stop, 40):
                for member in range(members):
                    block = rng.random((1, 40, *product.shape), np.float32)
                    block = np.maximum(block - np.float32(2 / 3), 0) ** 3 * np.float32(0.02)
                    writer.put(range(first, first + 40), range(member, member + 1), block)
            writer.commit()


def report(store: Path) -> None:
    """Diagnose what the product holds and print what it took; modules are imported before."""
    from stvd.report import Wanted, report_on
    from stvd.source import Source

    source = Source.find(str(store / "record.zarr"), Path())
    stages: dict[str, float] = {}
    last = ["start", time.process_time()]

    def told(stage: str, done: int, total: int) -> None:
        now = time.process_time()
        stages[str(last[0])] = stages.get(str(last[0]), 0.0) + now - float(last[1])
        last[:] = [stage, now]

    began, busy = time.perf_counter(), time.process_time()
    wanted = Wanted(event_threshold=8.0)
    report_on(str(store / "product"), source, store / "report", wanted=wanted, progress=told)
    told("end", 1, 1)
    took = {"clock": time.perf_counter() - began, "processor": time.process_time() - busy}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(took | {"peak": peak, "stages": stages}))


def run(store: Path, said: str) -> None:
    arguments = [sys.executable, __file__, "--child", "--store", str(store)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{said:<28} {found['clock']:7.1f} s  processor {found['processor']:7.1f} s  "
        f"peak {found['peak'] / GB:5.2f} GB",
        flush=True,
    )
    stages = sorted(found["stages"].items(), key=lambda s: -s[1])
    print("    " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in stages), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--partitions", type=int, default=8, help="of 30 days, at least 3")
    parser.add_argument("--side", type=int, default=64, help="cells along y and x")
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        report(chosen.store)
        return
    with tempfile.TemporaryDirectory() as folder:
        store, count = Path(folder), chosen.partitions
        make_record(store, count, chosen.side)
        publish(store, range(2), chosen.members)
        run(store, "2 partitions")
        publish(store, range(2, count - 1), chosen.members)
        run(store, f"{count - 1} partitions, 2 kept")
        publish(store, range(count - 1, count), chosen.members)
        run(store, f"{count} partitions, 1 new")
        shutil.rmtree(store / "report")
        shutil.rmtree(store / "report.states")
        run(store, f"{count} partitions, none kept")


if __name__ == "__main__":
    main()
