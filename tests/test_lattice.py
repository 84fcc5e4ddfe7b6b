"""Frames, periods and windows on every calendar."""

import warnings

import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from stvd.lattice import (
    CALENDARS,
    IndexRange,
    Period,
    TimeAxis,
    WindowLattice,
    as_cftime,
    canonical_calendar,
    format_time,
    parse_time,
)

calendars = st.sampled_from(CALENDARS)
steps = st.sampled_from([120, 300, 3600, 10800, 86400])
frames = st.integers(-20_000, 60_000)


def axes() -> st.SearchStrategy[TimeAxis]:
    days = st.tuples(st.integers(1900, 2100), st.integers(1, 12), st.integers(1, 28))
    epochs = days.map(lambda d: f"{d[0]:04}-{d[1]:02}-{d[2]:02}T06:00:00")
    return st.builds(TimeAxis, epoch=epochs, step_seconds=steps, calendar=calendars)


@given(axes(), frames)
def test_a_frame_contains_its_start_and_not_its_end(axis, k):
    assert axis.frame(axis.start(k)) == k
    assert axis.exact_frame(axis.start(k)) == k
    assert axis.frame(axis.start(k + 1) - axis.step / 100) == k


@given(axes(), frames, st.integers(1, 5000))
def test_the_period_of_frames_gives_the_frames_back(axis, first, count):
    wanted = range(first, first + count)
    assert axis.frames(axis.period(wanted)) == wanted


@given(axes(), frames, st.integers(1, 400), st.integers(1, 119), st.integers(1, 119))
def test_only_frames_wholly_inside_a_period_belong_to_it(axis, first, count, late, early):
    whole = axis.period(range(first, first + count + 2))
    cut = Period(
        start=format_time(whole.on(axis.calendar).first + np.timedelta64(late, "s").item()),
        end=format_time(whole.on(axis.calendar).last - np.timedelta64(early, "s").item()),
        calendar=axis.calendar,
    )
    assert axis.frames(cut) == range(first + 1, first + count + 1)


@given(axes(), frames, st.integers(1, 50))
def test_coordinates_are_located_where_they_were_made(axis, first, count):
    wanted = range(first, first + count)
    middle, bounds = axis.coordinates(wanted)
    assert axis.locate(xr.DataArray(middle, dims="time")).tolist() == list(wanted)
    assert (bounds[1:, 0] == bounds[:-1, 1]).all()
    assert (bounds[:, 1] - bounds[:, 0] == axis.step).all()


@given(axes(), frames, st.integers(1, 20))
def test_times_read_from_a_file_are_located(axis, first, count):
    seconds = np.arange(count) * axis.step_seconds + axis.step_seconds // 2
    units = f"seconds since {format_time(axis.start(first))}"
    raw = xr.Dataset(
        coords={"time": ("time", seconds, {"units": units, "calendar": axis.calendar})}
    )
    time = xr.decode_cf(raw)["time"]
    assert axis.locate(time).tolist() == list(range(first, first + count))


lattices = st.builds(
    WindowLattice, length=st.integers(1, 12), rule=st.sampled_from(["bridged", "independent"])
)


@given(lattices, st.integers(-50, 50), st.integers(1, 20))
def test_every_frame_belongs_to_one_window(lattice, first, count):
    wanted = range(first * lattice.cycle, (first + count) * lattice.cycle)
    assert lattice.cycles(wanted) == range(first, first + count)
    own = []
    for number in lattice.cycles(wanted):
        own += lattice.anchor(number)
        if lattice.bridged:
            bridge = lattice.bridge(number)
            assert len(bridge) == lattice.length
            assert bridge[0] == lattice.anchor(number)[-1]
            assert bridge[-1] == lattice.anchor(number + 1)[0]
            own += bridge[1:-1]
    assert own == list(wanted)


@given(lattices, st.integers(-50, 50), st.integers(1, 50))
def test_what_frames_read_are_whole_windows_around_them(lattice, first, count):
    wanted = range(first, first + count)
    reads = lattice.reads(wanted)
    assert reads.start <= wanted.start
    assert wanted.stop <= reads.stop
    assert reads.start % lattice.cycle == 0
    assert len(reads) % lattice.cycle in (0, lattice.length)


