"""The file layout of a simulated record: fine precipitation with its coarse predictors.

Fine 3-hourly `pr` with orography and land fraction, and the area-weighted `factor` × `factor` block
means of precipitation and of the atmosphere around it, on `lat_c` and `lon_c`.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stvd.gcm import FRAMES_PER_DAY, LEVELS, STEP_SECONDS, TIME_STEP_MINUTES, Array
from stvd.grid import coarsen_area_weighted

RATE_STEP = 0.005 / 3600  # kg m-2 s-1, the packing step of fine precipitation
MISSING = -32768
CODES = 65000  # int16 codes that a packed predictor spans

LEVEL_ATTRS: Mapping[str, tuple[str, str]] = {
    "ua": ("eastward_wind", "m s-1"),
    "va": ("northward_wind", "m s-1"),
    "ta": ("air_temperature", "K"),
    "hus": ("specific_humidity", "1"),
    "zg": ("geopotential", "m2 s-2"),
}
PREDICTORS: Mapping[str, dict[str, str]] = {
    "ps": {"standard_name": "surface_air_pressure", "units": "Pa"},
    "prw": {"standard_name": "atmosphere_mass_content_of_water_vapor", "units": "kg m-2"},
    "tas": {"standard_name": "air_temperature", "units": "K"},
    "uas": {"standard_name": "eastward_wind", "units": "m s-1"},
    "vas": {"standard_name": "northward_wind", "units": "m s-1"},
} | {
    name + label: {"standard_name": standard, "units": units, "comment": f"sigma={sigma:.3f}"}
    for label, sigma in LEVELS.items()
    for name, (standard, units) in LEVEL_ATTRS.items()
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides the numbers of a record."""

    truncation: int
    start: str
    days: float
    spinup_days: int
    adjust_days: int
    member: int
    factor: int
    terrain: str | None

    def __post_init__(self) -> None:
        if self.truncation not in TIME_STEP_MINUTES:
            known = ", ".join(f"T{n}" for n in TIME_STEP_MINUTES)
            raise ValueError(
                f"truncation T{self.truncation} is not supported: choose one of {known}."
            )
        if self.days <= 0 or not math.isclose(self.frames, self.days * FRAMES_PER_DAY):
            raise ValueError(f"days = {self.days} is not a positive multiple of 3 hours (0.125).")
        if self.spinup_days < 1 or self.adjust_days < 0:
            raise ValueError("spinup_days must be at least 1 and adjust_days at least 0.")
        if self.member < 0 or self.factor < 1:
            raise ValueError("member must be at least 0 and factor at least 1.")

    @property
    def frames(self) -> int:
        return round(self.days * FRAMES_PER_DAY)

    @property
    def first_instant(self) -> datetime:
        return datetime.combine(date.fromisoformat(self.start), time())


def block_mean(field: Array, lat: Array, factor: int) -> Array:
    """Average blocks of a latitude–longitude field, each row weighted by cos(latitude).

    Parameters
    ----------
    field : shape (..., lat, lon)
    lat : shape (lat,), degrees
    factor : divides both sizes

    Returns
    -------
    shape (..., lat / factor, lon / factor), unit of `field`, float64

    Raises
    ------
    ValueError
        If `factor` does not divide the grid.
    """
    lead = [f"lead{i}" for i in range(field.ndim - 2)]
    fine = xr.DataArray(field.astype(np.float64), dims=[*lead, "y", "x"])
    weight = np.broadcast_to(np.cos(np.radians(lat))[:, None], field.shape[-2:])
    coarse = coarsen_area_weighted(fine, xr.DataArray(weight, dims=["y", "x"]), factor)
    return np.asarray(coarse.values)


def coarse_axes(lat: Array, lon: Array, factor: int) -> tuple[Array, Array]:
    """Centres of the blocks, degrees: the weighted mean latitude and the mean longitude."""
    columns = np.repeat(lat[:, None], factor, axis=1)
    return block_mean(columns, lat, factor)[:, 0], lon.reshape(-1, factor).mean(axis=1)


def on_packing_grid(rate: Array) -> Array:
    """Round a rate (kg m-2 s-1) to the values that the packed file can hold."""
    return np.asarray(np.rint(rate / RATE_STEP) * RATE_STEP)


def coarsen(day: xr.Dataset, factor: int) -> xr.Dataset:
    """Reduce fine fields to fine `pr` and coarse predictors.

    `pr_coarse` averages the rounded `pr`, so that a reader of the file finds it conserved exactly.

    Parameters
    ----------
    day : dims (time, lat, lon); `pr` and every name of `PREDICTORS`
    factor : fine cells per coarse cell and axis

    Returns
    -------
    Dataset: `pr` (time, lat, lon), `pr_coarse` and predictors (time, lat_c, lon_c), float32
    """
    lat, lon = day.lat.values, day.lon.values
    lat_c, lon_c = coarse_axes(lat, lon, factor)
    pr = on_packing_grid(day.pr.values.astype(np.float64))
    dims = ("time", "lat_c", "lon_c")
    fields = {"pr_coarse": pr} | {name: day[name].values for name in PREDICTORS}
    coarse = {
        name: (dims, block_mean(values, lat, factor).astype(np.float32))
        for name, values in fields.items()
    }
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), pr.astype(np.float32))} | coarse,
        coords={"time": day.time.values, "lat": lat, "lon": lon, "lat_c": lat_c, "lon_c": lon_c},
    )


