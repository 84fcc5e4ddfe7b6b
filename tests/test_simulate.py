import sys
from datetime import date

import numpy as np
import pytest
import xarray as xr

from stvd.gcm import day_fields, perturbation
from stvd.record import (
    PREDICTORS,
    RATE_STEP,
    Experiment,
    block_mean,
    coarse_axes,
    coarsen,
    record,
    write_record,
)
from stvd.simulate import open_parts, simulate
from stvd.terrain import area_mean, overlap, terrain_on_grid

LAT = np.array([-60.0, -0.0, 0.0, 60.0])  # cos: 0.5, 1, 1, 0.5
LON = np.array([0.0, 90.0, 180.0, 270.0])
EXPERIMENT = {
    "truncation": 106,
    "start": "2000-07-05",
    "days": 0.25,
    "spinup_days": 50,
    "adjust_days": 4,
    "member": 11,
    "factor": 2,
    "terrain": None,
}


def fine_day(seed: int = 0) -> xr.Dataset:
    """Eight frames of every field, on 4 × 4 cells; precipitation up to 20 mm/h."""
    values = np.random.default_rng(seed).random((8, 4, 4)).astype(np.float32)
    dims = ("time", "lat", "lon")
    fields = dict.fromkeys(PREDICTORS, (dims, 280 + 10 * values))
    fields["pr"] = (dims, values * np.float32(20 / 3600))
    return xr.Dataset(fields, coords={"time": np.arange(8), "lat": LAT, "lon": LON})


def small_record() -> xr.Dataset:
    orog = np.arange(16.0).reshape(4, 4)
    land = np.ones((4, 4))
    return record([coarsen(fine_day(), 2)], orog, land, Experiment(**EXPERIMENT))


def test_block_mean_weights_rows_by_the_cosine_of_latitude():
    field = np.arange(16.0).reshape(4, 4)
    # south-west block: row means 0.5 (weight 0.5) and 4.5 (weight 1): (0.25 + 4.5) / 1.5 = 19/6
    # north-west block: row means 8.5 (weight 1) and 12.5 (weight 0.5): (8.5 + 6.25) / 1.5 = 59/6
    expected = [[19 / 6, 19 / 6 + 2], [59 / 6, 59 / 6 + 2]]
    np.testing.assert_allclose(block_mean(field, LAT, 2), expected)


def test_block_mean_refuses_a_factor_that_does_not_divide():
    with pytest.raises(ValueError, match="factor 3 does not divide"):
        block_mean(np.zeros((4, 4)), LAT, 3)


def test_coarse_axes_are_weighted_means():
    lat_c, lon_c = coarse_axes(LAT, LON, 2)
    np.testing.assert_allclose(lat_c, [-20.0, 20.0])  # (-60 * 0.5 + 0 * 1) / 1.5
    assert lon_c.tolist() == [45.0, 225.0]


def test_overlap_shares_a_target_cell_among_its_source_cells():
    # cell 0..3 covers 0..1 whole (1/3) and 1..3 whole (2/3); cell 3..4 lies in 3..6
    shares = overlap(np.array([0.0, 3.0, 4.0]), np.array([0.0, 1.0, 3.0, 6.0]))
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3, 0.0], [0.0, 0.0, 1.0]])


def test_area_mean_wraps_around_the_prime_meridian():
    fine_lon = np.arange(22.5, 360, 45)  # edges at 0, 45, ...
    field = np.tile(np.arange(8.0), (2, 1))
    # target edges at -45, 45, 135, ...: cell 0 joins the columns 7 and 0: 3.5
    means = area_mean(field, np.array([-45.0, 45.0]), fine_lon, np.array([-45.0, 45.0]), LON)
    np.testing.assert_allclose(means, [[3.5, 1.5, 3.5, 5.5]] * 2)


def test_terrain_on_the_same_grid_is_taken_as_it_is(tmp_path):
    lat = np.array([-45.0, 45.0])
    orog = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]])
    variables = {"orog": (("lat", "lon"), orog), "land_fraction": (("lat", "lon"), orog / 7)}
    xr.Dataset(variables, coords={"lat": lat, "lon": LON}).to_netcdf(tmp_path / "orog.nc")
    terrain = terrain_on_grid(tmp_path / "orog.nc", lat, LON)
    assert terrain.orog.dims == ("lon", "lat")
    assert terrain.orog.values.tolist() == orog.T.tolist()
    assert terrain.lsm.values.tolist() == (orog / 7).T.tolist()


