"""A data file as a catalog of its own record: the adapter deduced from the layout of the file.

Known is the layout of simulated and radar records: fine `pr` on `(time, [tile,] lat|y, lon|x)`,
optionally `orog` and `land_fraction`, and optionally `pr_coarse` with predictors on dimensions that
end in `_c`. Without these the coarse record is the block mean of the fine one.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from stvd.contract import QUANTITIES, CatalogError, quantity
from stvd.coverage import VALID, valid_region
from stvd.stamps import Stamp

LARGEST_REGION = 384  # fine cells along each axis, where a record has gaps in its coverage
REGION_MULTIPLE = 16


def catalog_of_file(path: str, factor: int = 8) -> dict[str, Any]:
    """The catalog document of a NetCDF file or Zarr store with three entries at most.

    They are the coarse source, named as the file without its ending, and `<name>_truth` and
    `<name>_grid` with its fine precipitation and grid.

    Parameters
    ----------
    path : local path of a `.nc` file or a `.zarr` store
    factor : fine cells per coarse cell and axis, where the file has fine precipitation alone

    Raises
    ------
    CatalogError
        If the file cannot be read or its layout is not known.
    """
    return _catalog_of(path, factor, os.stat(path).st_mtime_ns if os.path.exists(path) else 0)


@lru_cache(maxsize=8)
def _catalog_of(path: str, factor: int, modified: int) -> dict[str, Any]:
    """The document of a file as it was when last modified."""
    where = PurePosixPath(path)
    zarr = where.suffix == ".zarr"
    try:
        file = xr.open_dataset(
            path, engine="zarr" if zarr else "netcdf4", decode_times=False, chunks={}
        )
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"{path} cannot be read as a data file: {error}. "
            "Give a .yaml catalog, a .nc file or a .zarr store."
        ) from error
    with file:
        adapters = _adapters(file, str(where), factor)
    data = {
        "datatype": f"intake.readers.datatypes:{'Zarr' if zarr else 'HDF5'}",
        "kwargs": {"url": f"{{root}}/{where.name}"},
    }
    entries = {
        where.stem + suffix: {
            "reader": "intake.readers.readers:XArrayDatasetReader",
            "kwargs": {"data": "{data(file)}"},
            "metadata": {"stvd": adapter},
        }
        for suffix, adapter in adapters.items()
    }
    parameter = {"cls": "intake.readers.user_parameters:SimpleUserParameter"}
    return {
        "version": 2,
        "user_parameters": {"root": parameter},
        "data": {"file": data},
        "entries": entries,
    }


def _adapters(file: xr.Dataset, path: str, factor: int) -> dict[str, dict[str, Any]]:
    """Adapters of the coarse source (suffix ""), the truth and the grid."""
    if "pr" not in file or "time" not in file["pr"].dims:
        raise CatalogError(
            f"{path} has no variable pr(time, …): its layout is not known. "
            "Write a catalog entry that says which variable is what (docs/catalogs.md)."
        )
    stem = PurePosixPath(path).stem
    step = step_seconds(file)
    common = {
        "step_seconds": step,
        "stamp": stamp_of(file["time"].values, str(file["time"].attrs.get("units", "")), step),
        "licence": str(file.attrs.get("licence", "")),
        "description": str(file.attrs.get("title", "")),
    }
    fine = _dims(file["pr"])
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
        coarse["coords"] = _coords(file, file["pr"])
    static: list[str] = [n for n in ("orog", "land_fraction") if n in file and n in QUANTITIES]
    grid = {"dims": fine, "variables": {n: n for n in static}, "licence": common["licence"]}
    region = {} if paired else _region(file, fine, factor)
    shared = {"factor": factor, **region}
    return {
        "": {
            "role": "coarse",
            "grid": f"{stem}_grid",
            "truth": f"{stem}_truth",
            **coarse,
            **common,
            **shared,
        },
        "_truth": {
            "role": "truth",
            "dims": fine,
            "coords": _coords(file, file["pr"]),
            "variables": {"pr": "pr"},
            "grid": f"{stem}_grid",
            **common,
            **shared,
        },
        "_grid": {
            "role": "grid",
            "coords": _coords(file, file["pr"]),
            "crs": "crs" if "crs" in file.variables else None,
            **grid,
            **shared,
        },
    }


def _dims(field: xr.DataArray) -> dict[str, str]:
    """Contract dimension to the file's, by position: time first, y and x last."""
    dims = [str(d) for d in field.dims]
    named = {"time": dims[0], "y": dims[-2], "x": dims[-1]}
    return named | ({"tile": dims[1]} if len(dims) == 4 else {})


def _coords(file: xr.Dataset, field: xr.DataArray) -> dict[str, str]:
    """Latitude and longitude that have the dimensions of a field without its time."""
    found = {}
    for name in ("lat", "lon"):
        for candidate in (name, f"{name}_c"):
            if candidate in file.variables and file[candidate].dims == field.dims[1:]:
                found[name] = candidate
    return found


def step_seconds(file: xr.Dataset) -> int:
    """Length of a frame: the attribute `time_step_seconds`, or the first difference of times."""
    if "time_step_seconds" in file.attrs:
        return int(file.attrs["time_step_seconds"])
    unit = str(file["time"].attrs.get("units", "")).split(" since ")[0].strip()
    seconds = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}.get(unit)
    if seconds is None or file.sizes["time"] < 2:
        raise CatalogError(
            f"the step of time (units {unit!r}, {file.sizes['time']} times) cannot be found; "
            "write it in the global attribute time_step_seconds."
        )
    times = file["time"].values[:2].astype(float) * seconds
    return round(float(times[1] - times[0]))


def stamp_of(times: np.ndarray, units: str, step: int) -> Stamp:
    """`middle` for times half a step off whole steps of the day, else `start`."""
    unit = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
    seconds = float(times[0]) * unit.get(units.split(" since ")[0].strip(), 1)
    return "middle" if round(seconds) % step == step // 2 else "start"


def _region(file: xr.Dataset, dims: dict[str, str], factor: int) -> dict[str, Any]:
    """The rectangle to use of a record that does not cover its grid, or does not fit the factor."""
    sizes = (file.sizes[dims["y"]], file.sizes[dims["x"]])
    if "valid_fraction" in file:
        valid = file["valid_fraction"].values >= VALID
        rain = file["pr"].fillna(0).mean(dims["time"]).values
        y, x = valid_region(valid, rain, REGION_MULTIPLE, LARGEST_REGION)
        return {"region": {"y": y, "x": x}}
    if any(size % factor for size in sizes):
        return {"region": {k: (0, n // factor * factor) for k, n in zip("yx", sizes, strict=True)}}
    return {}
