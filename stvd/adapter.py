"""Adapters: from the names, units and stamps of a file to those of the contract.

An adapter is data, the `stvd` block in the metadata of a catalog entry. Applying it never repairs:
a variable that is absent stays absent and units that cannot be converted stay as they are, for
`stvd.quality` to name. What leaves no dataset at all, such as a time axis that cannot be read,
raises `CatalogError`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stvd.contract import DIMS, STATIC, CatalogError, Role, quantity
from stvd.grid import cell_area, coarsen_area_weighted, coarsen_coordinates, is_periodic
from stvd.lattice import Period
from stvd.projection import geographic
from stvd.stamps import Stamp, read_times, within
from stvd.units import convert, is_unit, same

COORDINATES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "lat": (("lat", "latitude"), {"standard_name": "latitude", "units": "degrees_north"}),
    "lon": (("lon", "longitude"), {"standard_name": "longitude", "units": "degrees_east"}),
    "y": (("y",), {"standard_name": "projection_y_coordinate", "units": "m"}),
    "x": (("x",), {"standard_name": "projection_x_coordinate", "units": "m"}),
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Origin(_Model):
    """Where one variable of the contract comes from.

    Parameters
    ----------
    name : variable of the file (`from` in YAML)
    units_in : units that the numbers have; must agree with the file where the file names units
    per_step : the numbers are amounts over a step, to be divided by its length
    scale, offset : `scale · value + offset`, for what is no change of units, such as m to m2 s-2
    select : labels at which to cut dimensions, those there are, such as `{level: 850}`; times are
        the numbers of the file
    """

    name: str = Field(alias="from")
    units_in: str | None = None
    per_step: bool = False
    scale: float = 1.0
    offset: float = 0.0
    select: dict[str, str | int | float] = {}


class Region(_Model):
    """A rectangle of fine cells, `[start, stop)` along each axis."""

    y: tuple[int, int]
    x: tuple[int, int]

    def cells(self, factor: int) -> dict[str, slice]:
        """The rectangle in cells `factor` times larger."""
        return {
            "y": slice(self.y[0] // factor, self.y[1] // factor),
            "x": slice(self.x[0] // factor, self.x[1] // factor),
        }


class Adapter(_Model):
    """How a file meets the contract.

    Parameters
    ----------
    role : what the entry holds
    variables : contract name to its origin; a bare name stands for `{from: name}`
    factor : fine cells per coarse cell and axis
    step_seconds : length of a frame; not for the role grid
    stamp : where in its step a time stamp lies
    epoch : start of frame 0 of the lattice; by default the start of the record
    dims : contract dimension to the file's, `{y: lat_c, x: lon_c}`
    coords : contract coordinate (lat, lon, y, x) to the file's, where it is not found by itself
    periodic_x : by default whether 1-D longitudes go once around
    region : rectangle of fine cells to use, at multiples of `factor`
    period : the part of the record to use, `[start, end)`; frames are counted from the epoch of the
        whole record all the same
    coarsen : equal to `factor`: the variables are fine, and averaged over blocks when read
    sparse : a Zarr store that leaves out chunks of nothing but the fill value; by default a chunk
        that is not there is an error
    crs : variable of the file with its grid mapping, by default the one that its variables name; of y and
        x in metres it gives latitude and longitude where the file has none
    texture : scaling exponent of the fine rain that is wanted (`stvd.structure`), for models that are told
        (`stvd.conditioning.Channels`); `stvd evaluate` tells that of a truth. By default it is the
        usual one of the model's training
    grid, truth : entries with the fine grid and the fine precipitation of this one
    join : entries of the same role, grid and times whose variables are added
    """

    role: Role
    variables: dict[str, Origin] = {}
    factor: int = Field(default=8, ge=1)
    step_seconds: int | None = Field(default=None, gt=0)
    stamp: Stamp = "middle"
    epoch: str | None = None
    dims: dict[Literal["time", "tile", "y", "x"], str] = {}
    coords: dict[Literal["lat", "lon", "y", "x"], str] = {}
    periodic_x: bool | None = None
    region: Region | None = None
    period: Period | None = None
    coarsen: int | None = None
    sparse: bool = False
    crs: str | None = None
    texture: float | None = Field(default=None, gt=0, lt=2)
    grid: str | None = None
    truth: str | None = None
    join: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""

    @field_validator("variables", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: {"from": v} if isinstance(v, str) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Adapter:
        if self.role != "grid" and self.step_seconds is None:
            raise ValueError("step_seconds is missing: say how long a frame is")
        if self.coarsen not in (None, self.factor):
            raise ValueError(f"coarsen {self.coarsen} is not the factor {self.factor}")
        if self.region:
            edges = (*self.region.y, *self.region.x)
            if any(edge % self.factor for edge in edges):
                raise ValueError(f"region {edges} is not at multiples of the factor {self.factor}")
        return self

    def file_dim(self, dim: str) -> str:
        """What the file calls a dimension of the contract."""
        return {str(d): name for d, name in self.dims.items()}.get(dim, dim)


def adapt(raw: xr.Dataset, adapter: Adapter, source: str, period: Period | None) -> xr.Dataset:
    """Turn a file, opened with undecoded times, into a dataset of the contract.

    Parameters
    ----------
    raw : Dataset as in the file, lazy
    adapter : how it meets the contract
    source : name of the entry, for attributes and messages
    period : half-open range of mid-interval times to keep; all by default

    Raises
    ------
    CatalogError
        If the file has no such time axis or grid, or contradicts the adapter.
    """
    dataset = xr.Dataset(
        {
            name: _rename(_select(raw, origin, source), adapter)
            for name, origin in adapter.variables.items()
            if origin.name in raw.variables
        },
        coords=_coordinates(raw, adapter),
    )
    dataset.attrs |= {"role": adapter.role, "source": source, "factor": adapter.factor}
    if adapter.step_seconds is not None and adapter.role != "grid":
        name = adapter.file_dim("time")
        times = read_times(raw, name, adapter.stamp, adapter.step_seconds, adapter.epoch, source)
        dataset = dataset.assign_coords(times.coords).assign_attrs(times.attrs)
        dataset = within(dataset, adapter.period)
        if not dataset.sizes["time"]:
            raise CatalogError(f"{source}: the file has no time in {adapter.period}.")
        dataset = within(dataset, period)
    dataset = _ascending(dataset)
    if adapter.region:
        fine = adapter.coarsen or adapter.role != "coarse"
        dataset = dataset.isel(adapter.region.cells(1 if fine else adapter.factor))
    mapping = _mapping(raw, adapter)
    if mapping is not None and {"y", "x"} <= set(dataset.coords) and "lat" not in dataset.coords:
        dataset = dataset.assign_coords(_geographic(dataset, mapping, source))
    for name, origin in adapter.variables.items():
        if name in dataset:
            dataset[name] = _converted(dataset[name], name, origin, adapter, source)
    if adapter.coarsen:
        dataset = _coarsened(dataset, adapter.coarsen)
    if adapter.role == "grid":
        dataset["areacella"] = cell_area(dataset)
        if mapping is not None:
            dataset["crs"] = xr.Variable((), 0, mapping)
    periodic = adapter.periodic_x
    if periodic is None:
        periodic = "lon" in dataset.coords and is_periodic(dataset["lon"].values)
    dataset.attrs["periodic_x"] = int(periodic)
    if adapter.texture is not None and adapter.role == "coarse":
        dataset.attrs["texture"] = adapter.texture
    if adapter.licence:
        dataset.attrs["licence"] = adapter.licence
    return dataset


def _select(raw: xr.Dataset, origin: Origin, source: str) -> xr.Variable:
    """The variable of the file, cut at the labels of `origin.select`."""
    field = raw[origin.name]
    labels = {dim: label for dim, label in origin.select.items() if dim in field.dims}
    try:
        return field.sel(labels).variable
    except KeyError as error:
        raise CatalogError(
            f"{source}: {origin.name} of the file has nothing at {labels} ({error}). "
            "Choose labels that the file has."
        ) from error


def _rename(variable: xr.Variable, adapter: Adapter) -> xr.Variable:
    """Give a variable the dimensions of the contract, in their order, others last."""
    names = {adapter.file_dim(d): d for d in DIMS if adapter.file_dim(d) in variable.dims}
    renamed = variable.copy(deep=False)
    renamed.dims = tuple(names.get(str(d), d) for d in variable.dims)
    known = [d for d in DIMS if d in renamed.dims]
    return renamed.transpose(*known, ...)


def _coordinates(raw: xr.Dataset, adapter: Adapter) -> dict[str, xr.Variable]:
    """Latitude, longitude and projected coordinates of a file, in degrees and m."""
    found: dict[str, xr.Variable] = {}
    axes = {"lat": adapter.file_dim("y"), "lon": adapter.file_dim("x")}
    dims = {adapter.file_dim(d) for d in ("tile", "y", "x")}
    for name, (usual, attrs) in COORDINATES.items():
        along = axes.get(name, adapter.file_dim(name) if name in DIMS else name)
        candidates = [adapter.coords[name]] if name in adapter.coords else [along, *usual]
        for candidate in candidates:
            if candidate not in raw.variables or not dims.issuperset(raw[candidate].dims):
                continue
            if _means(raw[candidate], attrs["units"]):
                variable = _rename(raw[candidate].variable, adapter)
                found[name] = xr.Variable(variable.dims, np.asarray(variable.values, float), attrs)
                break
    return found


def _mapping(raw: xr.Dataset, adapter: Adapter) -> dict[Hashable, Any] | None:
    """Attributes of the grid mapping that the entry names, or a variable of it in the file."""
    used = [raw[o.name] for o in adapter.variables.values() if o.name in raw.variables]
    said = [field.attrs.get("grid_mapping", field.encoding.get("grid_mapping")) for field in used]
    for name in (adapter.crs, *said):
        if name in raw.variables and "grid_mapping_name" in raw[name].attrs:
            return dict(raw[str(name)].attrs)
    return None


def _geographic(
    dataset: xr.Dataset, mapping: dict[Hashable, Any], source: str
) -> dict[str, xr.DataArray]:
    try:
        return geographic(dataset["y"], dataset["x"], mapping)
    except ValueError as error:
        raise CatalogError(
            f"{source}: {error}. Correct it in the file, or name lat and lon of the file in "
            "metadata.stvd.coords of the catalog entry."
        ) from error


def _means(coordinate: xr.DataArray, units: str) -> bool:
    """Whether the units of a coordinate are metres or, for latitude and longitude, degrees."""
    said = str(coordinate.attrs.get("units", ""))
    return said in ("m", "metre", "meter", "metres", "meters") if units == "m" else "deg" in said


def _ascending(dataset: xr.Dataset) -> xr.Dataset:
    """Rows from the south and columns from the west."""
    for dim, names in (("y", ("lat", "y")), ("x", ("lon", "x"))):
        along = [n for n in names if n in dataset.coords and dataset[n].dims == (dim,)]
        if along and dataset[along[-1]].size > 1:
            values = dataset[along[-1]].values
            if values[-1] < values[0]:
                dataset = dataset.isel({dim: slice(None, None, -1)})
    return dataset


def _converted(
    field: xr.DataArray, name: str, origin: Origin, adapter: Adapter, source: str
) -> xr.DataArray:
    """Values in the units of the contract, float32; as they are if that cannot be done."""
    said = str(field.attrs.get("units", ""))
    units = origin.units_in if origin.units_in is not None else said
    if units != said and is_unit(said) and not same(units, said):
        raise CatalogError(
            f"{source}: the catalog says that {origin.name} is in {units!r}, the file {said!r}. "
            f"Correct units_in in metadata.stvd.variables.{name}."
        )
    attrs = {k: field.attrs[k] for k in ("standard_name", "long_name") if k in field.attrs}
    known = quantity(name)
    if (origin.scale, origin.offset) != (1.0, 0.0):
        field, units = field * origin.scale + origin.offset, known.units if known else units
    if origin.per_step and adapter.step_seconds:
        field, units = field / adapter.step_seconds, f"{units} s-1"
    if known is not None and units != known.units:
        field, units = convert(field, units, known.units)
    field = field.astype(np.float32)
    field.attrs = {**attrs, "units": units}
    if name not in STATIC:
        field.attrs["cell_methods"] = "time: mean area: mean"
    return field


def _coarsened(dataset: xr.Dataset, factor: int) -> xr.Dataset:
    """Area-weighted block means of every variable, with the coordinates of the blocks."""
    area = cell_area(dataset)
    fields = {str(n): coarsen_area_weighted(v, area, factor) for n, v in dataset.items()}
    kept = {str(n): c for n, c in dataset.coords.items() if not {"y", "x"} & set(c.dims)}
    coords = kept | coarsen_coordinates(dataset, factor)
    return xr.Dataset(fields, coords=coords, attrs=dataset.attrs)