def record(
    days: Sequence[xr.Dataset], orog: Array, land: Array, experiment: Experiment
) -> xr.Dataset:
    """Join the days of a simulation into a record with its metadata.

    Parameters
    ----------
    days : outputs of `coarsen`, in order
    orog, land : shape (lat, lon), m and 0..1

    Returns
    -------
    Dataset; `time` is the middle of each 3-hour mean, `time_bnds` its ends, both in seconds since
    1970-01-01
    """
    joined = xr.concat(days, "time").isel(time=slice(experiment.frames))
    epoch = int((experiment.first_instant - datetime(1970, 1, 1)).total_seconds())
    begin = epoch + STEP_SECONDS * np.arange(experiment.frames, dtype=np.int64)
    lat, factor = joined.lat.values, experiment.factor
    joined = joined.assign_coords(time=begin + STEP_SECONDS // 2)
    joined["time_bnds"] = ("time", "bnds"), np.stack([begin, begin + STEP_SECONDS], axis=1)
    joined["orog"] = ("lat", "lon"), orog.astype(np.float32)
    joined["land_fraction"] = ("lat", "lon"), land.astype(np.float32)
    joined["orog_coarse"] = ("lat_c", "lon_c"), block_mean(orog, lat, factor).astype(np.float32)
    describe(joined)
    joined.attrs = record_attrs(experiment)
    order = ["time_bnds", "pr", "orog", "land_fraction", "pr_coarse", "orog_coarse", *PREDICTORS]
    return joined[order]


def describe(dataset: xr.Dataset) -> None:
    """Put CF attributes on the variables of a record."""
    north = {"units": "degrees_north"}
    east = {"units": "degrees_east"}
    flux = {"standard_name": "precipitation_flux", "units": "kg m-2 s-1"}
    attrs: dict[str, dict[str, str]] = {
        "time": {
            "standard_name": "time",
            "axis": "T",
            "long_name": "middle of the 3-hour mean",
            "units": "seconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "bounds": "time_bnds",
        },
        "lat": north | {"standard_name": "latitude"},
        "lon": east | {"standard_name": "longitude"},
        "lat_c": north,
        "lon_c": east,
        "pr": flux | {"cell_methods": "time: mean (interval: 3 hours)"},
        "pr_coarse": flux,
        "orog": {"standard_name": "surface_altitude", "units": "m"},
        "orog_coarse": {"units": "m"},
        "land_fraction": {"units": "1"},
    }
    for name, values in (attrs | dict(PREDICTORS)).items():
        dataset[name].attrs = dict(values)


def record_attrs(experiment: Experiment) -> dict[str, Any]:
    """Global attributes: what the record is and how to make it again."""
    e = experiment
    terrain = f"orography of {e.terrain}" if e.terrain else "packaged T63 orography"
    options = f"--truncation {e.truncation} --start {e.start} --days {e.days:g} --member {e.member}"
    options += f" --factor {e.factor} --spinup-days {e.spinup_days} --adjust-days {e.adjust_days}"
    options += f" --terrain {e.terrain}" if e.terrain else ""
    return {
        "Conventions": "CF-1.8",
        "title": f"SIMULATED precipitation: SPEEDY-physics GCM (jcm) at T{e.truncation}L8, "
        f"3-hourly means, with {e.factor}x coarse predictors",
        "source": "SPEEDY-physics GCM, package jcm 3.0.0, Apache-2.0: perturbed rest state, "
        f"{e.spinup_days} days at T31, {e.adjust_days} days at T{e.truncation} with the {terrain}, "
        "then this output; forcing = packaged T63 climatology",
        "licence": "own simulation output; jcm Apache-2.0",
        "note": "NOT observed data: an intermediate-complexity GCM, smooth rain, tropical "
        "gridpoint storms possible; use for multi-variable pipeline and scaling tests only",
        "time_step_seconds": STEP_SECONDS,
        "n_frames": e.frames,
        "member": e.member,
        "start": e.start,
        "command": f"stvd simulate OUT {options}",
    }


def encoding(
    dataset: xr.Dataset, *, pack_predictors: bool, zarr: bool
) -> dict[str, dict[str, Any]]:
    """How each variable is stored: `pr` as int16 in steps of 0.005 mm/h, the rest as float32.

    With `pack_predictors`, predictors too are int16, 65000 steps from minimum to maximum.
    """
    squeeze: dict[str, Any] = {} if zarr else {"zlib": True, "complevel": 9, "shuffle": True}
    chosen: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.data_vars.items():
        if name != "time_bnds":
            chosen[str(name)] = dict(squeeze)
        if name in PREDICTORS and pack_predictors:
            low, high = float(variable.min()), float(variable.max())
            step = (high - low) / CODES or 1.0
            middle = (low + high) / 2
            chosen[str(name)] |= {"dtype": "int16", "_FillValue": MISSING}
            chosen[str(name)] |= {"scale_factor": step, "add_offset": middle}
    n, ny, nx = dataset.pr.shape
    chunks = (min(8, n), min(80, ny), min(80, nx))
    chosen["pr"] |= {"dtype": "int16", "_FillValue": MISSING, "scale_factor": RATE_STEP}
    chosen["pr"] |= {"chunks" if zarr else "chunksizes": chunks}
    return chosen


def write_record(dataset: xr.Dataset, out: Path, *, pack_predictors: bool = False) -> Path:
    """Write a record whole: NetCDF-4, or Zarr v3 where `out` ends in `.zarr`."""
    zarr = out.suffix == ".zarr"
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    how = encoding(dataset, pack_predictors=pack_predictors, zarr=zarr)
    if zarr:
        dataset.to_zarr(partial, mode="w", zarr_format=3, consolidated=False, encoding=how)
        shutil.rmtree(out, ignore_errors=True)
    else:
        dataset.to_netcdf(partial, engine="netcdf4", encoding=how)
    os.replace(partial, out)
    return out
