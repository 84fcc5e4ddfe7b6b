"""What is wrong with input is found, said and, by the policy, stops a partition."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from stvd.contract import Finding
from stvd.faults import FAULTS, spoil
from stvd.lattice import CALENDARS, TimeAxis
from stvd.quality import QualityError, QualityPolicy, check, cleaned, enforce
from stvd.synthetic import synthetic_coarse, synthetic_grid
from stvd.value_checks import longest_run

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=10800, calendar="noleap")
SHAPE = (16, 32)
REQUIRED = ("pr", "ps", "prw", "tas", "orog")
POLICY = QualityPolicy()


@pytest.fixture(scope="module")
def coarse() -> xr.Dataset:
    return synthetic_coarse(AXIS, range(16), SHAPE).load()


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    return synthetic_grid(SHAPE)


def findings(coarse, grid, *, axis=AXIS, frames=range(16), policy=POLICY, factor=8):
    return check(
        coarse, grid, axis=axis, frames=frames, required=REQUIRED, factor=factor, policy=policy
    )


MESSAGES = {  # frame 5 is that of 15:00, its middle 16:30; the coarse grid has 2 × 4 cells
    "missing_variable": "ps is missing from synthetic_coarse, which has pr, prw, tas, uas, vas",
    "wrong_units": "pr of synthetic_coarse has units 'K', which is not convertible to",
    "wrong_dimensions": "tas of synthetic_coarse has dimensions (time, height, y, x) and not",
    "non_monotonic_time": "goes back from 2001-01-01T19:30:00 to 2001-01-01T16:30:00",
    "duplicate_time": "has 2001-01-01T16:30:00 2 times",
    "missing_time": "lacks 1 of 16 frames in 1 gap, the first at 2001-01-01T15:00:00",
    "wrong_step": "advances by 21600 s and not by 10800 s",
    "shifted_time": "has 2001-01-01T16:52:30, +1350 s off the middle of a frame (and 10 more)",
    "wrong_grid": "lon of synthetic_coarse is up to 45 degrees off the centre of its 8 × 8",
    "wrong_factor": "synthetic_grid has 8 × 16 cells and synthetic_coarse 2 × 4: not 8 times",
    "nan": "tas at 2001-01-01T15:00:00 has 4 of 8 values missing (NaN).",
    "inf": "prw at 2001-01-01T15:00:00 has 4 of 8 values infinite.",
    "negative_rain": "pr at 2001-01-01T15:00:00 has 4 values below 0 (min -3.1e-05 kg m-2 s-1).",
    "absurd_rate": "pr at 2001-01-01T15:00:00 has values from",
    "all_zero": "pr of synthetic_coarse is 0 everywhere for 48 hours from 2001-01-01T00:00:00",
    "unsupported_calendar": "time of synthetic_coarse has the calendar 'martian'",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_said_and_stops(fault, coarse, grid):
    found = findings(*spoil(fault, coarse, grid))
    assert MESSAGES[fault] in found[0].message
    assert found[0].remedy.endswith(".")
    with pytest.raises(QualityError) as stopped:
        enforce(found, POLICY)
    assert MESSAGES[fault] in str(stopped.value)
    assert stopped.value.findings == tuple(found)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_sound_record_has_no_findings_on_any_calendar(calendar, grid):
    axis = TimeAxis(epoch="2000-02-27", step_seconds=10800, calendar=calendar)
    coarse = synthetic_coarse(axis, range(40), SHAPE)
    assert findings(coarse, grid, axis=axis, frames=range(40)) == []


def test_a_cubed_sphere_has_no_findings():
    coarse = synthetic_coarse(AXIS, range(8), (16, 16), tiles=6)
    grid = synthetic_grid((16, 16), tiles=6)
    assert findings(coarse, grid, frames=range(8)) == []
    (found,) = findings(*spoil("wrong_grid", coarse, grid), frames=range(8))
    assert found.check == "wrong_grid"
    (found,) = findings(coarse, grid.isel(tile=slice(5)), frames=range(8))[:1]
    assert "has 5 tiles and synthetic_coarse 6" in found.message


def test_a_bad_frame_stops_no_other_partition(coarse, grid):
    spoiled, _ = spoil("nan", coarse, grid)
    assert findings(spoiled, grid, frames=range(6, 16)) == []
    assert len(findings(spoiled, grid, frames=range(4, 8))) == 1


def test_frames_outside_the_record_are_missing(coarse, grid):
    (found,) = findings(coarse, grid, frames=range(10, 20))
    assert "lacks 4 of 10 frames" in found.message
    empty = coarse.isel(time=slice(0, 0))
    (found,) = findings(empty, grid)
    assert "lacks 16 of 16 frames" in found.message


def test_many_bad_frames_make_one_finding(coarse, grid):
    frame = xr.DataArray(np.arange(16), dims="time")
    tas = coarse["tas"].where(~frame.isin([3, 7, 11])).assign_attrs(coarse["tas"].attrs)
    (found,) = findings(coarse.assign(tas=tas), grid)
    assert found.time == "2001-01-01T09:00:00"
    assert "8 of 8 values missing (NaN), and 2 more frames to 2001-01-02T09:00:00" in found.message


def test_a_tolerated_share_of_missing_values_passes(coarse, grid):
    spoiled, _ = spoil("nan", coarse, grid)  # 4 of 8 values
    assert findings(spoiled, grid, policy=QualityPolicy(missing_share=0.5)) == []
    assert len(findings(spoiled, grid, policy=QualityPolicy(missing_share=0.49))) == 1


def test_severities_and_the_stop_are_of_the_policy(coarse, grid):
    spoiled, _ = spoil("all_zero", coarse, grid)
    lenient = QualityPolicy(severity={"all_zero": "warning"})
    found = findings(spoiled, grid, policy=lenient)
    assert found[0].severity == "warning"
    enforce(found, lenient)
    with pytest.raises(QualityError):
        enforce(found, lenient.model_copy(update={"stops": "warning"}))


def test_small_negative_rain_is_clipped_where_the_policy_says_so(coarse, grid):
    spoiled, _ = spoil("negative_rain", coarse, grid)
    clip = QualityPolicy(negative="clip")
    (found,) = findings(spoiled, grid, policy=clip)
    assert found.severity == "info"
    assert float(cleaned(spoiled, clip)["pr"].min()) == 0
    assert float(cleaned(spoiled, POLICY)["pr"].min()) < 0
    assert cleaned(spoiled, clip)["pr"].attrs["units"] == "kg m-2 s-1"
    far = QualityPolicy(negative="clip", negative_limit=1e-5)
    (found,) = findings(spoiled, grid, policy=far)
    assert found.severity == "error"
    assert "more than quality.negative_limit = 1e-05" in found.remedy
    assert float(cleaned(spoiled, far)["pr"].min()) == pytest.approx(-3.1e-5)


def test_the_remedy_for_negative_rain_says_what_to_set(coarse, grid):
    (found,) = findings(*spoil("negative_rain", coarse, grid))
    assert found.remedy == (
        "Negative rain usually means spectral ringing in the source: set quality.negative = "
        '"clip" to allow up to -1e-04.'
    )


def test_a_region_may_be_dry_for_days_and_the_earth_for_no_frame(coarse, grid):
    frame = xr.DataArray(np.arange(16), dims="time")
    dry = coarse["pr"].where(frame != 3, 0).assign_attrs(coarse["pr"].attrs)
    (found,) = findings(coarse.assign(pr=dry), grid)
    assert "0 everywhere for 3 hours from 2001-01-01T09:00:00" in found.message
    region = coarse.assign(pr=dry).assign_attrs(periodic_x=0)
    its_grid = grid.assign_attrs(periodic_x=0)
    assert findings(region, its_grid) == []
    (found,) = findings(region, its_grid, policy=QualityPolicy(dry_hours=3))
    assert found.check == "all_zero"


def test_celsius_labelled_kelvin_is_absurd(coarse, grid):
    odd = coarse.assign(tas=(coarse["tas"] - 273.15).assign_attrs(units="K"))
    (found,) = findings(odd, grid)
    assert found.check == "absurd_values"
    assert "beyond 150 to 350" in found.remedy


def test_another_calendar_than_the_lattice_stops(coarse, grid):
    other = AXIS.model_copy(update={"calendar": "360_day"})
    found = findings(coarse, grid, axis=other)
    assert "has the calendar noleap, and the lattice 360_day" in found[0].message


def test_a_grid_of_another_kind_is_found(coarse, grid):
    lat, lon = xr.broadcast(grid["lat"], grid["lon"])
    found = findings(coarse, grid.assign_coords(lat=lat, lon=lon))
    assert "one has lat along its rows, the other over its map" in found[0].message


def test_holes_and_nonsense_in_the_grid_are_found(coarse, grid):
    orog = grid["orog"].copy()
    orog[0, 0] = np.nan
    (found,) = findings(coarse, grid.assign(orog=orog))
    assert found.message == "orog of synthetic_grid has 1 of 512 values missing."
    percent = (100 * grid["land_fraction"]).assign_attrs(units="1")
    (found,) = findings(coarse, grid.assign(land_fraction=percent))
    assert "land_fraction of synthetic_grid has values from 0 to 100" in found.message


def test_rows_from_the_north_are_found(coarse, grid):
    found = findings(coarse.isel(y=slice(None, None, -1)), grid.isel(y=slice(None, None, -1)))
    assert {f.message for f in found} == {
        "lat of synthetic_coarse does not ascend.",
        "lat of synthetic_grid does not ascend.",
    }


def test_values_are_read_once(coarse, grid):
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    pr = coarse["pr"]
    counted = da.from_array(pr.values, chunks=(4, -1, -1)).map_blocks(
        read, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    )
    lazy = coarse.assign(pr=pr.copy(data=counted))
    assert findings(lazy, grid) == []
    assert reads == [(4, 2, 4)] * 4  # 16 frames in chunks of 4


@pytest.mark.parametrize(
    ("flags", "run"),
    [([], (0, 0)), ([0, 0], (0, 0)), ([1, 0, 1, 1, 0], (2, 2)), ([1, 1, 1], (3, 0))],
)
def test_longest_run(flags, run):
    assert longest_run(np.array(flags, dtype=bool)) == run


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="extra"):
        QualityPolicy(negativ="clip")


def test_a_finding_reads_as_message_and_remedy():
    found = Finding(check="x", message="It is so.", remedy="Do this.")
    assert str(found) == "It is so. Do this."
