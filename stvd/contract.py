"""The contract that every dataset inside the system satisfies.

Dimensions are `time, [tile,] y, x`; rows ascend from the south, columns from the west.

| role | variables | grid |
| --- | --- | --- |
| coarse | `pr` and predictors, `(time, [tile,] y, x)`, float32, lazy | coarse |
| truth | `pr`, `(time, [tile,] y, x)`, float32, lazy | fine |
| grid | `areacella`; `orog`, `land_fraction` where known, `([tile,] y, x)` | fine |

Every value is a mean over its step (`pr` a rate) in the units of `QUANTITIES`. Coordinates: `time`
at mid-interval with `time_bnds`; `lat` and `lon`, 1-D along y and x on a regular grid, otherwise
`([tile,] y, x)`; `y` and `x` in m on a projected grid, which alone may lack `lat` and `lon`.
Attributes: `role`, `source`, `factor`, `periodic_x` (0 or 1) and, with time, `calendar`,
`step_seconds` and `epoch`, which together are the `TimeAxis`; and on coarse records that ask for one,
`texture` (`stvd.conditioning.Texture`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import xarray as xr
from pydantic import BaseModel, ConfigDict

from stvd.lattice import TimeAxis

Role = Literal["coarse", "grid", "truth"]
Severity = Literal["info", "warning", "error"]

DIMS = ("time", "tile", "y", "x")
STATIC = ("orog", "land_fraction", "areacella")


class CatalogError(ValueError):
    """A catalog that cannot be used, or a source of it that cannot be opened."""


class Quantity(NamedTuple):
    """Units of a variable, and the range outside which no value on earth lies."""

    units: str
    lowest: float
    highest: float


QUANTITIES: dict[str, Quantity] = {
    "pr": Quantity("kg m-2 s-1", 0.0, 0.2),  # 0.2 kg m-2 s-1 is 720 mm/h
    "prc": Quantity("kg m-2 s-1", 0.0, 0.2),
    "ps": Quantity("Pa", 3e4, 1.15e5),
    "psl": Quantity("Pa", 8.5e4, 1.1e5),
    "prw": Quantity("kg m-2", 0.0, 150.0),
    "clwvi": Quantity("kg m-2", 0.0, 50.0),
    "clivi": Quantity("kg m-2", 0.0, 50.0),
    "tas": Quantity("K", 150.0, 350.0),
    "ts": Quantity("K", 150.0, 370.0),
    "huss": Quantity("1", 0.0, 0.06),
    "hurs": Quantity("%", 0.0, 150.0),
    "uas": Quantity("m s-1", -150.0, 150.0),
    "vas": Quantity("m s-1", -150.0, 150.0),
    "rsdt": Quantity("W m-2", 0.0, 1500.0),
    "rlut": Quantity("W m-2", 0.0, 600.0),
    "orog": Quantity("m", -500.0, 9000.0),
    "land_fraction": Quantity("1", 0.0, 1.0),
    "areacella": Quantity("m2", 0.0, 1e13),
}
LEVEL_QUANTITIES: dict[str, Quantity] = {
    "ua": Quantity("m s-1", -200.0, 200.0),
    "va": Quantity("m s-1", -200.0, 200.0),
    "ta": Quantity("K", 130.0, 350.0),
    "hus": Quantity("1", -1e-3, 0.06),  # spectral models ring below zero
    "zg": Quantity("m2 s-2", -1e4, 6e5),
    "wap": Quantity("Pa s-1", -50.0, 50.0),
}


def quantity(name: str) -> Quantity | None:
    """The quantity that a contract name stands for (`ua850` is `ua` at 850 hPa), if it is known."""
    level = re.fullmatch(r"([a-z]+)(\d+)", name)
    if level and level[1] in LEVEL_QUANTITIES:
        return LEVEL_QUANTITIES[level[1]]
    return QUANTITIES.get(name)


class Finding(BaseModel):
    """What a check found: where, what, and what to do about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity = "error"
    check: str
    variable: str | None = None
    time: str | None = None
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


