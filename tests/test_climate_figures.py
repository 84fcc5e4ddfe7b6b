"""Figures of many years, months and hours, and the animation, from the tables of a diagnosis."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from html_samples import annual
from map_samples import grid_of, texts
from matplotlib.collections import QuadMesh
from PIL import Image
from rain_samples import axis, rain, record

from stvd.diagnostics.climate_figures import climate_figures
from stvd.diagnostics.figures import Material, animations
from stvd.diagnostics.trends import trend


def monthly() -> xr.Dataset:
    """Two years whose months have, of every member, their number plus that of the member."""
    starts = np.arange("2001-01", "2003-02", dtype="datetime64[M]").astype("datetime64[ns]")
    bounds = np.stack([starts[:-1], starts[1:]], axis=1)
    month = np.tile(np.arange(1.0, 13.0), 2)
    area = month[:, None] + np.array([0.0, 1.0])
    about = {"units": "mm d-1", "long_name": "area mean of the mean precipitation rate",
             "cell_methods": "time: mean area: mean"}  # fmt: skip
    return xr.Dataset(
        {"pr_mean_area": (("time", "member"), area, about)},
        coords={"time": bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2,
                "time_bnds": (("time", "bnds"), bounds)},
    )  # fmt: skip


def test_cycles_are_means_over_the_years() -> None:
    hours = np.arange(1.5, 24, 3)
    diurnal = xr.Dataset(
        {"pr_mean_area": (("time", "hour", "member"), np.stack([hours, hours + 2])[..., None])},
        coords={"time": annual([2001, 2002])["time"], "hour": hours},
    )
    diurnal["pr_mean_area"].attrs = {"units": "mm d-1", "long_name": "area mean"}
    found = climate_figures({"monthly": monthly(), "diurnal": diurnal}, "gcm")
    assert set(found) == {"seasonal_cycle", "diurnal_cycle"}
    line = found["seasonal_cycle"].axes[0].lines[0]
    assert line.get_ydata() == pytest.approx(np.arange(1.5, 13.5))  # months, plus 0 and 1
    assert "Seasonal cycle · gcm · 2001–2002" in texts(found["seasonal_cycle"])
    line = found["diurnal_cycle"].axes[0].lines[0]
    assert np.asarray(line.get_ydata())[1:-1] == pytest.approx(hours + 1)  # of h and h + 2


def test_a_single_month_is_no_cycle() -> None:
    assert climate_figures({"monthly": monthly().isel(time=[0])}, "gcm") == {}


def test_years_in_a_row_from_three_on() -> None:
    assert climate_figures({"annual": annual([2001, 2002])}, "gcm") == {}
    table = annual([2001, 2002, 2003])
    found = climate_figures({"annual": table}, "gcm")
    assert set(found) == {"yearly_pr_total", "yearly_rx1day"}
    lines = found["yearly_rx1day"].axes[0].lines
    mean = next(line for line in lines if line.get_label() == "ensemble mean")
    assert mean.get_xdata() == pytest.approx([2001, 2002, 2003])
    assert mean.get_ydata() == pytest.approx(table["rx1day_area"].mean("member").values)
    assert "Largest 1-day precipitation of each year · gcm · 2001–2003" in texts(
        found["yearly_rx1day"]
    )


def test_trends_with_dots_and_agreement() -> None:
    # Ten members' years rise by 2 mm a year in the west and not in the east.
    table = annual(list(range(1990, 2002)), members=4)
    rising = np.where(np.arange(6) < 3, 2.0, 0.0) * np.arange(12.0)[:, None, None, None]
    noise = np.random.default_rng(3).normal(0, 0.5, (12, 4, 4, 6))
    about = table["pr_total"].attrs
    table["pr_total"] = (table["pr_total"].dims, 800 + rising + noise, about)
    table["pr_total_mean"] = table["pr_total"].mean("member").assign_attrs(about)
    table["pr_total_area"] = (
        table["pr_total"]
        .mean(("y", "x"))
        .assign_attrs(about, long_name="area mean of the total precipitation")
    )
    fitted = trend(table["pr_total"])
    trends = xr.Dataset({f"pr_total_{n}": v for n, v in fitted.data_vars.items()})
    found = climate_figures({"annual": table, "trends": trends}, "gcm")
    assert {"trend_pr_total", "agreement_pr_total", "yearly_pr_total"} <= set(found)
    assert "trend_rx1day" not in found
    said = texts(found["trend_pr_total"])
    assert "trend of the total precipitation; dots: not significant (mm (10 year)⁻¹)" in said
    (dots,) = found["trend_pr_total"].axes[0].lines
    assert (np.asarray(dots.get_xdata()) >= 3).all()
    assert len(dots.get_xdata()) >= 10  # of the 12 cells in the east
    (line,) = [x for x in found["yearly_pr_total"].axes[0].lines if "trend" in str(x.get_label())]
    ends = np.asarray(line.get_ydata())
    assert ends[-1] - ends[0] == pytest.approx(11.0, abs=0.5)  # half of the area rises by 22 mm
    agreed = next(
        c for c in found["agreement_pr_total"].axes[0].collections if isinstance(c, QuadMesh)
    )
    assert (np.asarray(agreed.get_array()).reshape(4, 6)[:, :3] == 1).all()


def test_return_levels_of_the_highest_cell() -> None:
    table = annual([2001, 2002])
    levels = xr.DataArray(
        np.arange(2 * 24.0).reshape(2, 4, 6), dims=("return_period", "y", "x"),
        coords={"return_period": [2.0, 50.0], "lat": ("y", 40.0 + np.arange(4)), "lon": ("x", 350.0 + np.arange(6))},
        attrs={"units": "mm", "long_name": "return level of the largest 1-day precipitation"},
    )  # fmt: skip
    bounds = xr.concat([levels - 1, levels + 1], "quantile").assign_coords(quantile=[0.05, 0.95])
    made = xr.Dataset({"rx1day": levels, "rx1day_interval": bounds, "rx1day_p_value": levels[0]})
    found = climate_figures({"return_levels": made, "annual": table}, "gcm")
    assert set(found) == {"return_level_maps_rx1day", "return_level_rx1day"}
    said = texts(found["return_level_rx1day"])
    assert "Highest cell, 43°N 5°W · gcm · 2001–2002" in said
    assert {"90% interval", "6 annual maxima"} <= set(said)
    curve = found["return_level_rx1day"].axes[0].lines[0]
    assert np.asarray(curve.get_ydata())[[0, -1]].tolist() == [23, 47]  # cell (3, 5)
    dots = found["return_level_rx1day"].axes[0].lines[1]
    assert np.asarray(dots.get_ydata()) == pytest.approx(
        np.sort(table["rx1day"].isel(y=3, x=5).values.ravel())
    )


def test_levels_without_a_value_have_no_figure() -> None:
    empty = xr.DataArray(
        np.full((2, 4, 6), np.nan), dims=("return_period", "y", "x"), attrs={"long_name": "x"}
    )
    assert climate_figures({"return_levels": xr.Dataset({"rx1day": empty})}, "gcm") == {}


def test_the_animation_of_a_short_record_shows_all_of_it() -> None:
    grid = grid_of("cells", 8, 8)
    values = rain((2, 6, 8, 8))
    pr = record(values)
    truth = record(values[0]).rename("pr")
    material = Material(
        name="gcm", axis=axis(), pr=pr, truth=truth, coarse=truth.coarsen(y=4, x=4).mean(),
        static=grid, tables={}, scores={}, input_scores=None,
        in_time={n: xr.Dataset({"area_mean": f.mean(("y", "x"))})
                 for n, f in (("members", pr), ("truth", truth))},
    )  # fmt: skip
    found = animations(material)
    assert set(found) == {"animation"}
    image = Image.open(io.BytesIO(found["animation"]))
    assert image.format == "GIF"
    assert image.n_frames == 6
