"""Figures say what they show: scale, units, period, coast; and draw on any grid."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib import colors
from matplotlib.figure import Figure
from rain_samples import area, axis, rain, record

from stvd.diagnostics import plots
from stvd.diagnostics.canvas import RAIN, map_grid, rain_scale
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score_ensemble


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        found += [t.get_text() for t in axes.texts]
    for legend in [*figure.legends, *(a.get_legend() for a in figure.axes)]:
        if legend is not None:
            found += [t.get_text() for t in legend.get_texts()]
    return found


def lightness(colour: str) -> float:
    """OKLab lightness of an sRGB colour (Ottosson, 2020)."""
    srgb = np.array(colors.to_rgb(colour))
    rgb = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return float(np.cbrt(lms @ rgb) @ [0.2104542553, 0.7936177850, -0.0040720468])


def grid_of(kind: str, rows: int = 16, columns: int = 24) -> xr.Dataset:
    y, x = np.arange(rows), np.arange(columns)
    coords: dict = {}
    if kind == "global":
        coords = {
            "lat": ("y", np.linspace(-84, 84, rows)),
            "lon": ("x", x * 360 / columns),
        }
    elif kind == "projected":
        lat, lon = 46 + 0.01 * y[:, None] + 0.001 * x, 7 + 0.014 * x + 0.001 * y[:, None]
        coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    elif kind == "kilometres":
        coords = {"y": ("y", y * 1e3, {"units": "m"}), "x": ("x", x * 1e3, {"units": "m"})}
    land = (np.hypot(y[:, None] - 8, x - 12) < 6).astype(float)
    return xr.Dataset(
        {"land_fraction": (("y", "x"), land), "orog": (("y", "x"), 3000 * land)}, coords=coords
    )


def test_colours_darken_in_equal_steps() -> None:
    steps = -np.diff([lightness(c) for c in RAIN])
    assert steps == pytest.approx(0.62 / 11, abs=0.005)


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (0.1, 3.0, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)),
        (0.1, 0.05, (0.1, 0.2, 0.5, 1.0)),
        (1.0, 100.0, (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)),
    ],
)
def test_scale_steps_by_1_2_5(low: float, high: float, levels: tuple[float, ...]) -> None:
    scale = rain_scale(low, high, "mm h⁻¹")
    assert scale.levels == levels
    assert len(levels) == scale.norm.N
    assert scale.colours(scale.norm(low / 2))[3] == 0  # dry cells show the land beneath


def test_global_maps_begin_at_the_date_line() -> None:
    grid = map_grid(grid_of("global"))
    assert grid.wide
    assert grid.x[0] == -180
    assert (np.diff(grid.x) > 0).all()
    assert grid.order[0] == 12  # the column of 180°E comes first


@pytest.mark.parametrize("kind", ["global", "projected", "kilometres", "cells"])
@pytest.mark.parametrize("with_truth", [True, False], ids=["truth", "no truth"])
def test_panel(kind: str, with_truth: bool) -> None:
    static = grid_of(kind)
    fields = rain((4, 16, 24))
    pr = xr.DataArray(fields[:3], dims=("member", "y", "x"), coords=static.coords)
    truth = xr.DataArray(fields[3], dims=("y", "x"), coords=static.coords)
    coarse = truth.coarsen(y=8, x=8).mean()
    figure = plots.panel(
        pr, coarse, truth=truth if with_truth else None, grid=static,
        title="gcm · 2001-01-01 00:00–03:00 UTC · 3-hour mean",
    )  # fmt: skip
    said = texts(figure)
    shown = {"coarse input", "member 0", "member 1", "member 2", "ensemble mean", "ensemble spread"}
    assert shown <= set(said)
    assert ("truth" in said) is with_truth
    assert "precipitation rate (mm h⁻¹)" in said
    assert "gcm · 2001-01-01 00:00–03:00 UTC · 3-hour mean" in said
    assert len(figure.axes[0].collections) >= 3  # rain, land, coast line
    assert png(figure).startswith(b"\x89PNG")


def test_members_are_called_by_their_number() -> None:
    pr = xr.DataArray(
        rain((2, 8, 8)), dims=("member", "y", "x"), coords={"realization": ("member", [4, 7])}
    )
    said = texts(plots.panel(pr, pr.isel(member=0, drop=True).coarsen(y=4, x=4).mean()))
    assert {"member 4", "member 7"} <= set(said)


def test_period_map_names_quantity_and_units() -> None:
    table = xr.Dataset(
        {
            f"rx1day_{k}": (
                ("y", "x"), 1e5 * rain((16, 24)),
                {"units": "mm", "long_name": f"ensemble {k} of the largest 1-day precipitation"},
            )
            for k in ("mean", "std")
        }
    )  # fmt: skip
    figure = plots.period_map(table, "rx1day", title="2001")
    assert "largest 1-day precipitation (mm)" in texts(figure)
    assert {"ensemble mean", "ensemble spread", "2001"} <= set(texts(figure))
    assert png(figure)


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


def test_figures_leave_pyplot_alone(scored: xr.Dataset) -> None:
    from matplotlib import _pylab_helpers

    plots.rank_histogram(scored)
    assert not _pylab_helpers.Gcf.figs
