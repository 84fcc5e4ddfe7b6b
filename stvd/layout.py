"""A data file as a catalog of its own record: the adapter deduced from the layout of the file.

Known is the layout of simulated and radar records: fine `pr` on `(time, [tile,] lat|y, lon|x)`,
optionally `orog` and `land_fraction`, and optionally `pr_coarse` with predictors on dimensions that
end in `_c`. Without these the coarse record is the block mean of the fine one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cftime
import numpy as np
import xarray as xr
from zarr.codecs import ZstdCodec

from stvd.contract import QUANTITIES, CatalogError, quantity
from stvd.coverage import VALID, valid_region
from stvd.lattice import as_cftime
from stvd.netcdf_lock import NETCDF
from stvd.networks import texture_of
from stvd.stamps import Stamp

LARGEST_REGION = 384  # fine cells along each axis, where a record has gaps in its coverage
REGION_MULTIPLE = 16


def catalog_of_file(path: str, factor: int = 8, *, whole: bool = False) -> dict[str, Any]:
    """The catalog document of a NetCDF file or Zarr store with three entries at most.

    They are the coarse source, named as the file without its ending, and `<name>_truth` and
    `<name>_grid` with its fine precipitation and grid.

    Parameters
    ----------
    path : local path of a `.nc` file or a `.zarr` store
    factor : fine cells per coarse cell and axis, where the file has fine precipitation alone
    whole : every cell, also those that are not covered; by default the largest covered rectangle of
        a record with gaps

    Raises
    ------
    CatalogError
        If the file cannot be read or its layout is not known.
    """
    path = path.removeprefix("file://")
    if "://" in path:
        raise CatalogError(f"{path} is not a local file; write a catalog entry for it.")
    modified = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    return _catalog_of(path, factor, whole, modified)


@lru_cache(maxsize=8)
def _catalog_of(path: str, factor: int, whole: bool, modified: int) -> dict[str, Any]:
    """The document of a file as it was when last modified."""
    where = PurePosixPath(path)
    zarr = where.suffix == ".zarr"
    try:
        engine: dict[str, Any] = {"engine": "netcdf4", "lock": NETCDF}
        if zarr:
            engine = {"engine": "zarr", "consolidated": False}
        with NETCDF:
            file = xr.open_dataset(path, decode_times=False, chunks={}, **engine)
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"{path} cannot be read as a data file: {error}. "
            "Give a .yaml catalog, a .nc file or a .zarr store."
        ) from error
    with file:
        adapters = _adapters(file, str(where), factor, whole)
    data = {
        "datatype": f"intake.readers.datatypes:{'Zarr' if zarr else 'HDF5'}",
        "kwargs": {"url": f"file://{Path(path).resolve()}"},
    }
    entries = {
        where.stem + suffix: {
            "reader": "intake.readers.readers:XArrayDatasetReader",
            "kwargs": {"data": "{data(file)}"},
            "metadata": {"stvd": adapter},
        }
        for suffix, adapter in adapters.items()
    }
    return {"version": 2, "data": {"file": data}, "entries": entries}


def write_record(
    path: str | Path,
    coarse: xr.Dataset,
    grid: xr.Dataset,
    truth: xr.Dataset | None = None,
    *,
    zarr_format: Literal[2, 3] = 3,
) -> None:
    """Write datasets of the contract to a file of the known layout, chunk by chunk.

    Parameters
    ----------
    path : a `.nc` file or `.zarr` store, replaced if it is there
    coarse, grid, truth : of the three roles
    zarr_format : of a `.zarr` store
    """
    dims = {d: f"{d}_c" for d in ("y", "x")}
    names = {"pr": "pr_coarse", "lat": "lat_c", "lon": "lon_c"}
    file = coarse.drop_vars("time_bnds").rename({**dims, **names})
    fine = grid if truth is None else grid.merge(truth.drop_vars("time_bnds"), compat="override")
    file = file.merge(fine.drop_vars("areacella"), join="exact", combine_attrs="override")
    times = coarse["time"].values
    if times.dtype != object:
        times = as_cftime(coarse["time"], "standard")
    seconds = [(t - times[0]).total_seconds() for t in times]
    units = {"units": f"seconds since {times[0].isoformat()}", "calendar": coarse.attrs["calendar"]}
    file = file.assign_coords(time=("time", np.array(seconds), units))
    file.attrs = {
        "time_step_seconds": coarse.attrs["step_seconds"],
        "title": str(coarse.attrs["source"]),
        **({"texture": coarse.attrs["texture"]} if "texture" in coarse.attrs else {}),
    }
    for variable in file.variables.values():
        variable.encoding = {}
    if str(path).endswith(".zarr"):
        checksum = ZstdCodec(level=1, checksum=True)
        file.to_zarr(
            path,
            mode="w",
            zarr_format=zarr_format,
            consolidated=zarr_format == 2,
            write_empty_chunks=True,
            encoding={n: {"compressors": checksum} for n in file.variables if zarr_format == 3},
        )
    else:
        file.to_netcdf(path, engine="netcdf4")


def _adapters(file: xr.Dataset, path: str, factor: int, whole: bool) -> dict[str, dict[str, Any]]:
    """Adapters of the coarse source (suffix ""), the truth and the grid."""
    fine_field = file.get("pr", file.get("orog"))
    if fine_field is None or ("pr_coarse" not in file and "time" not in fine_field.dims):
        raise CatalogError(
            f"{path} has neither pr(time, …) nor pr_coarse with orog: its layout is not known. "
            "Write a catalog entry that says which variable is what (catalogs/public.yaml)."
        )
    stem = PurePosixPath(path).stem
    step = step_seconds(file)
    common = {
        "step_seconds": step,
        "stamp": stamp_of(file, step),
        "licence": str(file.attrs.get("licence", "")),
        "description": str(file.attrs.get("title", "")),
    }
    fine = _dims(fine_field)
    paired = "pr_coarse" in file
    if paired:
        coarse_dims = _dims(file["pr_coarse"])
        factor = file.sizes[fine["y"]] // file.sizes[coarse_dims["y"]]
        names = {"pr": "pr_coarse"} | {
            str(n): str(n)
            for n, v in file.items()
            if v.dims == file["pr_coarse"].dims and n != "pr_coarse" and quantity(str(n))
        }
        coarse: dict[str, Any] = {"dims": coarse_dims, "variables": names}
        coarse["coords"] = _coords(file, file["pr_coarse"])
    else:
        coarse = {"dims": fine, "variables": {"pr": "pr"}, "coarsen": factor}
        coarse["coords"] = _coords(file, fine_field)
    static: list[str] = [n for n in ("orog", "land_fraction") if n in file and n in QUANTITIES]
    grid = {"dims": fine, "variables": {n: n for n in static}, "licence": common["licence"]}
    region = {} if paired or whole else _region(file, fine, factor)
    shared = {"factor": factor, **region}
    adapters: dict[str, dict[str, Any]] = {
        "": {"role": "coarse", "grid": f"{stem}_grid", **coarse, **common, **shared}
    }
    if (texture := _texture(file.attrs, path)) is not None:
        adapters[""]["texture"] = texture
    if "pr" in file:
        adapters[""]["truth"] = f"{stem}_truth"
        adapters["_truth"] = {
            "role": "truth",
            "dims": fine,
            "coords": _coords(file, fine_field),
            "variables": {"pr": "pr"},
            "grid": f"{stem}_grid",
            **common,
            **shared,
        }
    crs = "crs" if "crs" in file.variables else None
    where = _coords(file, fine_field)
    return adapters | {"_grid": {"role": "grid", "coords": where, "crs": crs, **grid, **shared}}


def _texture(attrs: Mapping[str, Any], path: str) -> float | None:
    """The exponent that a file asks for (`stvd.adapter.Adapter`), or that of the network it names."""
    if "texture" not in attrs:
        return texture_of(attrs.get("network"))
    said = attrs["texture"]
    try:
        if 0 < (asked := float(said)) < 2:
            return asked
    except (TypeError, ValueError):
        pass
    raise CatalogError(
        f"{path}: its attribute texture is {said!r}, not a number between 0 and 2. Correct it, or remove it."
    )


def _dims(field: xr.DataArray) -> dict[str, str]:
    """Contract dimension to the file's, by position: y and x last, before them a tile."""
    space = [str(d) for d in field.dims if d != "time"]
    named = {"y": space[-2], "x": space[-1]}
    return named | ({"tile": space[0]} if len(space) == 3 else {})


