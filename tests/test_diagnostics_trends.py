"""Trends against scipy, and how often their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_tables import annual
from scipy.stats import linregress, theilslopes

from stvd.diagnostics.climate import TooFewYears
from stvd.diagnostics.trends import stands_out, trend


def series(seed: int, *, years: int = 30, memory: float = 0.0, slope: float = 0.0) -> np.ndarray:
    """Years of first-order autoregressive noise of unit variance about a line, shape (time, 1, 1, 200)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((years + 50, 1, 1, 200)) * np.sqrt(1 - memory**2)
    for k in range(1, len(noise)):
        noise[k] += memory * noise[k - 1]
    return 100 + slope * np.arange(years)[:, None, None, None] + noise[50:]


def test_trend_and_its_p_value_equal_linregress() -> None:
    values = series(1, slope=0.05)
    found = trend(annual(values))
    alone = np.flatnonzero(found["effective_years"].values.ravel() == 30)  # no memory seen
    assert alone.size > 50
    for cell in alone[:20]:
        theirs = linregress(np.arange(30), values[:, 0, 0, cell])
        at = found.isel(member=0, y=0, x=cell)
        assert at["trend"].item() == pytest.approx(10 * theirs.slope)
        assert at["p_value"].item() == pytest.approx(theirs.pvalue)
        # 95 % of Student's t with 28 degrees: 2.0484 standard errors.
        low, high = at["trend_interval"].values
        assert high - low == pytest.approx(2 * 20.484 * theirs.stderr, rel=1e-4)


def test_median_slopes_agree_on_average() -> None:
    values = series(2, slope=0.1)
    theirs = [theilslopes(values[:, 0, 0, k]).slope for k in range(60)]
    found = trend(annual(values[..., :60]))["trend"]
    assert float(found.mean()) == pytest.approx(10 * np.mean(theirs), rel=0.03)


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.92), (0.4, 0.88)])
def test_intervals_hold_the_truth(memory: float, least: float) -> None:
    found = trend(annual(series(3, years=60, memory=memory, slope=0.02)))["trend_interval"]
    inside = (found[..., 0] <= 0.2) & (found[..., 1] >= 0.2)
    assert least <= float(inside.mean()) <= 0.99


def test_memory_widens_the_interval() -> None:
    years = trend(annual(series(4, years=60, memory=0.6)))["effective_years"]
    assert float(years.median()) < 30  # 60 · 0.4 / 1.6 = 15


def test_an_exact_line_by_hand() -> None:
    found = trend(annual(np.arange(10.0) * 2 + 1))
    assert found["trend"].item() == pytest.approx(20.0)
    assert found["trend_interval"].values.ravel() == pytest.approx([20.0, 20.0])
    assert found["trend"].attrs["units"] == "mm (10 year)-1"
    assert "standard_name" not in found["trend"].attrs


def test_equal_years_have_no_trend_for_sure() -> None:
    found = trend(annual(np.full(12, 3.0)))
    assert found["trend"].item() == 0.0
    assert found["p_value"].item() == 1.0


def test_missing_years_are_left_out() -> None:
    values = np.arange(12.0)
    values[[3, 7]] = np.nan
    assert trend(annual(values))["trend"].item() == pytest.approx(10.0)
    values[5] = np.nan  # nine are left
    assert np.isnan(trend(annual(values))["trend"].item())


def test_gaps_between_years_count_as_time() -> None:
    field = annual(np.arange(20.0)).isel(time=[0, 1, 2, 3, 4, 15, 16, 17, 18, 19])
    assert trend(field)["trend"].item() == pytest.approx(10.0)


def test_the_trend_of_the_mean_is_the_mean_of_trends() -> None:
    field = annual(series(5))
    mean = trend(field.mean("x", keep_attrs=True))["trend"]
    assert mean.item() == pytest.approx(float(trend(field)["trend"].mean()))


def test_trends_are_lazy() -> None:
    field = annual(series(6))
    lazy = trend(field.chunk(time=7, x=50))
    assert lazy["p_value"].chunks is not None
    for name, value in trend(field).items():
        assert lazy[name].values == pytest.approx(value.values, nan_ok=True)


def test_fewer_than_ten_years_have_no_trend() -> None:
    with pytest.raises(TooFewYears, match="pr_total needs at least 10 years and there are 9"):
        trend(annual(np.arange(9.0)))
    field = annual(np.arange(10.0))
    with pytest.raises(ValueError, match="one season at a time"):
        trend(field.assign_coords(year=("time", [2001] * 10)))


def test_few_cells_stand_out_where_there_is_nothing() -> None:
    nothing = trend(annual(series(7)))["p_value"]
    assert (nothing < 0.05).sum() >= 3  # some seem significant by themselves
    assert stands_out(nothing).sum() <= 2
    something = trend(annual(series(7, slope=0.2)))["p_value"]
    something[0, 0, 0] = np.nan
    found = stands_out(something)
    assert not found.values.ravel()[0]
    assert found.values.ravel()[1:].mean() > 0.95
