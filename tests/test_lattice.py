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
    WindowLattice, length=st.integers(1, 12), rule=st.sampled_from(["overlapping", "independent"])
)
places = st.integers(-50, 50)


@given(lattices, places, st.integers(1, 20))
def test_windows_follow_each_other_and_share_what_overlaps(lattice, first, count):
    for number in range(first, first + count):
        shared = set(lattice.window(number)) & set(lattice.window(number + 1))
        assert len(shared) == lattice.overlap
        assert lattice.window(number + 1).start == lattice.window(number).start + lattice.cycle


@given(lattices, places, st.integers(1, 50))
def test_windows_that_touch_frames_are_all_that_hold_one(lattice, first, count):
    frames = range(first, first + count)
    touching = lattice.touching(frames)
    around = range(touching.start - 3, touching.stop + 3)
    assert [n for n in around if set(lattice.window(n)) & set(frames)] == list(touching)


@given(lattices, places, st.integers(1, 50))
def test_windows_of_a_record_hold_its_frames_and_none_could_be_left_out(lattice, first, count):
    record = range(first, first + count)
    within = lattice.within(record)
    held = [set(lattice.window(n)) & set(record) for n in within]
    assert set.union(*held) == set(record)
    if len(within) > 1:
        for end in (held[1:], held[:-1]):
            assert set.union(*end) != set(record)


@given(lattices, places, st.integers(1, 50), st.integers(1, 12))
def test_what_frames_read_are_whole_windows_around_them(lattice, first, count, calls):
    frames = range(first, first + count)
    reads = lattice.reads(frames, calls)
    assert set(frames) <= set(reads)
    assert reads.start % lattice.cycle == 0
    assert (len(reads) - lattice.overlap) % lattice.cycle == 0
    # and a record of what is read has every window that counts
    sampled = lattice.sampled(frames, calls)
    assert set(sampled) <= set(lattice.within(reads))


def test_windows_of_five_frames():
    lattice = WindowLattice(length=5)
    assert (lattice.cycle, lattice.window(1)) == (4, range(4, 9))
    assert lattice.edges == (0, 1)  # 3 → 4 and 4 → 5, to and from the frame that two windows share
    assert lattice.touching(range(4, 5)) == range(2)
    assert lattice.sampled(range(5, 6), 1) == range(1, 2)
    assert lattice.sampled(range(5, 6), 3) == range(-1, 4)
    assert lattice.reads(range(5, 6), 1) == range(13)  # the mean downscaler is merged too
    apart = WindowLattice(length=5, rule="independent")
    assert (apart.cycle, apart.edges) == (5, (0,))
    assert apart.reads(range(5, 6), 8) == range(5, 10)


def test_windows_of_one_frame_have_nothing_in_common():
    lattice = WindowLattice(length=1)
    assert (lattice.overlap, lattice.cycle, lattice.edges) == (0, 1, (0,))
    assert lattice.reads(range(4, 6), 8) == range(4, 6)


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
