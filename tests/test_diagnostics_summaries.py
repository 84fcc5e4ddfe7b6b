"""Tidy tables of the ensemble by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from diagnostic_tables import monthly

from stvd.diagnostics.climate import seasons
from stvd.diagnostics.regions import box, region_areas, region_means
from stvd.diagnostics.summaries import ensemble_summary


def means(calendar: str = "standard") -> xr.Dataset:
    """Totals of two regions and two seasons of three members, a cell each."""
    grid = xr.Dataset(coords={"lat": ("y", [0.5, 1.5]), "lon": ("x", [0.5, 1.5])})
    values = np.arange(3.0)[:, None, None, None] + np.zeros((3, 6, 2, 2))
    values[..., 1] *= 10  # the second column rains ten times as much
    values[2, :3, :, 1] = np.nan  # and its last member is missing in spring
    table = seasons(monthly(list(range(2, 8)), calendar, pr_total=values))
    assert table is not None
    areas = region_areas([box("west", 0, 0, 1, 2), box("east", 1, 0, 2, 2)], grid)
    found = region_means(table, areas)
    assert isinstance(found, xr.Dataset)
    return found


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_rows_say_what_the_ensemble_says(calendar: str) -> None:
    found = ensemble_summary(means(calendar), quantiles=(0.25, 0.5))
    assert list(found.columns) == [
        "start", "end", "season", "coverage", "region", "quantity", "units",
        "mean", "std", "min", "max", "q25", "q50", "members",
    ]  # fmt: skip
    assert found["region"].tolist() == ["west", "east", "west", "east"]
    assert found["season"].tolist() == ["MAM", "MAM", "JJA", "JJA"]
    assert found["start"].tolist()[0] == "2001-03-01T00:00:00"
    assert found["end"].tolist()[0] == "2001-06-01T00:00:00"
    # Members 0, 1, 2 of three months: 0, 3, 6 in the west; 0, 30, 60 in the east.
    summer = found.iloc[3]
    assert [summer[n] for n in ("mean", "std", "min", "max")] == pytest.approx([30, 30, 0, 60])
    assert [summer[n] for n in ("q25", "q50", "members")] == pytest.approx([15, 30, 3])
    assert summer["units"] == "mm"


def test_missing_members_are_not_counted() -> None:
    spring = ensemble_summary(means()).iloc[1]  # 0 and 30 are there
    assert [spring[n] for n in ("mean", "q50", "members")] == pytest.approx([15, 15, 2])
    nothing = ensemble_summary(means() * np.nan)
    assert nothing["members"].tolist() == [0] * 4
    assert nothing["mean"].isna().all()


def test_one_member_has_no_spread() -> None:
    found = ensemble_summary(means().isel(member=[1]))
    assert found["std"].isna().all()
    assert found["q10"].tolist() == found["mean"].tolist()


def test_csv_says_the_same() -> None:
    found = ensemble_summary(means())
    again = pd.read_csv(io.StringIO(found.to_csv(index=False)))
    pd.testing.assert_frame_equal(again, found, check_dtype=False)


def test_hours_and_quantities_without_periods() -> None:
    cycle = xr.Dataset(
        {
            "pr_mean": (("hour", "member"), [[1.0, 3.0], [2.0, 2.0]], {"units": "mm d-1"}),
            "pr_mean_quantile": (("quantile", "hour"), np.ones((1, 2))),
        },
        coords={"hour": [0, 12]},
    )
    found = ensemble_summary(cycle)
    assert found["hour"].tolist() == [0, 12]
    assert found["mean"].tolist() == [2.0, 2.0]
    assert found["std"].tolist() == [pytest.approx(np.sqrt(2)), 0.0]
    assert ensemble_summary(cycle[["pr_mean_quantile"]]).empty
