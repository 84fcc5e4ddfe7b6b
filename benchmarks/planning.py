"""Cost of planning many partitions, and of orchestrating each, with a stub in place of the model.

    python benchmarks/planning.py plan [partitions]
    python benchmarks/planning.py dry-run [partitions]
    python benchmarks/planning.py overhead [partitions]

`plan` has half of the partitions published and plans them all, without a server; `dry-run` does so as
an operator does, in a flow. `overhead` runs a backfill in this process, and once more without Prefect
and MLflow, input checks, statistics and figures included; it extrapolates what orchestration takes of
partitions of a minute each. Without servers in the environment Prefect starts one and MLflow writes
SQLite. On a machine that others use the processor time, of this process and of the server, says more
than the clock does.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import xarray as xr
from ledger import CELL, MEMBERS, fill

import stvd.generate
from flows.backfill import backfill
from stvd.checkpoint import Checkpoint, GridContract
from stvd.conditioning import Channels, Standard
from stvd.downscale import Block
from stvd.engine import BatchPlan
from stvd.generate import examine, produce
from stvd.lattice import TimeAxis
from stvd.layout import write_record
from stvd.model import preset
from stvd.plausibility import coarse_at
from stvd.product import Product
from stvd.production import Production
from stvd.source import Source
from stvd.synthetic import synthetic_coarse, synthetic_grid
from stvd.transforms import RainTransform
from tasks.partition import statistics_and_figures

SHAPE = (16, 32)
FIRST = 2
"""Partitions of a first run, whose cost a second one takes off: start, plan and summary."""
MINUTE = 60.0
CLOCKS = ("clock", "processor", "server")


def checkpoint(folder: Path) -> Path:
    """A small model that nobody trained; its card is all that is used of it."""
    torch.manual_seed(0)
    scales = {"prw": Standard(mean=20, std=15)}
    channels = Channels(rain=RainTransform(), predictors=("prw",), scales=scales)
    network = preset("tiny", channels.channels).build()
    grid = GridContract(factor=8, step_seconds=(10_800, 10_800), spacing_km=(1, 5000))
    Checkpoint.create("tiny", network, channels, grid, {}, folder)
    return folder


def production(folder: Path, partitions: int) -> Production:
    """A product of a record with so many partitions."""
    axis = TimeAxis(epoch="1850-01-01", step_seconds=10_800, calendar="noleap")
    coarse = synthetic_coarse(axis, range(CELL * partitions), SHAPE, predictors=("prw",))
    rng = np.random.default_rng(0)
    for name, scale in {"pr": 1e-4, "prw": 20.0}.items():  # weather would take too long to make
        values = rng.gamma(2.0, scale / 2, coarse[name].shape).astype(np.float32)
        coarse[name] = coarse[name].copy(data=values)
    write_record(folder / "gcm.nc", coarse, synthetic_grid(SHAPE))
    return Production(
        product=str(folder / "many"),
        source=Source.find(str(folder / "gcm.nc"), Path()),
        checkpoint=str(checkpoint(folder / "tiny")),
        members=len(MEMBERS),
        windows="independent",
        cell_frames=CELL,
        device="cpu",
    )


def half_published(folder: Path, partitions: int) -> Production:
    how = production(folder, partitions)
    how.prepare(how.plan())
    fill(Product.open(how.product), partitions // 2)
    return how


def planning(folder: Path, partitions: int) -> dict[str, float]:
    """Seconds and bytes of planning and costing, with half of the partitions published."""
    how = half_published(folder, partitions)
    start = time.perf_counter()
    again = how.model_copy(update={"source": Source.find(how.source.catalog, Path())})
    planned = again.plan()
    estimate = again.estimate(planned)
    seconds = time.perf_counter() - start
    assert len(planned) == partitions
    assert estimate.partitions == partitions - partitions // 2
    return {"partitions": partitions, "seconds": seconds, "peak_bytes": peak_bytes()}


def dry_run(folder: Path, partitions: int) -> dict[str, float]:
    """The same, as a flow with its artifacts."""
    how = half_published(folder, partitions)
    asked = options(how)
    backfill(**asked, dry_run=True, end=how.axis.period(range(CELL)).end)  # starts the server
    start = time.perf_counter()
    summary = backfill(**asked, dry_run=True)
    seconds = time.perf_counter() - start
    assert len(summary.planned) == partitions - partitions // 2
    return {"partitions": partitions, "seconds": seconds, "peak_bytes": peak_bytes()}


def options(how: Production) -> dict[str, Any]:
    """The parameters of a backfill of a production."""
    shared = ("product", "checkpoint", "members", "windows", "cell_frames")
    return {name: getattr(how, name) for name in shared} | {"source": how.source.catalog}


def peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stub(
    checkpoint: Checkpoint, coarse: xr.Dataset, grid: xr.Dataset, **options: Any
) -> Iterator[Block]:
    """Rain at once: that of the coarse cell, its columns by turns wetter and drier, as a member has it."""
    frames, members = options["frames"], options["members"]
    axis = TimeAxis(epoch="1850-01-01", step_seconds=10_800, calendar="noleap")
    factor = checkpoint.channels.factor
    rain = coarse_at(coarse, axis, frames).repeat(factor, axis=-2).repeat(factor, axis=-1)
    turns = np.where(np.arange(rain.shape[-1]) % 2, 1.0, -1.0)
    drawn = [rain * (1 + turns * (k + 1) / (2 + len(members))) for k in members]
    yield Block(frames, members, np.stack(drawn).astype(np.float32), BatchPlan(1, 1))


def overhead(folder: Path, partitions: int) -> dict[str, float]:
    """Seconds a partition costs with and without Prefect and MLflow, the model taking none."""
    stvd.generate.downscale = stub  # type: ignore[assignment]
    how = production(folder, partitions)

    def alone(count: int) -> None:
        bare = how.model_copy(update={"product": str(folder / f"alone{count}")})
        for item in bare.plan()[:count]:
            examine(bare, item.partition)
            done = produce(bare, item.partition)
            _, drawn = statistics_and_figures(bare, item.partition, done.snapshot)
            for figure in drawn.values():
                figure.savefig(io.BytesIO())

    def orchestrated(count: int) -> None:
        end = how.axis.period(range(CELL * count)).end
        done = backfill(**options(how) | {"product": str(folder / f"orchestrated{count}")}, end=end)
        assert len(done.published) == count

    bare, whole = slope(alone, partitions), slope(orchestrated, partitions)
    found = {"partitions": float(partitions)}
    for i, clock in enumerate(CLOCKS):
        cost = whole[i] - bare[i]
        found |= {f"{clock}_seconds_alone": bare[i], f"{clock}_seconds_orchestrated": whole[i]}
        found[f"{clock}_share_of_a_minute"] = cost / (MINUTE + cost)
    return found


def slope(run: Callable[[int], None], partitions: int) -> np.ndarray:
    """Seconds, by each of `CLOCKS`, that each partition beyond the first few adds."""
    taken = []
    for count in (1, FIRST, partitions):  # the very first imports things, reads the model, …
        start = clocks()
        run(count)
        taken.append(clocks() - start)
    return np.asarray((taken[2] - taken[1]) / (partitions - FIRST))


def clocks() -> np.ndarray:
    """Seconds of the clock, of the processor in this process, and in a server that it started."""
    servers = [p.cpu_times() for p in psutil.Process().children(recursive=True)]
    of_servers = sum(t.user + t.system for t in servers)
    return np.array([time.perf_counter(), time.process_time(), of_servers])


def main(what: str, partitions: int) -> None:
    measure = {"plan": planning, "dry-run": dry_run, "overhead": overhead}[what]
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(Path(folder), partitions).items():
            print(f"{name:<32} {value:14.6g}")


if __name__ == "__main__":
    default = {"plan": 10_000, "dry-run": 10_000, "overhead": 30}
    chosen = sys.argv[1] if len(sys.argv) > 1 else "plan"
    main(chosen, int(sys.argv[2]) if len(sys.argv) > 2 else default[chosen])
