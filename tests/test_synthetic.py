"""Synthetic records: the same weather however they are cut."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stvd.faults import FAULTS, spoil
from stvd.grid import coarsen_area_weighted
from stvd.lattice import CALENDARS, TimeAxis
from stvd.synthetic import synthetic_coarse, synthetic_grid, synthetic_truth

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=10800, calendar="noleap")
SHAPE = (16, 32)


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return synthetic_coarse(AXIS, range(-20, 60), SHAPE, seed=7).load()


@settings(max_examples=10)
@given(st.integers(-20, 40), st.integers(1, 20), st.integers(1, 7))
def test_a_part_equals_the_cut_of_the_whole_bit_for_bit(whole, first, count, chunk):
    frames = range(first, first + count)
    part = synthetic_coarse(AXIS, frames, SHAPE, seed=7, chunk_frames=chunk)
    cut = whole.isel(time=slice(first + 20, first + 20 + count))
    for name in whole.data_vars:
        np.testing.assert_array_equal(part[name].values, cut[name].values)
    assert (part["time"].values == cut["time"].values).all()


@pytest.mark.parametrize("tiles", [None, 1, 6], ids=["global", "one face", "six faces"])
def test_coarse_rain_is_the_area_mean_of_the_truth(tiles):
    shape = SHAPE if tiles is None else (16, 16)
    truth = synthetic_truth(AXIS, range(4), shape, tiles=tiles)
    coarse = synthetic_coarse(AXIS, range(4), shape, tiles=tiles)
    area = synthetic_grid(shape, tiles=tiles)["areacella"]
    mean = coarsen_area_weighted(truth["pr"], area, 8)
    np.testing.assert_array_equal(coarse["pr"].values, mean.values)


def test_weather_differs_by_seed_and_moves_on():
    one, other = (synthetic_truth(AXIS, range(2), SHAPE, seed=s)["pr"].values for s in (0, 1))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_rain_is_dry_in_places_and_goes_on_in_time():
    rain = synthetic_truth(AXIS, range(40), (32, 64))["pr"].values
    assert (rain >= 0).all()
    assert 0.3 < (rain == 0).mean() < 0.95
    now, next_ = rain[:-1].ravel(), rain[1:].ravel()
    assert np.corrcoef(now, next_)[0, 1] > 0.4
    assert rain.max() * 3600 > 5  # mm/h


def test_rain_goes_on_across_the_date_line():
    rain = synthetic_truth(AXIS, range(20), (32, 64))["pr"].values
    seam = np.abs(rain[:, :, 0] - rain[:, :, -1]).mean()
    inside = np.abs(np.diff(rain, axis=-1)).mean()
    assert seam < 2 * inside


def test_six_faces_cover_the_earth_and_rain_goes_on_across_their_edges():
    grid = synthetic_grid((32, 32), tiles=6)
    assert float(grid["areacella"].sum()) == pytest.approx(4 * np.pi * 6.371e6**2, rel=2e-3)
    rain = synthetic_truth(AXIS, range(20), (32, 32), tiles=6)["pr"].values
    edge = np.abs(rain[:, 0, :, -1] - rain[:, 1, :, 0]).mean()  # face 1 lies east of face 0
    apart = np.abs(rain[:, 0, :, -1] - rain[:, 2, :, 0]).mean()
    assert edge < 0.5 * apart


@pytest.mark.parametrize("calendar", CALENDARS)
def test_any_calendar_gives_the_same_weather(calendar, whole):
    axis = TimeAxis(epoch="2001-02-27", step_seconds=10800, calendar=calendar)
    coarse = synthetic_coarse(axis, range(30), SHAPE, seed=7)
    np.testing.assert_array_equal(coarse["pr"].values, whole["pr"].values[20:50])
    assert axis.locate(coarse["time"]).tolist() == list(range(30))
    assert coarse.attrs["calendar"] == calendar
    real = calendar in ("standard", "proleptic_gregorian")
    assert (coarse["time"].dtype == object) is not real


def test_a_long_record_is_made_lazily_chunk_by_chunk():
    axis = TimeAxis(epoch="1950-01-01", step_seconds=86400, calendar="noleap")
    truth = synthetic_truth(axis, range(3650), SHAPE, chunk_frames=10)
    assert dask.is_dask_collection(truth["pr"].data)
    assert max(truth["pr"].chunks[0]) == 10
    assert truth["pr"].isel(time=-1).values.shape == SHAPE


def test_impossible_grids_are_refused():
    with pytest.raises(ValueError, match="factor 8 does not divide the shape"):
        synthetic_grid((12, 32))
    with pytest.raises(ValueError, match="1 to 6 faces"):
        synthetic_grid((16, 16), tiles=7)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_changes_the_record(fault):
    coarse, grid = synthetic_coarse(AXIS, range(12), SHAPE), synthetic_grid(SHAPE)
    spoiled, its_grid = spoil(fault, coarse, grid)
    assert not (spoiled.identical(coarse) and its_grid.identical(grid))
