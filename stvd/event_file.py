"""A record with its truth as it is scored: any file of the known layout, gaps and all.

A coarse cell is valid in a frame if it has a value and every fine cell in it has one; only fine cells
in valid coarse cells are scored. Where the file has fine precipitation alone, the coarse record is its
area-weighted block mean, which is missing where one fine cell is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch
import xarray as xr

from stvd.adapter import Adapter, Region, adapt
from stvd.catalog import CHUNK, open_source
from stvd.contract import CatalogError, time_axis, violations
from stvd.lattice import TimeAxis
from stvd.layout import catalog_of_file
from stvd.source import Source
from stvd.structure import texture, texture_step
from stvd.transforms import MM_PER_HOUR

DEGREES = {"lat": "degrees_north", "latitude": "degrees_north"}
DEGREES |= {"lon": "degrees_east", "longitude": "degrees_east"}
METRES = {"y": "m", "x": "m"}
CONTEXT = 64  # frames before and after the scored ones that are read with them, for the windows around them
TRACE = 0.01 * MM_PER_HOUR  # kg m-2 s-1, rain so little below 0 is 0
MEMORY = 2 << 30  # bytes of truth that are kept in memory; a longer record is read again and again


@dataclass(frozen=True)
class EventFile:
    """One unbroken record; the coarse fields are in memory, and the fine ones unless they are large.

    name : of the file or source
    coarse : Dataset of the contract on `context`, NaN where missing
    grid : fine grid of the contract
    truth : DataArray, shape (time, [tile,] y, x), kg m-2 s-1, of the scored frames; NaN where not scored
    valid : DataArray of bool, shape (time, [tile,] y / factor, x / factor), of the scored frames
    frames : absolute frames that are scored
    context : absolute frames of which the coarse fields were read
    record : absolute frames that there are
    whole : as `coarse` on `record`, not yet read
    """

    name: str
    coarse: xr.Dataset
    grid: xr.Dataset
    truth: xr.DataArray
    valid: xr.DataArray
    frames: range
    context: range
    record: range
    whole: xr.Dataset

    @property
    def axis(self) -> TimeAxis:
        return time_axis(self.coarse)

    @property
    def factor(self) -> int:
        return int(self.coarse.attrs["factor"])

    @property
    def periodic_x(self) -> bool:
        return bool(self.coarse.attrs["periodic_x"])

    @cached_property
    def texture(self) -> float:
        """Scaling exponent of the truth (`stvd.structure.texture`), of some frames, if there are many."""
        some = self.truth[:: texture_step(len(self.frames), self.truth[0].size)]
        return float(texture(torch.from_numpy(f.values) for f in some))

    def coarse_on(self, frames: range) -> xr.Dataset:
        """Coarse fields of `context` and of those of `frames` that there are, in memory."""
        first = max(self.record.start, min(frames.start, self.context.start))
        stop = min(self.record.stop, max(frames.stop, self.context.stop))
        if range(first, stop) == self.context:
            return self.coarse
        here = slice(first - self.record.start, stop - self.record.start)
        return self.whole.isel(time=here).load()

    def scored_coarse(self) -> xr.DataArray:
        """Coarse precipitation of the scored frames, NaN where it is not valid."""
        here = slice(self.frames.start - self.context.start, self.frames.stop - self.context.start)
        pr = self.coarse["pr"].isel(time=here)
        return pr.where(self.valid.values)


def read_event(
    path: str | Path, *, frames: str | None = None, region: str | None = None
) -> EventFile:
    """Read a NetCDF file or Zarr store laid out as `stvd.layout` says, whole.

    Parameters
    ----------
    path : of the file
    frames : `a:b`, frames of the record to score, counted from its first; the others serve as context
    region : `y0:y1,x0:x1`, fine cells to cut out, at multiples of the factor

    Raises
    ------
    CatalogError, ValueError
        If the file has no truth, is no unbroken record, or does not divide into coarse cells.
    """
    entries = catalog_of_file(str(path), whole=True)["entries"]
    adapters = {name: Adapter.model_validate(e["metadata"]["stvd"]) for name, e in entries.items()}
    name = next(iter(adapters))
    if f"{name}_truth" not in adapters:
        raise CatalogError(f"{path} has no fine pr: there is nothing to score against.")
    if region is not None:
        cut = _region(region)
        adapters = {
            k: Adapter.model_validate({**dict(a), "region": cut}) for k, a in adapters.items()
        }
    truth = adapters[f"{name}_truth"]
    raw = _with_units(_open(path, truth))
    _require_whole_cells(raw, truth, str(path))
    roles = {role: name + role for role in ("", "_truth", "_grid")}
    opened = {role: adapt(raw, adapters[key], key, None) for role, key in roles.items()}
    return _event(name, opened[""], opened["_truth"], opened["_grid"], frames)


def _open(path: str | Path, truth: Adapter) -> xr.Dataset:
    """A file in pieces of whole maps over as much time as it stores together."""
    options: dict[str, Any] = {"engine": "netcdf4", "decode_times": False}
    if str(path).endswith(".zarr"):
        options |= {"engine": "zarr", "consolidated": False}
    with xr.open_dataset(path, **options) as file:
        field = file[truth.variables["pr"].name]
        stored = field.encoding.get("chunksizes") or field.encoding.get("chunks")
        step = stored[field.dims.index(truth.file_dim("time"))] if stored else "auto"
    dims = {"time": step, "y": -1, "x": -1}
    with dask.config.set({"array.chunk-size": CHUNK}):
        chunks = {truth.file_dim(dim): size for dim, size in dims.items()}
        return xr.open_dataset(path, **options, chunks=chunks)


def read_source(source: Source, *, frames: str | None = None) -> EventFile:
    """Read a coarse record of a catalog that has truth, as its entries say.

    Parameters
    ----------
    frames : as in `read_event`
    """
    if source.info.truth is None:
        raise CatalogError(f"{source.name} has no truth: there is nothing to score against.")
    coarse, truth = (
        open_source(name, catalog=source.catalog, root=source.data_root)
        for name in (source.name, source.info.truth)
    )
    return _event(source.name, coarse, truth, source.grid(), frames)


def _event(
    name: str, coarse: xr.Dataset, truth: xr.Dataset, grid: xr.Dataset, frames: str | None
) -> EventFile:
    found = [*violations(coarse, "coarse", ("pr",)), *violations(truth, "truth", ("pr",))]
    if found:
        raise CatalogError(f"{name}: " + " ".join(map(str, found)))
    axis = time_axis(coarse)
    numbers = axis.locate(coarse["time"])
    if (np.diff(numbers) != 1).any():
        at = int(np.flatnonzero(np.diff(numbers) != 1)[0])
        raise CatalogError(
            f"{name} is no unbroken record: after {coarse['time'].values[at]} comes "
            f"{coarse['time'].values[at + 1]}, not the frame {axis.step_seconds} s later. Give each "
            "unbroken part a file of its own."
        )
    record = range(int(numbers[0]), int(numbers[-1]) + 1)
    scored = _frames(frames, record)
    context = range(
        max(record.start, scored.start - CONTEXT), min(record.stop, scored.stop + CONTEXT)
    )
    whole = coarse.assign(pr=_without_traces(coarse["pr"]))
    coarse = whole.isel(time=slice(context.start - record.start, context.stop - record.start))
    fine = truth["pr"].isel(time=slice(scored.start - record.start, scored.stop - record.start))
    if fine.nbytes <= MEMORY:
        coarse, fine = dask.compute(coarse, fine)  # at once: they may come from the same values
    coarse = coarse.load()
    factor = int(coarse.attrs["factor"])
    complete, negative = dask.compute(_complete(fine, factor), (fine < -TRACE).sum())
    counts = {"fine": (fine, negative), "coarse": (coarse["pr"], (coarse["pr"] < 0).sum())}
    for which, (rain, below) in counts.items():
        if below:
            raise CatalogError(
                f"{name}: {int(below)} values of {which} pr are below 0, down to {float(rain.min()):.2g} "
                "kg m-2 s-1, which no rain is. Correct the file, or its units, scale and offset."
            )
    fine = _without_traces(fine)
    here = slice(scored.start - context.start, scored.stop - context.start)
    valid = coarse["pr"].isel(time=here).notnull().rename("valid")
    valid = valid.copy(data=valid.values & complete.values)
    if not bool(valid.any()):
        raise CatalogError(
            f"{name}: no coarse cell has data in all its {factor} × {factor} fine cells in any frame "
            f"of {axis.period(scored)}, so nothing can be scored."
        )
    fine = fine.where(refined(valid, fine, factor))
    return EventFile(name, coarse, grid, fine, valid, scored, context, record, whole)


def _without_traces(rain: xr.DataArray) -> xr.DataArray:
    """Rain with what rounding or spectral ringing puts a trace below 0 set to it."""
    return rain.where(~((rain < 0) & (rain >= -TRACE)), 0.0).assign_attrs(rain.attrs)


def refined(valid: xr.DataArray, like: xr.DataArray, factor: int) -> xr.DataArray:
    """A coarse mask on the fine cells of `like`, lazily in its chunks where it is lazy."""
    bare = valid.drop_vars(list(valid.coords))
    chunks = like.chunksizes
    if chunks:
        bare = bare.chunk({"time": chunks["time"]})
    fine = xr.apply_ufunc(
        lambda m: m.repeat(factor, axis=-2).repeat(factor, axis=-1),
        bare,
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        exclude_dims={"y", "x"},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {d: like.sizes[d] for d in ("y", "x")}},
        output_dtypes=[bool],
    )
    return fine.transpose(*like.dims)


def _complete(fine: xr.DataArray, factor: int) -> xr.DataArray:
    """Whether every cell of a block has a value, shape (time, [tile,] y / factor, x / factor)."""
    bare = fine.drop_vars([n for n, c in fine.coords.items() if {"y", "x"} & set(c.dims)])
    return bare.notnull().coarsen(y=factor, x=factor).all()


def _frames(text: str | None, record: range) -> range:
    """Absolute frames of `a:b`, which counts from the first frame of the record."""
    if text is None:
        return record
    found = re.fullmatch(r"(\d*):(\d*)", text.strip())
    if found is None:
        raise ValueError(f"frames {text!r} is not a range such as 0:20")
    start, stop = int(found[1] or 0), int(found[2] or len(record))
    if not 0 <= start < stop <= len(record):
        raise ValueError(f"frames {text} are not in the record, which has frames 0:{len(record)}")
    return record[start:stop]


def _region(text: str) -> Region:
    found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
    if found is None:
        raise ValueError(f"region {text!r} is not a rectangle of fine cells such as 0:128,64:256")
    y0, y1, x0, x1 = map(int, found.groups())
    if y0 >= y1 or x0 >= x1:
        raise ValueError(f"region {text} is empty")
    return Region(y=(y0, y1), x=(x0, x1))


def _with_units(raw: xr.Dataset) -> xr.Dataset:
    """Degrees and metres where coordinates of the usual names do not say."""
    changed = {
        name: raw[name].assign_attrs(units=units)
        for name, units in (DEGREES | METRES).items()
        if name in raw.variables and "units" not in raw[name].attrs
    }
    return raw.assign_coords(changed)


def _require_whole_cells(raw: xr.Dataset, truth: Adapter, path: str) -> None:
    """Refuse a grid, or a region of one, that is not made of whole coarse cells."""
    sizes = {dim: raw.sizes[truth.file_dim(dim)] for dim in ("y", "x")}
    if truth.region is None:
        bad = {dim: n for dim, n in sizes.items() if n % truth.factor}
        if bad:
            said = " and ".join(f"{n} cells along {dim}" for dim, n in bad.items())
            most = ",".join(f"0:{n // truth.factor * truth.factor}" for n in sizes.values())
            raise ValueError(
                f"{path} has {said}, which is not divisible by {truth.factor}. Cut it to whole coarse "
                f"cells, e.g. --region {most}"
            )
    elif truth.region.y[1] > sizes["y"] or truth.region.x[1] > sizes["x"]:
        raise ValueError(
            f"the region is not inside {path}, which has {sizes['y']} × {sizes['x']} cells"
        )
