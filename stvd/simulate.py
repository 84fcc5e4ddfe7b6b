"""Simulate a record with a climate model: coarse predictors with their fine precipitation.

Members differ by their initial state alone, as in an initial-condition ensemble. Days are written
as they are done, so that a killed run goes on where it stopped; `stvd.record` says what the file
holds.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import xarray as xr

from stvd import gcm
from stvd.record import Experiment, block_mean, coarsen, record, write_record


def simulate(
    out: Path,
    *,
    truncation: int = 106,
    start: date,
    days: float,
    spinup_days: int = 50,
    adjust_days: int = 4,
    member: int = 0,
    factor: int = 8,
    terrain: Path | None = None,
    pack_predictors: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate a record and write it to one file.

    The model runs `spinup_days` at T31 from a perturbed state of rest, then `adjust_days` at
    `truncation`, both discarded, then `days`, written day by day beside `out`. A run that was
    killed goes on from its last day when called again.

    Parameters
    ----------
    out : a `.nc` file, or a `.zarr` store
    truncation : 31 (48 × 96 cells), 63 (96 × 192) or 106 (160 × 320, about 1.125 degree)
    start : first day of the record; sea surface and insolation follow the season
    days : length, a multiple of 0.125 (one 3-hour frame)
    spinup_days, adjust_days : whole days before `start`
    member : seed of the initial perturbation; another member is another realisation of the weather
    factor : fine cells per coarse cell and axis
    terrain : `orog` (m) and `land_fraction` on `lat`, `lon`: a finer global grid, or this one; left
        out, the T63 orography packaged with `jcm`
    pack_predictors : store predictors as int16
    progress : called with (days done, days in all), discarded ones at `truncation` included

    Returns
    -------
    Path, `out`

    Raises
    ------
    ImportError
        If the extra `jcm` is not installed.
    ValueError
        If an argument is out of range or `factor` does not divide the grid.
    FileExistsError
        If days of another simulation lie beside `out`.
    stvd.gcm.UnstableRun
        If the model becomes unstable.
    """
    name = terrain.name if terrain else None
    experiment = Experiment(
        truncation=truncation,
        start=start.isoformat(),
        days=days,
        spinup_days=spinup_days,
        adjust_days=adjust_days,
        member=member,
        factor=factor,
        terrain=name,
    )
    gcm.require_jcm()
    parts = out.with_name(f"{out.name}.parts")
    open_parts(parts, experiment)
    model, done = begin_or_resume(experiment, terrain, parts / "state")
    total = adjust_days + math.ceil(days)
    for day in range(done, total):
        fields = gcm.run_day(model)
        if day >= adjust_days:
            write_record_part(coarsen(fields, factor), parts / part_name(day - adjust_days))
        gcm.save_state(model, parts / "state")
        if progress is not None:
            progress(day + 1, total)
    finished = [xr.load_dataset(parts / part_name(day)) for day in range(math.ceil(days))]
    write_record(
        record(finished, model.orog, model.land_fraction, experiment),
        out,
        pack_predictors=pack_predictors,
    )
    shutil.rmtree(parts)
    return out


def part_name(day: int) -> str:
    """File of the `day`-th day of the record."""
    return f"day_{day:05d}.nc"


def write_record_part(day: xr.Dataset, path: Path) -> None:
    """Write one day so that a file under its final name is whole."""
    partial = path.with_suffix(".partial")
    day.to_netcdf(partial)
    os.replace(partial, path)


def begin_or_resume(
    experiment: Experiment, terrain: Path | None, state: Path
) -> tuple[gcm.Gcm, int]:
    """The model at `truncation`, and how many of its days are done."""
    first = experiment.first_instant - timedelta(days=experiment.adjust_days)
    model = gcm.build(experiment.truncation, first, terrain)
    lat, lon = model.grid
    block_mean(np.zeros((lat.size, lon.size)), lat, experiment.factor)  # refuse before days of work
    if state.exists():
        return model, gcm.load_state(model, state)
    cold = gcm.build(31, first - timedelta(days=experiment.spinup_days))
    gcm.spin_up(cold, experiment.spinup_days, experiment.member)
    gcm.transfer(cold, model)
    return model, 0


def open_parts(folder: Path, experiment: Experiment) -> None:
    """Make the folder of finished days, or check that it belongs to this experiment.

    Raises
    ------
    FileExistsError
        If the folder holds another experiment.
    """
    label = folder / "experiment.json"
    # More days of the same run may reuse the finished ones.
    settings = {key: value for key, value in asdict(experiment).items() if key != "days"}
    if label.exists():
        found = json.loads(label.read_text())
        differ = [key for key in settings if found.get(key) != settings[key]]
        if differ:
            raise FileExistsError(
                f"{folder} holds days of another simulation (it differs in {', '.join(differ)}). "
                "Delete the folder, or choose another output name."
            )
    folder.mkdir(parents=True, exist_ok=True)
    label.write_text(json.dumps(settings, indent=2))
