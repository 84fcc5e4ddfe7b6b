"""Maps say what they show, in which units and when, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_samples import cubed_sphere, grid_of, png, texts
from matplotlib.collections import QuadMesh
from rain_samples import rain

from stvd.diagnostics import maps

KINDS = ["global", "regional", "projected", "kilometres", "cells", "faces"]


def static_of(kind: str) -> xr.Dataset:
    return cubed_sphere() if kind == "faces" else grid_of(kind)


def fields(grid: xr.Dataset, count: int, seed: int = 0) -> xr.DataArray:
    dims = ("member", *grid["orog"].dims)
    values = rain((count, *grid["orog"].shape), seed)
    return xr.DataArray(values, dims=dims, coords=grid.coords)


def table(grid: xr.Dataset, **quantities: tuple[str, str, float]) -> xr.Dataset:
    made = {}
    for k, (name, (units, said, high)) in enumerate(quantities.items()):
        for kind in ("mean", "std"):
            field = fields(grid, 1, k).isel(member=0) * 3600 * high
            about = {"mean": "ensemble mean", "std": "ensemble spread"}[kind]
            made[f"{name}_{kind}"] = field.assign_attrs(
                units=units, long_name=f"{about} of the {said}"
            )
    return xr.Dataset(made)


@pytest.mark.parametrize("kind", KINDS)
def test_panel_on_any_grid(kind: str) -> None:
    static = static_of(kind)
    pr = fields(static, 4)
    truth = pr.isel(member=3, drop=True)
    coarse = truth.coarsen(y=4, x=4).mean()
    said = "gcm · 2001-01-01 00:00–03:00 UTC · 3-hour mean"
    figure = maps.panel(pr, coarse, truth=truth, grid=static, title=said)
    names = {"coarse input", "truth", "member 0", "member 2", "ensemble mean", "ensemble spread"}
    assert names | {"|mean − truth|", "precipitation rate (mm h⁻¹)", said} <= set(texts(figure))
    assert png(figure).startswith(b"\x89PNG")


def test_panel_without_truth_and_of_one_member() -> None:
    static = grid_of("cells")
    pr = fields(static, 1)
    names = set(texts(maps.panel(pr, pr.isel(member=0, drop=True).coarsen(y=8, x=8).mean())))
    assert {"coarse input", "member 0", "ensemble mean"} <= names
    assert not {"truth", "ensemble spread", "|mean − truth|"} & names


def test_all_maps_of_a_panel_share_a_scale() -> None:
    static = grid_of("global")
    pr = fields(static, 3)
    figure = maps.panel(pr, pr.isel(member=0, drop=True).coarsen(y=8, x=8).mean(), grid=static)
    meshes = [next(c for c in a.collections if isinstance(c, QuadMesh)) for a in figure.axes[:6]]
    assert len({tuple(m.norm.boundaries) for m in meshes}) == 1
    # Shown in mm h⁻¹, sorted from the date line on.
    first = np.roll(pr.isel(member=0).values, 12, axis=1) * 3600
    assert np.asarray(meshes[1].get_array()).reshape(16, 24) == pytest.approx(first)


def test_members_are_called_by_their_number() -> None:
    pr = xr.DataArray(
        rain((2, 8, 8)), dims=("member", "y", "x"), coords={"realization": ("member", [4, 7])}
    )
    said = texts(maps.panel(pr, pr.isel(member=0, drop=True).coarsen(y=4, x=4).mean()))
    assert {"member 4", "member 7"} <= set(said)


def test_period_map_names_quantity_and_units() -> None:
    found = table(grid_of("cells"), rx1day=("mm", "largest 1-day precipitation", 30.0))
    figure = maps.period_map(found, "rx1day", title="2001")
    assert {"largest 1-day precipitation (mm)", "ensemble mean", "ensemble spread", "2001"} <= set(
        texts(figure)
    )
    assert png(figure)


def test_missing_cells_are_no_obstacle() -> None:
    found = table(grid_of("cells"), sdii=("mm d-1", "mean of wet days", 5.0))
    gone = found.where(found["sdii_mean"] > 1e9)
    assert "mean of wet days (mm d⁻¹)" in texts(maps.period_map(gone, "sdii"))


@pytest.mark.parametrize("kind", ["global", "kilometres"])
def test_indices_have_a_scale_each(kind: str) -> None:
    found = table(
        grid_of(kind),
        rx5day=("mm", "largest 5-day precipitation", 90.0),
        cdd=("day", "longest run of days below 1 mm", 30.0),
        wet_day_fraction=("1", "share of days with at least 1 mm", 0.2),
        r10mm=("1", "days with at least 10 mm", 9.0),
        sdii=("mm d-1", "mean precipitation of wet days", 4.0),
    )
    names = ["rx5day", "cdd", "wet_day_fraction", "r10mm", "sdii"]
    figure = maps.index_maps(found, names, grid=grid_of(kind), title="Indices · 2001")
    said = texts(figure)
    assert {*names, "Indices · 2001"} <= set(said)
    assert {
        "largest 5-day precipitation (mm)",
        "longest run of days below 1 mm (days)",
        "mean precipitation of wet days (mm d⁻¹)",
    } <= set(said)
    assert png(figure)


def test_level_maps_show_the_periods_there_are() -> None:
    grid = grid_of("regional")
    levels = xr.concat(
        [fields(grid, 1).isel(member=0) * 3600 * p for p in (2, 10, 20)], "return_period"
    )
    levels = levels.assign_coords(return_period=[2.0, 10.0, 20.0]).assign_attrs(
        units="mm", long_name="return level of the largest 1-day precipitation"
    )
    said = texts(maps.level_maps(levels, (2, 10, 100), title="return levels · 1990–2020"))
    assert {"2 years", "10 years", "return level of the largest 1-day precipitation (mm)"} <= set(
        said
    )
    assert not {"20 years", "100 years"} & set(said)


def test_signed_map_dots_what_is_doubtful() -> None:
    grid = grid_of("regional")
    trend = (fields(grid, 1).isel(member=0) * 3600 - 1).assign_attrs(units="mm d-1 (10 year)-1")
    doubtful = abs(trend) < 0.5
    figure = maps.signed_map(
        {"trend": trend}, "trend of the mean", trend.attrs["units"],
        doubtful={"trend": doubtful}, doubt="5% level", grid=grid, title="Trend · 1990–2020",
    )  # fmt: skip
    said = texts(figure)
    assert {"Trend · 1990–2020", "trend of the mean; dots: 5% level (mm d⁻¹ (10 year)⁻¹)"} <= set(
        said
    )
    (dots,) = figure.axes[0].lines
    assert len(dots.get_xdata()) == int(doubtful.sum())  # the grid is smaller than 60 cells
    levels = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh)).norm.boundaries
    assert list(levels) == [-v for v in levels[::-1]]


def test_agreement_is_a_share() -> None:
    grid = grid_of("global")
    share = (fields(grid, 4) > 0).mean("member")
    figure = maps.agreement_map(share, "share of members that are wet", grid=grid, title="2001")
    assert "share of members that are wet" in texts(figure)
    levels = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh)).norm.boundaries
    assert (levels[0], levels[-1]) == (0, 1)


def test_variance_and_error_stand_side_by_side() -> None:
    grid = grid_of("projected")
    pr = fields(grid, 4)
    figure = maps.variance_map(pr.isel(member=slice(3)), pr.isel(member=3, drop=True), grid=grid)
    assert {"variance of the members", "squared error of their mean", "variance (mm² h⁻²)"} <= set(
        texts(figure)
    )
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    expected = (pr.isel(member=slice(3)).values * 3600).var(axis=0, ddof=1)
    assert np.asarray(mesh.get_array()).reshape(16, 24) == pytest.approx(expected)


def test_variance_of_members_alone() -> None:
    grid = grid_of("projected")
    figure = maps.variance_map(fields(grid, 3), None, grid=grid, title="2001-01-01 to 2001-02-01")
    said = set(texts(figure))
    assert {"variance of the members", "variance (mm² h⁻²)", "2001-01-01 to 2001-02-01"} <= said
    assert "squared error of their mean" not in said


def test_maps_leave_pyplot_alone() -> None:
    from matplotlib import _pylab_helpers

    maps.agreement_map((fields(grid_of("cells"), 2) > 0).mean("member"), "wet")
    assert not _pylab_helpers.Gcf.figs
