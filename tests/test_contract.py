"""The written contract: quantities and what breaks the structure."""

import numpy as np
import pytest
import xarray as xr

from stvd.contract import QUANTITIES, quantity, time_axis, variables, violations
from stvd.lattice import TimeAxis
from stvd.synthetic import synthetic_coarse, synthetic_grid, synthetic_truth

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=10800, calendar="360_day")


@pytest.fixture
def coarse() -> xr.Dataset:
    return synthetic_coarse(AXIS, range(3), (16, 32))


@pytest.mark.parametrize("tiles", [None, 2], ids=["global", "two faces"])
def test_synthetic_records_meet_the_contract(tiles):
    shape = (16, 32) if tiles is None else (16, 16)
    coarse = synthetic_coarse(AXIS, range(3), shape, tiles=tiles)
    truth = synthetic_truth(AXIS, range(3), shape, tiles=tiles)
    grid = synthetic_grid(shape, tiles=tiles)
    assert not list(violations(coarse, "coarse", ["pr", "ps", "tas"]))
    assert not list(violations(truth, "truth", ["pr"]))
    assert not list(violations(grid, "grid", ["orog", "areacella"]))
    assert time_axis(coarse) == AXIS


@pytest.mark.parametrize(
    ("name", "units"),
    [("pr", "kg m-2 s-1"), ("ua850", "m s-1"), ("zg500", "m2 s-2"), ("hus200", "1"), ("tas", "K")],
)
def test_a_level_has_the_units_of_its_quantity(name, units):
    known = quantity(name)
    assert known is not None
    assert known.units == units


@pytest.mark.parametrize("name", ["sst", "ua", "pr850x", "ps500"])
def test_other_names_stand_for_nothing(name):
    assert quantity(name) is None


def test_ranges_hold_the_standard_atmosphere():
    for name, value in {"ps": 101325.0, "tas": 288.15, "prw": 25.0, "huss": 0.01}.items():
        assert QUANTITIES[name].lowest < value < QUANTITIES[name].highest


def test_bounds_are_not_a_variable(coarse):
    assert variables(coarse.reset_coords("time_bnds")) == ("pr", "ps", "prw", "tas", "uas", "vas")


def test_a_missing_variable_is_named_with_those_there_are(coarse):
    (found,) = violations(coarse, "coarse", ["pr", "huss"])
    assert found.check == "missing_variable"
    assert "huss is missing from synthetic_coarse, which has pr, ps, prw, tas, uas, vas" in str(
        found
    )
    assert "metadata.stvd.variables.huss" in found.remedy


def test_an_extra_dimension_is_named_with_its_remedy(coarse):
    odd = coarse.assign(tas=coarse["tas"].expand_dims(height=2, axis=-1))
    (found,) = violations(odd, "coarse", ["pr"])
    assert "tas of synthetic_coarse has dimensions (time, y, x, height)" in found.message
    assert found.remedy == "Choose one with metadata.stvd.variables.tas.select: {height: …}."


def test_a_field_without_time_is_no_record(coarse):
    (found,) = violations(coarse.assign(pr=coarse["pr"].isel(time=0)), "coarse", ["pr"])
    assert "(y, x) and not (time, y, x)" in found.message


@pytest.mark.parametrize(("units", "said"), [("mm", "has units 'mm'"), (None, "has no units")])
def test_wrong_units_are_quoted(coarse, units, said):
    attrs = {} if units is None else {"units": units}
    field = xr.DataArray(coarse["pr"].data, dims=coarse["pr"].dims, attrs=attrs)
    (found,) = violations(coarse.assign(pr=field), "coarse", ["pr"])
    assert said in found.message
    assert "'kg m-2 s-1'" in found.message


def test_a_grid_without_positions_is_reported():
    field = xr.DataArray(np.ones((2, 2)), dims=("y", "x"), attrs={"units": "m2"})
    (found,) = violations(xr.Dataset({"areacella": field}), "grid", ["areacella"])
    assert found.check == "missing_coordinates"