def test_members_differ_and_repeat():
    first, again, other = (perturbation(member, (2, 3)) for member in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert np.all(first != other)


def test_day_fields_integrate_the_water_vapour_of_the_column():
    sigma = [0.95, 0.835, 0.51, 0.2]  # from the surface up, as jcm writes
    shape = (1, 4, 1, 1)
    dims = ("time", "level", "lon", "lat")
    profile = np.array([0.010, 0.004, 0.001, 0.0]).reshape(shape)
    names = ("u_wind", "v_wind", "temperature", "specific_humidity", "geopotential")
    raw = xr.Dataset(dict.fromkeys(names, (dims, profile)), coords={"level": sigma})
    surface = ("surface_exchange.precipitation", "normalized_surface_pressure")
    surface += ("surface_flux.t0", "surface_flux.u0", "surface_flux.v0")
    for name in surface:
        raw[name] = ("time", "lon", "lat"), np.full((1, 1, 1), 0.980665)
    thickness = xr.DataArray([0.3, 0.3, 0.2, 0.2], {"level": sigma[::-1]}, ["level"])
    day = day_fields(raw, thickness)
    # ps = 98066.5 Pa, so ps / g = 1e4; 1e4 (0.2 * 0.010 + 0.2 * 0.004 + 0.3 * 0.001) = 31
    assert float(day.prw[0, 0, 0]) == pytest.approx(31.0)
    assert float(day.hus500[0, 0, 0]) == pytest.approx(0.001)


def test_time_is_the_middle_of_the_step():
    made = small_record()
    assert made.sizes["time"] == 2  # a quarter of a day
    assert made.time_bnds.values[0, 0] == np.datetime64("2000-07-05").astype("M8[s]").astype(int)
    np.testing.assert_array_equal(made.time, made.time_bnds.mean("bnds"))
    assert np.diff(made.time_bnds.values).tolist() == [[10800], [10800]]


@pytest.mark.parametrize(
    ("name", "how"),
    [("record.nc", {}), ("record.zarr", {"engine": "zarr", "consolidated": False})],
    ids=["netcdf", "zarr"],
)
def test_a_written_record_reads_back_conserved(tmp_path, name, how):
    made = small_record()
    with xr.open_dataset(write_record(made, tmp_path / name), **how) as found:
        assert found.pr.encoding["dtype"] == np.int16
        assert found.time.values[0] == np.datetime64("2000-07-05T01:30")
        np.testing.assert_allclose(found.pr.values, made.pr.values, rtol=1e-6)
        np.testing.assert_allclose(block_mean(found.pr.values, LAT, 2), found.pr_coarse, rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [name]  # no partial file is left


def test_packing_rounds_precipitation_by_half_a_step_at_most():
    error = coarsen(fine_day(), 2).pr - fine_day().pr
    assert 0 < float(abs(error).max()) <= RATE_STEP / 2 * 1.001


def test_packed_predictors_keep_five_digits_of_their_range(tmp_path):
    made = small_record()
    path = write_record(made, tmp_path / "packed.nc", pack_predictors=True)
    with xr.open_dataset(path) as found:
        assert found.tas.encoding["dtype"] == np.int16
        reach = float(made.tas.max() - made.tas.min())
        assert np.abs(found.tas.values - made.tas.values).max() <= reach / 65000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncation": 42}, "T42 is not supported"),
        ({"days": 0.1}, "multiple of 3 hours"),
        ({"days": 0.0}, "multiple of 3 hours"),
        ({"spinup_days": 0}, "spinup_days"),
        ({"member": -1}, "member"),
    ],
    ids=lambda value: str(value),
)
def test_an_experiment_refuses_what_it_cannot_run(change, message):
    with pytest.raises(ValueError, match=message):
        Experiment(**EXPERIMENT | change)


def test_days_of_another_simulation_are_not_mixed_in(tmp_path):
    open_parts(tmp_path / "parts", Experiment(**EXPERIMENT))
    open_parts(tmp_path / "parts", Experiment(**EXPERIMENT | {"days": 2.0}))  # longer: goes on
    with pytest.raises(FileExistsError, match="member"):
        open_parts(tmp_path / "parts", Experiment(**EXPERIMENT | {"member": 1}))


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jcm", None)
    with pytest.raises(ImportError, match=r'pip install "stvd\[jcm\]"'):
        simulate(tmp_path / "record.nc", start=date(2000, 7, 5), days=1)
    assert not list(tmp_path.iterdir())
