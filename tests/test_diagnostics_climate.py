"""Seasons, cycles, spread and change by hand, on three calendars and with missing cells."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from diagnostic_tables import annual, monthly

from stvd.diagnostics.climate import (
    TooFewYears,
    change,
    climatology,
    interannual_spread,
    seasonal_cycle,
    seasons,
)

FEBRUARY = {"standard": 28, "noleap": 28, "360_day": 30}  # of 2002


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_december_belongs_to_the_winter_of_its_january(calendar: str) -> None:
    # October 2001 to August 2002: SON 2001 is not complete; DJF, MAM and JJA of 2002 are.
    months = list(range(9, 20))
    found = seasons(monthly(months, calendar, pr_total=np.arange(11.0)))
    assert found is not None
    assert found["season"].values.tolist() == ["DJF", "MAM", "JJA"]
    assert found["year"].values.tolist() == [2002, 2002, 2002]
    # Months 2, 3, 4; 5, 6, 7; 8, 9, 10.
    assert found["pr_total"].values.ravel().tolist() == [9.0, 18.0, 27.0]
    starts = [str(t)[:10] for t in found["time_bnds"].values[:, 0]]
    ends = [str(t)[:10] for t in found["time_bnds"].values[:, 1]]
    assert starts == ["2001-12-01", "2002-03-01", "2002-06-01"]
    assert ends == ["2002-03-01", "2002-06-01", "2002-09-01"]
    assert found["time"].dtype == found["time_bnds"].dtype


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_seasonal_means_weigh_months_by_days(calendar: str) -> None:
    field = np.array([1.0, 2.0, 4.0])
    table = monthly([11, 12, 13], calendar, pr_mean=field, rx1day=field, wet_day_fraction=field)
    found = seasons(table)
    assert found is not None
    long = 30 if calendar == "360_day" else 31
    days = np.array([long, long, FEBRUARY[calendar]])
    expected = (field * days).sum() / days.sum()
    assert found["pr_mean"].item() == pytest.approx(expected)
    assert found["wet_day_fraction"].item() == pytest.approx(expected)
    assert found["rx1day"].item() == 4.0
    assert found["pr_mean"].attrs["units"] == "mm"


def test_a_gap_leaves_its_season_out() -> None:
    found = seasons(monthly([2, 4, 5, 6, 7], pr_total=np.ones(5)))  # no April
    assert found is not None
    assert found["season"].values.tolist() == ["JJA"]
    assert seasons(monthly([2, 4], pr_total=np.ones(2))) is None


def test_a_missing_cell_is_missing_in_its_season() -> None:
    values = np.ones((1, 3, 1, 2))
    values[0, 1, 0, 1] = np.nan
    found = seasons(monthly([2, 3, 4], pr_total=values, rx1day=values))
    assert found is not None
    for name in ("pr_total", "rx1day"):
        assert np.isnan(found[name].values.ravel()).tolist() == [False, True]


def test_months_ascend() -> None:
    with pytest.raises(ValueError, match="months do not ascend"):
        seasons(monthly([3, 2, 4], pr_total=np.ones(3)))


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_seasonal_cycle_by_hand(calendar: str) -> None:
    # February 2003 and 2004, the second of them 29 days on the standard calendar, and one March.
    table = monthly([25, 37, 38], calendar, pr_mean=[1.0, 3.0, 5.0], pr_total=[10.0, 30.0, 7.0])
    found = seasonal_cycle(table)
    assert found["month"].values.tolist() == [2, 3]
    assert found["years"].values.tolist() == [2, 1]
    days = {"standard": (28, 29), "noleap": (28, 28), "360_day": (30, 30)}[calendar]
    mean = (days[0] + 3 * days[1]) / sum(days)
    assert found["pr_mean"].values.ravel() == pytest.approx([mean, 5.0])
    assert found["pr_total"].values.ravel() == pytest.approx([20.0, 7.0])
    spread = found["pr_total_interannual_std"].values.ravel()
    assert spread[0] == pytest.approx(20 / np.sqrt(2))
    assert np.isnan(spread[1])


def test_spread_between_years_is_of_each_member() -> None:
    field = annual(np.array([[1.0, 2.0], [5.0, 2.0], [3.0, 2.0]])[:, :, None, None])
    found = interannual_spread(field)
    assert found.values.ravel().tolist() == [2.0, 0.0]
    assert found.attrs["cell_methods"].endswith("time: standard_deviation over years")
    with pytest.raises(TooFewYears, match="two years"):
        interannual_spread(field[:1])


def test_climatology_takes_the_years_named() -> None:
    field = annual(np.array([1.0, 2.0, 3.0, 10.0]), start=1991)
    found = climatology(field, 1992, 1993)
    assert found.item() == 2.5
    assert found.attrs["years"] == "1992-1993 (2 years)"
    assert climatology(field).item() == 4.0
    with pytest.raises(TooFewYears, match="no year of 2001-2010: it has 1991-1994"):
        climatology(field, 2001, 2010)


def members(*values: float) -> xr.DataArray:
    """A climatology of one cell per member."""
    return climatology(annual(np.array(values)[None, :, None, None]))


def test_change_of_each_member_and_of_the_ensemble() -> None:
    # 110 − 100, 90 − 120, 150 − 100: 10, −30, 50; mean 10; two of three go up.
    found = change(members(110, 90, 150), members(100, 120, 100), level=1.0)
    assert found["change"].values.ravel().tolist() == [10.0, -30.0, 50.0]
    assert found["relative_change"].values.ravel().tolist() == [10.0, -25.0, 50.0]
    assert found["change_mean"].item() == 10.0
    assert found["change_quantile"].values.ravel().tolist() == [-30.0, 50.0]
    assert found["agreement"].item() == pytest.approx(2 / 3)
    assert found["relative_change"].attrs["units"] == "%"
    assert found["change"].attrs["reference_years"] == "2001-2001 (1 years)"
    assert "standard_name" not in found["change"].attrs


def test_dry_references_have_no_change_in_per_cent() -> None:
    found = change(members(3.0, 3.0), members(0.5, 2.0))  # the floor of mm is 1
    assert found["relative_change"].values.ravel().tolist() == pytest.approx(
        [np.nan, 50.0], nan_ok=True
    )
    assert found["change"].values.ravel().tolist() == [2.5, 1.0]
    low = change(members(3.0, 3.0), members(0.5, 2.0), floor=0.1)
    assert low["relative_change"].values.ravel().tolist() == [500.0, 50.0]


def test_a_reference_without_members_serves_all() -> None:
    found = change(members(3.0, 5.0), members(2.0).isel(member=0, drop=True))
    assert found["change"].values.ravel().tolist() == [1.0, 3.0]


def test_what_cannot_be_compared_says_why() -> None:
    with pytest.raises(ValueError, match="members or grid"):
        change(members(1.0, 2.0), members(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="is in mm and its reference in mm d-1"):
        change(members(1.0), members(1.0).assign_attrs(units="mm d-1"))
    with pytest.raises(ValueError, match="pass floor="):
        change(members(1.0).assign_attrs(units="K"), members(1.0).assign_attrs(units="K"))


def test_missing_cells_stay_missing() -> None:
    found = change(members(1.0, np.nan), members(1.0, 1.0))
    assert np.isnan(found["change_mean"].item())
    assert np.isnan(found["agreement"].item())
    assert np.isnan(found["change_quantile"].values).all()
