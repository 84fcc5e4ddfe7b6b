"""Charts of a climate: what stands where, with its interval and its members."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_samples import png, texts

from stvd.diagnostics import plots_climate

PERIODS = np.array([2.0, 5.0, 10.0, 20.0, 50.0, 100.0])


def levels() -> xr.DataArray:
    return xr.DataArray(
        20 + 10 * np.log(PERIODS), dims="return_period", coords={"return_period": PERIODS},
        attrs={"units": "mm", "long_name": "return level of the largest 1-day precipitation"},
    )  # fmt: skip


def cycle(dim: str, at: np.ndarray) -> xr.DataArray:
    values = np.arange(3.0)[:, None] + np.sin(at / at.max() * np.pi)
    return xr.DataArray(
        values, dims=("member", dim), coords={dim: at},
        attrs={"units": "mm d-1", "long_name": "area mean of the mean precipitation rate"},
    )  # fmt: skip


def test_plotting_positions_of_gringorten() -> None:
    # n = 4: (4 + 0.12) / (4 − i + 0.56) = 4.12 / 3.56, 4.12 / 2.56, 4.12 / 1.56, 4.12 / 0.56
    years, values = plots_climate.plotting_positions(
        xr.DataArray([[3.0, np.nan, 1.0], [2.0, 9.0, np.nan]], dims=("member", "time"))
    )
    assert values.tolist() == [1, 2, 3, 9]
    assert years == pytest.approx([1.1573, 1.6094, 2.6410, 7.3571], abs=1e-4)


def test_return_levels_with_interval_and_maxima() -> None:
    fit = levels()
    bounds = xr.concat([fit - 3, fit + 8], "quantile").assign_coords(quantile=[0.05, 0.95])
    maxima = xr.DataArray(np.linspace(10, 60, 12), dims="time")
    figure = plots_climate.return_level_plot(fit, bounds, maxima, title="alps · 1990–2001")
    (axes,) = figure.axes
    assert {"90% interval", "GEV fit", "12 annual maxima", "alps · 1990–2001"} <= set(texts(figure))
    assert "return level of the largest 1-day precipitation (mm)" in texts(figure)
    (band,) = axes.collections
    box = band.get_paths()[0].get_extents()
    assert (box.ymin, box.ymax) == pytest.approx((fit.values[0] - 3, fit.values[-1] + 8))
    fitted, dots = axes.lines[:2]
    at = np.searchsorted(fitted.get_xdata(), PERIODS)
    assert np.asarray(fitted.get_ydata())[at] == pytest.approx(fit.values)
    assert (np.diff(fitted.get_ydata()) > 0).all()
    assert dots.get_xdata()[-1] == pytest.approx(12.12 / 0.56)
    assert " extrapolated" in texts(figure)  # 100 years are more than twice 21.6
    assert png(figure)


def test_bounds_in_either_order() -> None:
    fit = levels()
    bounds = xr.concat([fit + 8, fit - 3], "quantile").assign_coords(quantile=[0.95, 0.05])
    band = plots_climate.return_level_plot(fit, bounds).axes[0].collections[0]
    assert band.get_paths()[0].get_extents().ymin == pytest.approx(fit.values[0] - 3)


def test_return_levels_alone() -> None:
    figure = plots_climate.return_level_plot(levels())
    assert "GEV fit" in texts(figure)
    assert png(figure)


def test_seasonal_cycle_spans_the_members() -> None:
    members = cycle("month", np.arange(1, 13))
    figure = plots_climate.seasonal_cycle(members, {"truth": members.isel(member=0)}, title="Year")
    (axes,) = figure.axes
    assert {"range of 3 members", "ensemble mean", "truth", "Year"} <= set(texts(figure))
    assert "area mean of the mean precipitation rate (mm d⁻¹)" in texts(figure)
    assert [t.get_text() for t in axes.get_xticklabels()] == list("JFMAMJJASOND")
    assert axes.lines[0].get_ydata() == pytest.approx(members.mean("member").values)
    extent = axes.collections[0].get_paths()[0].get_extents()
    assert (extent.ymin, extent.ymax) == pytest.approx((float(members.min()), float(members.max())))
    assert png(figure)


def test_diurnal_cycle_goes_round_the_clock() -> None:
    members = cycle("hour", np.arange(1.5, 24, 3))
    members["hour"].attrs["long_name"] = "hour of the day (UTC)"
    figure = plots_climate.diurnal_cycle(members)
    line = figure.axes[0].lines[0]
    assert line.get_xdata()[[0, -1]].tolist() == [-1.5, 25.5]
    assert line.get_ydata()[0] == pytest.approx(float(members.isel(hour=-1).mean()))
    assert line.get_ydata()[-1] == pytest.approx(float(members.isel(hour=0).mean()))
    assert figure.axes[0].get_xlabel() == "hour of the day (UTC)"


def test_years_and_their_trend() -> None:
    members = cycle("year", np.arange(1990, 2010))
    figure = plots_climate.yearly_series(members, trend=(0.5, 0.1, 0.9), title="Years")
    said = texts(figure)
    assert "trend +0.5 (+0.1 to +0.9) mm d⁻¹ per decade" in said
    line = next(x for x in figure.axes[0].lines if str(x.get_label()).startswith("trend"))
    ends = np.asarray(line.get_ydata())
    assert ends[-1] - ends[0] == pytest.approx(0.5 * 1.9)
    assert png(figure)


def test_a_single_member_has_no_band() -> None:
    figure = plots_climate.seasonal_cycle(cycle("month", np.arange(1, 5)).isel(member=[0]))
    assert not figure.axes[0].collections
