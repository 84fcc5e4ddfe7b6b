"""Years against a reference period, of the product itself or of another, such as a historical one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.diagnostics.climate import TooFewYears, change, climatology, years_of
from stvd.diagnostics.ensemble import area_mean
from stvd.score_pieces import assert_aligned


@dataclass(frozen=True)
class Baseline:
    """A reference period.

    Parameters
    ----------
    first, last : its years, both included
    annual : the table of years that holds them, of another product; None: those of the product itself
    name : of that product
    """

    first: int
    last: int
    annual: xr.Dataset | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" + (f" of {self.name}" if self.name else "")


def changes(annual: xr.Dataset, area: xr.DataArray, baseline: Baseline) -> xr.Dataset:
    """Change of every quantity of complete years against those of the reference period.

    Mean over the years of the product that are not in the reference, less the mean over those that
    are; each member against itself where both have the same members, else against their mean.

    Parameters
    ----------
    annual : Dataset, shape (time, member, [tile,] y, x), complete years, as from `tables.tables`
    area : DataArray, shape ([tile,] y, x), m2

    Returns
    -------
    Dataset: of each quantity `q` what `climate.change` gives (`q_change`, `q_relative_change`, `_mean`,
    `_quantile`, `q_agreement`), and `q_change_area`, the area mean of each member

    Raises
    ------
    TooFewYears
        If there is no complete year in the reference, or none outside it.
    ValueError
        If the reference lies on other cells.
    """
    years = years_of(annual)
    inside = (years >= baseline.first) & (years <= baseline.last)
    own = baseline.annual is None
    later = annual.isel(time=np.flatnonzero(~inside)) if own else annual
    if not later.sizes["time"]:
        raise TooFewYears(f"every complete year lies in the reference {baseline}")
    before = annual if baseline.annual is None else baseline.annual
    names = [n for n in annual.data_vars if f"{n}_mean" in annual and n in before]
    found = {}
    for name in map(str, names):
        reference = climatology(before[name], baseline.first, baseline.last)
        now = climatology(later[name])
        assert_aligned(now, reference, f"the reference {baseline}")
        if _members(now) != _members(reference):
            reference = reference.mean("member", keep_attrs=True)
        bare = reference.drop_vars(list(reference.coords)).compute()
        made = change(now, bare)
        for kind, field in made.data_vars.items():
            found[f"{name}_{kind}"] = field
        mean = area_mean(made["change"].astype(np.float64), area)
        found[f"{name}_change_area"] = mean.assign_attrs(
            made["change"].attrs, long_name=f"area mean of the {made['change'].attrs['long_name']}"
        )
    first, last = years_of(later)[[0, -1]]
    return xr.Dataset(found, attrs={"reference": str(baseline), "years": f"{first}-{last}"})


def _members(field: xr.DataArray) -> list[int]:
    name = "realization" if "realization" in field.coords else "member"
    return list(np.atleast_1d(field[name].values).tolist())
