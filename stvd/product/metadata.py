"""CF-1.11 metadata of a product: names, units, bounds and attributes of its variables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stvd.grid import angles, corners, edges, latitude_edges, unit_vectors
from stvd.lattice import TimeAxis, canonical_calendar
from stvd.product.spec import ProductSpec

NOT_PUBLISHED = 1
"""Bit of `qc_flag`."""
ABSENT_FLAG = 255
"""What Zarr gives for flags that are not in the store; never written."""

GRID_ATTRS: dict[str, dict[str, str]] = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
    "y": {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"},
    "areacella": {
        "standard_name": "cell_area",
        "long_name": "area of the grid cell",
        "units": "m2",
    },
    "orog": {"standard_name": "surface_altitude", "long_name": "surface altitude", "units": "m"},
    "land_fraction": {
        "standard_name": "land_area_fraction",
        "long_name": "fraction of the cell that is land",
        "units": "1",
    },
}
FIELDS = ("areacella", "orog", "land_fraction")


class Static(NamedTuple):
    """A variable that never changes: its dimensions, values and attributes."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]


def static_variables(grid: xr.Dataset, spec: ProductSpec) -> dict[str, Static]:
    """The variables of a product that its grid and ensemble size decide, by name.

    Parameters
    ----------
    grid : Dataset of the role grid (`stvd.contract`), fine; a variable with `grid_mapping_name`
        is kept as `crs`

    Raises
    ------
    ValueError
        If the grid lacks `areacella`, or its factor is not that of the product.
    """
    if "areacella" not in grid.variables:
        raise ValueError("the grid has no areacella: add the area of its cells in m2")
    factor = int(grid.attrs.get("factor", spec.factor))
    if factor != spec.factor:
        raise ValueError(
            f"the grid is {factor} times finer than its source, the product {spec.factor}"
        )
    mapping = _grid_mapping(grid)
    found = {
        "realization": Static(
            ("member",),
            np.arange(spec.members, dtype=np.int32),
            {"standard_name": "realization", "long_name": "ensemble member", "units": "1"},
        )
    }
    if mapping is not None:
        found["crs"] = Static((), np.zeros((), np.int32), mapping)
    for name in ("lat", "lon", "y", "x"):
        if name in grid.variables:
            variable = grid.variables[name]
            said = {k: variable.attrs[k] for k in ("standard_name", "units") if k in variable.attrs}
            dims = tuple(map(str, variable.dims))
            found[name] = Static(dims, np.asarray(variable.values), {**GRID_ATTRS[name], **said})
    _add_bounds(found)
    for name in FIELDS:
        if name in grid.variables:
            variable = grid.variables[name]
            attrs = dict(GRID_ATTRS[name]) | mapped(found)
            if name != "areacella":
                attrs["cell_measures"] = "area: areacella"
            dims = tuple(map(str, variable.dims))
            found[name] = Static(dims, np.asarray(variable.values), attrs)
    return found


def _grid_mapping(grid: xr.Dataset) -> dict[str, Any] | None:
    """Attributes of the grid mapping; plain latitude and longitude where none is told."""
    for variable in grid.variables.values():
        if "grid_mapping_name" in variable.attrs:
            return dict(variable.attrs)
    return {"grid_mapping_name": "latitude_longitude"} if "lat" in grid.variables else None


def mapped(static: dict[str, Static]) -> dict[str, str]:
    """Attributes that tie a field to the coordinates and the mapping of its grid."""
    attrs = {}
    horizontal = [n for n in ("lat", "lon") if n in static]
    if horizontal:
        attrs["coordinates"] = " ".join(horizontal)
    if "crs" in static:
        attrs["grid_mapping"] = "crs"
    return attrs