def test_windows_of_five_frames():
    lattice = WindowLattice(length=5)
    assert lattice.cycle == 8
    assert (lattice.anchor(1), lattice.bridge(1)) == (range(8, 13), range(12, 17))
    assert lattice.edges == (0, 5)  # 7 → 8 from bridge to anchor, 12 → 13 from anchor to bridge
    assert lattice.reads(range(8, 16)) == range(8, 21)  # the bridge leads to the anchor 16-20
    assert lattice.reads(range(13)) == range(13)  # ends with an anchor
    assert lattice.reads(range(14, 15)) == range(8, 21)


@pytest.mark.parametrize("length", [1, 2])
def test_short_windows_leave_nothing_to_bridge(length):
    lattice = WindowLattice(length=length, rule="bridged")
    assert not lattice.bridged
    assert (lattice.cycle, lattice.edges) == (length, (0,))
    assert lattice.reads(range(4, 6)) == range(4, 6)


@pytest.mark.parametrize(
    ("calendar", "days"),
    [("standard", 29), ("noleap", 28), ("360_day", 30), ("all_leap", 29), ("julian", 29)],
)
def test_february_2004_has_the_days_of_its_calendar(calendar, days):
    axis = TimeAxis(epoch="2001-01-01", step_seconds=10800, calendar=calendar)
    assert len(axis.frames(Period(start="2004-02", end="2004-03"))) == 8 * days


def test_dates_are_read_on_the_calendar_of_the_data():
    period = Period(start="2001-02-01", end="2001-02-30", calendar="360_day")
    axis = TimeAxis(epoch="2001-01-01", step_seconds=86400, calendar="360_day")
    assert axis.frames(period) == range(30, 59)  # days 31 to 59 of the year, 30 a month
    with pytest.raises(ValueError, match="'2001-02-30' is not a date of the standard calendar"):
        TimeAxis(epoch="2001-01-01", step_seconds=86400).frames(period)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_reading_dates_warns_of_nothing(calendar):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert format_time(parse_time("0001-03-04T05:06:07", calendar)) == "0001-03-04T05:06:07"


@pytest.mark.parametrize("text", ["2001-03-01T00:00:00Z", "2001-03-01", "2001-03"])
def test_shorter_texts_name_the_first_instant(text):
    assert parse_time(text, "noleap") == cftime.datetime(2001, 3, 1, calendar="noleap")


@pytest.mark.parametrize(
    ("text", "calendar"),
    [("2001-02-29", "noleap"), ("2001-01-31", "360_day"), ("tomorrow", "standard"), ("", "julian")],
)
def test_a_date_that_does_not_exist_is_refused(text, calendar):
    with pytest.raises(ValueError, match=f"is not a date of the {calendar} calendar"):
        parse_time(text, calendar)


def test_a_period_that_ends_first_is_refused():
    with pytest.raises(ValidationError, match="ends before it starts"):
        Period(start="2001-02", end="2001-01")


def test_calendars_have_one_name():
    assert canonical_calendar("365_day") == "noleap"
    assert canonical_calendar("Gregorian") == "standard"
    with pytest.raises(ValueError, match="calendar 'martian' is not supported"):
        canonical_calendar("martian")


def test_a_time_between_frame_starts_is_refused():
    axis = TimeAxis(epoch="2001-01-01", step_seconds=3600)
    with pytest.raises(ValueError, match="frames begin every 3600 s"):
        axis.exact_frame(parse_time("2001-01-01T00:30", "standard"))


def test_half_seconds_survive():
    time = xr.DataArray(np.array(["2001-01-01T00:00:07.500"], "datetime64[ns]"), dims="time")
    assert as_cftime(time, "standard")[0].microsecond == 500_000


def test_a_range_is_written_as_two_numbers():
    class Work(BaseModel):
        frames: IndexRange

    assert Work.model_validate_json(Work(frames=range(2, 7)).model_dump_json()).frames == range(
        2, 7
    )
    assert Work(frames=[0, 3]).frames == range(3)
    with pytest.raises(ValidationError, match="step 1"):
        Work(frames=range(0, 10, 2))
