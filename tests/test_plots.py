"""Charts say what they show, name every system, and leave pyplot alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_samples import png, texts
from rain_samples import area, axis, rain, record

from stvd.diagnostics import plots
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score_ensemble


@pytest.fixture(scope="module")
def scored() -> xr.Dataset:
    pr, truth = record(rain((3, 10, 16, 16))), record(rain((10, 16, 16), 1))
    config = ScoreConfig(scales=(1,), block_frames=5)
    return score_ensemble(pr, truth, area(np.ones((16, 16))), config=config)


def test_spectra_and_intensity_show_every_system(scored: xr.Dataset) -> None:
    for draw, name in ((plots.spectra, "rapsd"), (plots.intensity, "histogram")):
        figure = draw({"truth": scored[f"{name}_truth"], "stvd": scored[name]}, title="A · 2001")
        (axes,) = figure.axes
        assert [line.get_label() for line in axes.lines] == ["truth", "stvd"]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert "A · 2001" in texts(figure)
        assert png(figure)


def test_intensity_is_a_density(scored: xr.Dataset) -> None:
    # Share per decade, integrated over log10 of the rate, is the share of cells above 0.01 mm/h.
    line = plots.intensity({"stvd": scored["histogram"]}).axes[0].lines[0]
    rate, density = line.get_xdata(), line.get_ydata()
    step = np.log10(1.0 / 1e-8) / 6000 * 50
    wet = float((rain((3, 10, 16, 16)) * 3600 > rate.min() / 10 ** (step / 2)).mean())
    assert density.sum() * step == pytest.approx(wet, rel=1e-6)


def test_ranks_show_the_calibrated_level(scored: xr.Dataset) -> None:
    figure = plots.rank_histogram(scored, title="Ranks")
    axes = figure.axes[0]
    assert axes.lines[0].get_ydata()[0] == 0.25
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx(
        [*scored["rank_histogram"].values, *scored["rank_histogram_wet"].values]
    )
    assert png(figure)


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_series_on_any_calendar(calendar: str) -> None:
    lattice = axis("2001-02-28", 86_400, calendar)
    members = record(rain((2, 6, 1, 1)), lattice).squeeze(("y", "x"))
    figure = plots.area_mean_series(members, {"truth": members.isel(member=0)}, title="mean")
    assert {"range of members", "ensemble mean", "truth"} <= set(texts(figure))
    steps = np.diff(figure.axes[0].lines[0].get_xdata()).astype("timedelta64[h]")
    assert (steps == np.timedelta64(24, "h")).all()
    assert png(figure)


def test_a_long_series_is_drawn_as_means() -> None:
    members = record(rain((2, 1000, 1, 1))).squeeze(("y", "x"))
    figure = plots.area_mean_series(members)
    line = figure.axes[0].lines[0]  # 1000 steps in 400 points: means of 3
    assert len(line.get_xdata()) == 334
    first = float(members.isel(time=slice(0, 3)).mean()) * 3600
    assert line.get_ydata()[0] == pytest.approx(first)
    assert "area-mean precipitation (mm h⁻¹), means of 3 steps" in texts(figure)


def test_figures_leave_pyplot_alone(scored: xr.Dataset) -> None:
    from matplotlib import _pylab_helpers

    plots.rank_histogram(scored)
    assert not _pylab_helpers.Gcf.figs
