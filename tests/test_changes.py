"""Years against a reference period, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from diagnostic_tables import annual

from stvd.diagnostics.changes import Baseline, changes
from stvd.diagnostics.climate import TooFewYears
from stvd.diagnostics.ensemble import with_ensemble

AREA = xr.DataArray([[1.0, 3.0]], dims=("y", "x"), attrs={"units": "m2"})


def table(values: np.ndarray, start: int = 2001) -> xr.Dataset:
    """Years of shape (time, member, y, x)."""
    made = annual(values, start).to_dataset()
    return with_ensemble(made.drop_vars("time"), AREA).assign_coords(time=made["time"])


def years() -> np.ndarray:
    """Four years of two members in two cells: 100 and 200 mm, from the third year on 10 % and 20 % more."""
    more = np.array([1.0, 1.0, 1.1, 1.1])[:, None] * np.ones((4, 2))
    more[2:, 1] = 1.2
    return more[:, :, None, None] * np.array([[100.0, 200.0]])


def test_years_outside_the_reference_against_those_in_it() -> None:
    found = changes(table(years()), AREA, Baseline(2001, 2002))
    relative = found["pr_total_relative_change"].values[:, 0]
    assert relative == pytest.approx(np.array([[10.0, 10.0], [20.0, 20.0]]))
    assert found["pr_total_change_mean"].values[0] == pytest.approx([15.0, 30.0])
    # (1 × 10 + 3 × 20) / 4 and twice that.
    assert found["pr_total_change_area"].values == pytest.approx([17.5, 35.0])
    assert (found["pr_total_agreement"] == 1).all()
    assert found.attrs["reference"] == "2001-2002"
    assert found.attrs["years"] == "2003-2004"
    assert found["pr_total_change"].attrs["reference_years"] == "2001-2002 (2 years)"


def test_another_product_with_other_members_is_averaged_over_them() -> None:
    before = table(np.full((2, 3, 1, 2), 100.0), start=1951)
    baseline = Baseline(1951, 1960, before, "historical")
    found = changes(table(years()), AREA, baseline)
    # All four years: 105 and 210 mm of the first member, 110 and 220 mm of the second.
    assert found["pr_total_change"].values[:, 0] == pytest.approx(
        np.array([[5.0, 110.0], [10.0, 120.0]])
    )
    assert found.attrs["reference"] == "1951-1960 of historical"


def test_a_reference_without_years_says_so() -> None:
    with pytest.raises(TooFewYears, match="no year of 1951-1960"):
        changes(table(years()), AREA, Baseline(1951, 1960))
    with pytest.raises(TooFewYears, match="every complete year lies in the reference"):
        changes(table(years()), AREA, Baseline(2000, 2010))