def _coords(file: xr.Dataset, field: xr.DataArray) -> dict[str, str]:
    """Latitude and longitude along the rows and columns of a field, or over its whole map."""
    space = tuple(d for d in field.dims if d != "time")
    found = {}
    for name, along in (("lat", space[-2:-1]), ("lon", space[-1:])):
        for candidate in (name, f"{name}_c"):
            if candidate in file.variables and file[candidate].dims in (along, space):
                found[name] = candidate
    return found


def step_seconds(file: xr.Dataset) -> int:
    """Length of a frame: the attribute `time_step_seconds`, or the first difference of times."""
    if "time_step_seconds" in file.attrs:
        return int(file.attrs["time_step_seconds"])
    if file.sizes["time"] < 2:
        raise CatalogError(
            "the step of a single time cannot be found; write it in the global attribute "
            "time_step_seconds."
        )
    return round((_instant(file["time"], 1) - _instant(file["time"], 0)).total_seconds())


def stamp_of(file: xr.Dataset, step: int) -> Stamp:
    """Where stamps lie: as the bounds say, else `middle` if half a step off steps of the day."""
    time = file["time"]
    bounds = time.attrs.get("bounds")
    if bounds in file.variables:
        first, last = file[bounds].values[0]
        return "start" if time[0] == first else "end" if time[0] == last else "middle"
    instant = _instant(time, 0)
    seconds = instant.hour * 3600 + instant.minute * 60 + instant.second
    return "middle" if seconds % step == step // 2 else "start"


def _instant(time: xr.DataArray, index: int) -> cftime.datetime:
    """A time of a file, on a calendar that can read it; only its time of day is meant."""
    units = str(time.attrs.get("units", ""))
    try:
        return cftime.num2date(time.values[index], units, time.attrs.get("calendar", "standard"))
    except ValueError:
        pass
    try:
        return cftime.num2date(time.values[index], units, "360_day")
    except ValueError as error:
        raise CatalogError(
            f"time has units {units!r}, which cannot be read: {error}. "
            "Times need units such as 'hours since 2001-01-01'."
        ) from error


def _region(file: xr.Dataset, dims: dict[str, str], factor: int) -> dict[str, Any]:
    """The rectangle to use of a record that does not cover its grid, or does not fit the factor."""
    sizes = (file.sizes[dims["y"]], file.sizes[dims["x"]])
    if "valid_fraction" in file:
        valid = file["valid_fraction"].values >= VALID
        rain = file["pr"].fillna(0).mean("time").values
        y, x = valid_region(valid, rain, REGION_MULTIPLE, LARGEST_REGION)
        return {"region": {"y": y, "x": x}}
    if any(size % factor for size in sizes):
        return {"region": {k: (0, n // factor * factor) for k, n in zip("yx", sizes, strict=True)}}
    return {}
