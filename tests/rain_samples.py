"""Small records of rain for the tests of scores, baselines and diagnostics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis

MM_PER_HOUR = 1 / 3600
MM_PER_DAY = 1 / 86_400


def axis(epoch: str = "2001-01-01", step: int = 10_800, calendar: str = "standard") -> TimeAxis:
    return TimeAxis(epoch=epoch, step_seconds=step, calendar=calendar)


def times(lattice: TimeAxis, frames: Sequence[int] | range) -> np.ndarray:
    """Mid-interval times as a reader of the calendar gets them."""
    edges = [lattice.start(k) + lattice.step / 2 for k in frames]
    if lattice.calendar != "standard":
        return np.array(edges, dtype=object)
    return np.array([np.datetime64(t.isoformat(), "ns") for t in edges])


def record(
    values: np.ndarray, lattice: TimeAxis | None = None, frames: Sequence[int] | None = None
) -> xr.DataArray:
    """`values` of shape ([member,] time, [tile,] y, x), kg m-2 s-1, with times."""
    lattice = lattice or axis()
    dims = ("member", "time", "tile", "y", "x")
    if values.ndim == 5:
        names: tuple[str, ...] = dims
    else:
        names = {3: ("time", "y", "x"), 4: ("member", "time", "y", "x")}[values.ndim]
    count = values.shape[names.index("time")]
    when = times(lattice, range(count) if frames is None else frames)
    field = xr.DataArray(
        values, dims=names, coords={"time": when}, name="pr", attrs={"units": "kg m-2 s-1"}
    )
    if "member" in names:
        field = field.assign_coords(member=np.arange(values.shape[0]))
    return field


def rain(shape: tuple[int, ...], seed: int = 0, dry: float = 0.5) -> np.ndarray:
    """Independent rain in every cell, a share of the cells dry, kg m-2 s-1."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < dry, 0.0, rng.gamma(0.5, 2 * MM_PER_HOUR, shape))


def area(values: Sequence[Sequence[float]] | np.ndarray) -> xr.DataArray:
    return xr.DataArray(
        np.asarray(values, float), dims=("y", "x"), name="areacella", attrs={"units": "m2"}
    )
