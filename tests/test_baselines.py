"""Interpolation against functions that it must reproduce."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from rain_samples import rain, record

from stvd.baselines import Downscaler
from stvd.baselines.fields import fill_missing
from stvd.baselines.interpolation import Interpolation, Method, interpolate


def fine_grid(rows: int, columns: int, *, periodic: int = 0) -> xr.Dataset:
    return xr.Dataset(
        {"areacella": (("y", "x"), np.ones((rows, columns)))},
        coords={"lat": ("y", np.arange(rows) + 0.5), "lon": ("x", np.arange(columns) + 0.5)},
        attrs={"periodic_x": periodic},
    )


def coarse(values: np.ndarray) -> xr.Dataset:
    return record(values.astype(np.float32)).to_dataset(name="pr")


def test_bilinear_joins_cell_centres_by_straight_lines() -> None:
    # Centres of two coarse cells lie at fine 1.5 and 5.5; from 0 to 4 it rises by 1 a fine cell.
    field = coarse(np.tile([[0.0, 4.0]], (2, 1))[None])
    out = interpolate(field, fine_grid(8, 8), method="bilinear")
    assert out.isel(member=0, time=0, y=3).values == pytest.approx([0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_a_constant_stays(method: Method) -> None:
    out = interpolate(coarse(np.full((2, 3, 4), 3e-4)), fine_grid(24, 32), method=method)
    assert out.dims == ("member", "time", "y", "x")
    assert out.shape == (1, 2, 24, 32)
    assert out.dtype == np.float32
    assert out.values == pytest.approx(3e-4, rel=1e-6)


def test_bicubic_follows_a_wave_around_the_earth() -> None:
    # One wave over 12 periodic cells: a cubic spline errs by about (2π/12)⁴/384 = 2e-4.
    wave = lambda x, n: 1 + np.cos(2 * np.pi * (x + 0.5) / n)  # noqa: E731
    field = coarse(np.tile(wave(np.arange(12), 12), (1, 4, 1)))
    exact = wave(np.arange(96), 96)
    periodic = interpolate(field, fine_grid(32, 96, periodic=1)).isel(member=0, time=0, y=16)
    assert periodic.values == pytest.approx(exact, abs=3e-4)
    bounded = interpolate(field, fine_grid(32, 96)).isel(member=0, time=0, y=16)
    assert np.abs(bounded.values - exact)[:4].max() > 3e-3


def test_overshoots_are_not_negative_rain() -> None:
    spike = np.zeros((1, 5, 5))
    spike[0, 2, 2] = 1.0
    out = interpolate(coarse(spike), fine_grid(40, 40))
    assert float(out.min()) == 0.0
    assert float(out.max()) > 0.9


def test_lazy_and_tiles_and_coordinates() -> None:
    values = rain((6, 2, 3, 4), seed=1)
    field = xr.Dataset(
        {"pr": (("time", "tile", "y", "x"), values, {"units": "kg m-2 s-1"})},
        coords={"lat": (("tile", "y", "x"), np.zeros((2, 3, 4)))},
    )
    grid = fine_grid(24, 32)
    lazy = interpolate(field.chunk(time=2), grid)
    assert lazy.chunks is not None
    assert lazy.dims == ("member", "time", "tile", "y", "x")
    xr.testing.assert_equal(lazy.compute(), interpolate(field, grid))
    assert lazy["lat"].values.tolist() == grid["lat"].values.tolist()


def test_a_grid_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(
        ValueError, match="24 × 30 does not divide the cells of the coarse grid 3 × 4"
    ):
        interpolate(coarse(rain((1, 3, 4))), fine_grid(24, 30))


def test_a_missing_cell_leaves_the_others_alone() -> None:
    values = rain((1, 4, 6), dry=0.0)
    whole = interpolate(coarse(values), fine_grid(32, 48)).values[0, 0]
    values[0, 1, 4] = np.nan
    out = interpolate(coarse(values), fine_grid(32, 48)).values[0, 0]
    gone = np.zeros((32, 48), bool)
    gone[8:16, 32:40] = True
    assert np.array_equal(np.isnan(out), gone)
    # A cubic spline forgets a cell by a factor 0.27 a cell: 4 cells away less than 1%.
    assert out[:, :8] == pytest.approx(whole[:, :8], abs=0.01 * values[np.isfinite(values)].max())


def test_missing_cells_take_the_nearest_value_across_the_seam() -> None:
    field = np.array([[np.nan, 2.0, 3.0, 4.0, 5.0, 6.0]])
    assert fill_missing(field, periodic_x=False)[0].tolist() == [[2, 2, 3, 4, 5, 6]]
    field[0, 1] = np.nan
    assert fill_missing(field, periodic_x=True)[0].tolist() == [[6, 3, 3, 4, 5, 6]]
    assert fill_missing(field * np.nan, periodic_x=True)[0].tolist() == [[0, 0, 0, 0, 0, 0]]


def test_a_deterministic_system_has_one_member() -> None:
    system: Downscaler = Interpolation("bilinear")
    field, grid = coarse(rain((2, 3, 4))), fine_grid(24, 32)
    out = system.sample(field, grid, members=range(3, 9), seed=1)
    assert system.name == "bilinear"
    xr.testing.assert_identical(out, interpolate(field, grid, method="bilinear"))
    assert out["member"].values.tolist() == [0]