def _add_bounds(static: dict[str, Static]) -> None:
    """Bounds of latitude and longitude: edges of rows and columns, or the four corners of cells."""
    if "lat" not in static:
        return
    lat, lon = static["lat"].values, static["lon"].values
    if lat.ndim == 1:
        bounds = {"lat": _pairs(latitude_edges(lat)), "lon": _pairs(edges(lon))}
    else:
        points = corners(unit_vectors(lat, lon))
        around = [points[..., i : i + lat.shape[-2], j : j + lat.shape[-1], :] for i, j in _AROUND]
        south_north, west_east = angles(np.stack(around, axis=-2))
        west_east += 360.0 * np.round((lon[..., None] - west_east) / 360.0)
        bounds = {"lat": south_north, "lon": west_east}
    for name, values in bounds.items():
        variable = static[name]
        static[name] = variable._replace(attrs={**variable.attrs, "bounds": f"{name}_bnds"})
        ends = "bnds" if values.shape[-1] == 2 else "vertices"
        static[f"{name}_bnds"] = Static((*variable.dims, ends), values, {})


_AROUND = ((0, 0), (0, 1), (1, 1), (1, 0))  # counter-clockwise, as CF asks


def _pairs(ends: np.ndarray) -> np.ndarray:
    return np.stack([ends[:-1], ends[1:]], axis=-1)


def pr_attrs(static: dict[str, Static], spec: ProductSpec) -> dict[str, Any]:
    """Attributes of the precipitation."""
    attrs: dict[str, Any] = {
        "standard_name": "precipitation_flux",
        "long_name": "precipitation",
        "units": "kg m-2 s-1",
        "cell_methods": "time: mean area: mean",
        "cell_measures": "area: areacella",
        "ancillary_variables": "qc_flag",
    }
    attrs |= mapped(static)
    attrs["coordinates"] = f"realization {attrs.get('coordinates', '')}".strip()
    if spec.keepbits is not None:
        attrs["quantization"] = "BitRound"
        attrs["quantization_nsb"] = spec.keepbits
        attrs["comment"] = (
            f"rounded to {spec.keepbits} explicit mantissa bits: relative error at most "
            f"2^-{spec.keepbits + 1}"
        )
    return attrs


def time_attrs(axis: TimeAxis) -> dict[str, str]:
    """Attributes of `time`: whole seconds since the epoch, at the middle of each frame."""
    epoch = axis.period(range(1)).start.replace("T", " ")
    calendar = canonical_calendar(axis.calendar)
    attrs = {
        "standard_name": "time",
        "long_name": "middle of the interval",
        "units": f"seconds since {epoch}",
        "calendar": calendar,
        "axis": "T",
        "bounds": "time_bnds",
    }
    if calendar in ("standard", "proleptic_gregorian", "julian"):
        attrs["units_metadata"] = "leap_seconds: none"
    return attrs


def qc_attrs() -> dict[str, Any]:
    """Attributes of `qc_flag`."""
    return {
        "standard_name": "quality_flag",
        "long_name": "state of a frame of a member",
        "flag_masks": [NOT_PUBLISHED],
        "flag_meanings": "not_published",
    }


def global_attrs(spec: ProductSpec, created: str, version: str) -> dict[str, str]:
    """Attributes of the product as a whole."""
    attrs = {
        "Conventions": "CF-1.11",
        "title": spec.title
        or f"{spec.name}: ensemble of fine-grid precipitation from {spec.source}",
        "institution": spec.institution,
        "source": f"STVD (spatiotemporal video diffusion) downscaling of {spec.source}, "
        f"{spec.factor} times finer",
        "history": f"{created}: created by stvd {version}",
        "references": spec.references or "https://arxiv.org/abs/2312.06071",
        "comment": spec.comment,
        "license": spec.licence,
    }
    return {name: text for name, text in attrs.items() if text}


def seconds(spec: ProductSpec, index: range) -> tuple[np.ndarray, np.ndarray]:
    """Values of `time`, shape (time,), and `time_bnds`, shape (time, 2), int64 seconds."""
    step = spec.axis.step_seconds
    starts = (np.arange(index.start, index.stop, dtype=np.int64) + spec.first_frame) * step
    return starts + step // 2, np.stack([starts, starts + step], axis=-1)