def time_axis(dataset: xr.Dataset) -> TimeAxis:
    """The time lattice that a dataset of the contract declares."""
    return TimeAxis(
        epoch=dataset.attrs["epoch"],
        step_seconds=int(dataset.attrs["step_seconds"]),
        calendar=dataset.attrs["calendar"],
    )


def variables(dataset: xr.Dataset) -> tuple[str, ...]:
    """Names of the variables of a dataset that carry its role, coordinates and bounds left out."""
    return tuple(str(name) for name, v in dataset.data_vars.items() if {"y", "x"} & set(v.dims))


def violations(dataset: xr.Dataset, role: Role, required: Sequence[str]) -> Iterator[Finding]:
    """What in the structure of a dataset breaks the contract; values are not read."""
    yield from missing_variables(dataset, required)
    yield from wrong_dimensions(dataset, role)
    yield from missing_coordinates(dataset)
    yield from wrong_units(dataset)


def missing_variables(dataset: xr.Dataset, required: Sequence[str]) -> Iterator[Finding]:
    """Required variables that are not there."""
    present = ", ".join(variables(dataset)) or "none"
    for name in required:
        if name not in dataset.data_vars:
            yield Finding(
                check="missing_variable",
                variable=name,
                message=f"{name} is missing from {source_of(dataset)}, which has {present}.",
                remedy=f"Map it in the catalog entry (metadata.stvd.variables.{name}) or use a "
                "checkpoint that does without it.",
            )


def wrong_dimensions(dataset: xr.Dataset, role: Role) -> Iterator[Finding]:
    """Variables whose dimensions are not those of the role."""
    allowed = [d for d in DIMS if d in dataset.dims and not (role == "grid" and d == "time")]
    if "time" not in allowed and role != "grid":
        allowed.insert(0, "time")
    for name in variables(dataset):
        dims = dataset[name].dims
        if list(dims) != allowed:
            extra = [str(d) for d in dims if d not in allowed]
            remedy = (
                f"Choose one with metadata.stvd.variables.{name}.select: {{{extra[0]}: …}}."
                if extra
                else "Correct metadata.stvd.dims in the catalog entry, or the file."
            )
            yield Finding(
                check="wrong_dimensions",
                variable=name,
                message=f"{name} of {source_of(dataset)} has dimensions "
                f"({', '.join(map(str, dims))}) and not ({', '.join(allowed)}).",
                remedy=remedy,
            )


def missing_coordinates(dataset: xr.Dataset) -> Iterator[Finding]:
    """A grid whose cells have no position."""
    if not any(
        {north, east} <= set(dataset.coords) for north, east in (("lat", "lon"), ("y", "x"))
    ):
        yield Finding(
            check="missing_coordinates",
            message=f"{source_of(dataset)} has neither lat and lon in degrees nor y and x in m.",
            remedy="Name them in metadata.stvd.coords of the catalog entry, and give them units in "
            "the file.",
        )


def wrong_units(dataset: xr.Dataset) -> Iterator[Finding]:
    """Variables in units that are not, and could not be converted to, those of the contract."""
    for name in variables(dataset):
        known, units = quantity(name), dataset[name].attrs.get("units", "")
        if known is not None and units != known.units:
            said = f"has units {units!r}" if units else "has no units"
            yield Finding(
                check="wrong_units",
                variable=name,
                message=f"{name} of {source_of(dataset)} {said}, which is not convertible to "
                f"{known.units!r}.",
                remedy="Correct the file, or say what its numbers mean with units_in, per_step or "
                f"scale in metadata.stvd.variables.{name} of the catalog entry.",
            )


def source_of(dataset: xr.Dataset) -> str:
    """How messages call a dataset."""
    return str(dataset.attrs.get("source", "the dataset"))
