"""Records with one fault each, to test what becomes of bad input.

Each fault takes the coarse dataset and the grid of a sound record (`stvd.synthetic`) and spoils one
thing; `stvd.layout.write_record` makes a file of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

Pair = tuple[xr.Dataset, xr.Dataset]
FAULTS: dict[str, Callable[[xr.Dataset, xr.Dataset], Pair]] = {}


def _fault(change: Callable[[xr.Dataset, xr.Dataset], Pair]) -> None:
    FAULTS[change.__name__.strip("_")] = change


def spoil(name: str, coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    """The record with the fault `name`, one of `FAULTS`; frame 5 of it where a frame is meant."""
    return FAULTS[name](coarse, grid)


@_fault
def _missing_variable(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.drop_vars("ps"), grid


@_fault
def _wrong_units(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.assign(pr=coarse["pr"].assign_attrs(units="K")), grid


@_fault
def _wrong_dimensions(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.assign(tas=coarse["tas"].expand_dims(height=2, axis=1)), grid


@_fault
def _non_monotonic_time(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    order = np.arange(coarse.sizes["time"])
    order[[5, 6]] = [6, 5]
    return coarse.isel(time=order), grid


@_fault
def _duplicate_time(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.isel(time=np.sort(np.append(np.arange(coarse.sizes["time"]), 5))), grid


@_fault
def _missing_time(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.drop_isel(time=[5]), grid


@_fault
def _wrong_step(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.isel(time=slice(None, None, 2)), grid


@_fault
def _shifted_time(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    """Every stamp from frame 5 on is late by an eighth of a step."""
    time, late = coarse["time"].values.copy(), coarse["time_bnds"].values.copy()
    shift = (late[0, 1] - late[0, 0]) / 8
    time[5:] += shift
    late[5:] += shift
    return coarse.assign_coords(time=("time", time), time_bnds=(("time", "bnds"), late)), grid


@_fault
def _wrong_grid(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    """The coarse grid lies half a cell to the east."""
    lon = coarse["lon"]
    half = float(lon[..., 1] - lon[..., 0]) / 2 if lon.ndim == 1 else 0.5 * 90 / lon.shape[-1]
    return coarse.assign_coords(lon=lon + half), grid


@_fault
def _wrong_factor(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse, grid.isel(y=slice(None, None, 2), x=slice(None, None, 2))


@_fault
def _nan(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return _at_frame_5(coarse, "tas", np.nan), grid


@_fault
def _inf(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return _at_frame_5(coarse, "prw", np.inf), grid


@_fault
def _negative_rain(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return _at_frame_5(coarse, "pr", -3.1e-5), grid


@_fault
def _absurd_rate(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return _at_frame_5(coarse, "pr", 5.0), grid


@_fault
def _all_zero(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.assign(pr=xr.zeros_like(coarse["pr"]).assign_attrs(coarse["pr"].attrs)), grid


@_fault
def _unsupported_calendar(coarse: xr.Dataset, grid: xr.Dataset) -> Pair:
    return coarse.assign_attrs(calendar="martian"), grid


def _at_frame_5(coarse: xr.Dataset, name: str, value: float) -> xr.Dataset:
    """Put a value into the first row of the sixth frame."""
    field = coarse[name]
    frame = xr.DataArray(np.arange(coarse.sizes["time"]) != 5, dims="time")
    row = xr.DataArray(np.arange(coarse.sizes["y"]) != 0, dims="y")
    spoiled = field.where(frame | row, np.float32(value)).transpose(*field.dims)
    return coarse.assign({name: spoiled.assign_attrs(field.attrs)})
