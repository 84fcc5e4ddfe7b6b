"""The absolute lattice of time: frames, periods and windows, on any CF calendar.

Frame `k` of a source covers `[epoch + k·step, epoch + (k+1)·step)` on the source's own calendar.
Windows and partitions are counted in frames from that epoch, so that a piece of a record is cut at
the same places whoever asks for it and whenever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import cftime
import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import core_schema

CALENDARS = ("standard", "proleptic_gregorian", "noleap", "360_day", "all_leap", "julian")
_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_FORMATS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%Y-%m", "%Y")

WindowRule = Literal["overlapping", "independent"]
"""Whether windows share their first and last frames, or are sampled each for itself."""


def canonical_calendar(name: str) -> str:
    """The CF name of a calendar, e.g. `noleap` for `365_day`; `ValueError` for an unknown one."""
    calendar = _ALIASES.get(name.lower(), name.lower())
    if calendar not in CALENDARS:
        raise ValueError(f"calendar {name!r} is not supported; use one of {', '.join(CALENDARS)}")
    return calendar


def parse_time(text: str, calendar: str) -> cftime.datetime:
    """Read an ISO 8601 time (`2001`, `2001-02`, …, `2001-02-03T04:05:06`) on `calendar`.

    Raises
    ------
    ValueError
        If the text is no such time or the day does not exist on the calendar.
    """
    calendar = canonical_calendar(calendar)
    for form in _FORMATS:
        try:
            return cftime.datetime.strptime(text.removesuffix("Z"), form, calendar=calendar)
        except ValueError:
            continue
    raise ValueError(
        f"{text!r} is not a date of the {calendar} calendar; "
        "write it as 2001-02-03 or 2001-02-03T04:05"
    )


def format_time(when: cftime.datetime) -> str:
    """ISO 8601 text of a time, to the second."""
    return str(when.isoformat(timespec="seconds"))


class _FrameRange:
    """Lets a pydantic model hold a `range` of step 1, written in JSON as `[start, stop]`."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def read(value: Any) -> range:
            if isinstance(value, range):
                if value.step != 1:
                    raise ValueError("a range of frames or members has step 1")
                return value
            start, stop = value
            return range(int(start), int(stop))

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda r: [r.start, r.stop]
            ),
        )


IndexRange = Annotated[range, _FrameRange]


class Period(BaseModel):
    """A half-open range of time `[start, end)` on a calendar, as ISO 8601 texts.

    The texts are what counts: `on` reads them again on the calendar of the data at hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    end: str
    calendar: str = "standard"

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if not self.first < self.last:
            raise ValueError(f"period ends before it starts: start {self.start}, end {self.end}")
        return self

    @property
    def first(self) -> cftime.datetime:
        return parse_time(self.start, self.calendar)

    @property
    def last(self) -> cftime.datetime:
        """The first instant that no longer belongs to the period."""
        return parse_time(self.end, self.calendar)

    def on(self, calendar: str) -> Period:
        """The same dates on another calendar; `ValueError` if it lacks one of them."""
        return Period(start=self.start, end=self.end, calendar=calendar)

    def __str__(self) -> str:
        return f"{self.start}/{self.end}"


class TimeAxis(BaseModel):
    """The absolute time lattice of a source.

    Parameters
    ----------
    epoch : start of frame 0, ISO 8601
    step_seconds : length of a frame
    calendar : CF calendar name
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: str
    step_seconds: int = Field(gt=0)
    calendar: str = "standard"

    @model_validator(mode="after")
    def _valid(self) -> TimeAxis:
        parse_time(self.epoch, self.calendar)
        return self

    @property
    def origin(self) -> cftime.datetime:
        return parse_time(self.epoch, self.calendar)

    @property
    def step(self) -> timedelta:
        return timedelta(seconds=self.step_seconds)

    def start(self, frame: int) -> cftime.datetime:
        """The instant at which `frame` begins."""
        return self.origin + timedelta(seconds=self.step_seconds * int(frame))

    def frame(self, when: cftime.datetime) -> int:
        """The frame that contains the instant `when`."""
        return (when - self.origin) // self.step

    def exact_frame(self, when: cftime.datetime) -> int:
        """The frame that begins at `when`; `ValueError` when none does."""
        frame = self.frame(when)
        if self.start(frame) != when:
            raise ValueError(
                f"{format_time(when)} is not the start of a frame: frames begin every "
                f"{self.step_seconds} s from {self.epoch}"
            )
        return frame

    def frames(self, period: Period) -> range:
        """The frames that lie wholly inside `period`, whose dates are read on this calendar."""
        period = period.on(self.calendar)
        first = -((self.origin - period.first) // self.step)  # ceiling
        return range(first, max(first, self.frame(period.last)))

    def period(self, frames: range) -> Period:
        """The time that `frames` cover."""
        return Period(
            start=format_time(self.start(frames.start)),
            end=format_time(self.start(frames.stop)),
            calendar=self.calendar,
        )

    def coordinates(self, frames: range) -> tuple[np.ndarray, np.ndarray]:
        """Mid-interval times, shape (time,), and bounds, shape (time, 2), as cftime objects."""
        starts = [self.start(k) for k in range(frames.start, frames.stop + 1)]
        edges = np.array(starts, dtype=object)
        bounds = np.stack([edges[:-1], edges[1:]], axis=-1)
        return edges[:-1] + self.step / 2, bounds

    def decoded(self, frames: range) -> tuple[np.ndarray, np.ndarray]:
        """As `coordinates`, but datetime64 on the standard calendars, as xarray decodes them."""
        middle, bounds = self.coordinates(frames)
        real = canonical_calendar(self.calendar) in ("standard", "proleptic_gregorian")
        if not real or not middle.size or middle[0].year < 1678 or middle[-1].year > 2261:
            return middle, bounds  # as xarray: datetime64[ns] ends in 2262
        isoformat = np.vectorize(lambda t: t.isoformat(), otypes=["U26"])
        nanoseconds = np.dtype("datetime64[ns]")
        return isoformat(middle).astype(nanoseconds), isoformat(bounds).astype(nanoseconds)

    def locate(self, time: xr.DataArray) -> np.ndarray:
        """Frame numbers of mid-interval times, in any order, shape (time,)."""
        return np.array([self.frame(t) for t in as_cftime(time, self.calendar)], dtype=np.int64)


def as_cftime(time: xr.DataArray, calendar: str) -> np.ndarray:
    """Times of any decoded calendar as an object array of cftime on `calendar`, shape (time,)."""
    values = np.asarray(time.values)
    if values.dtype == object:
        return values
    microseconds = values.astype("datetime64[us]").astype(np.int64)
    return np.asarray(
        cftime.num2date(
            microseconds,
            "microseconds since 1970-01-01",
            calendar=canonical_calendar(calendar),
            only_use_cftime_datetimes=True,
        )
    )


class WindowLattice(BaseModel):
    """Where windows lie in time.

    Window i is the T frames [iC, iC + T). Overlapping, C = T − 1: the last frame of a window is the
    first of the next, and at every call of the network what both say of it is merged
    (`stvd.window_chain`). Independent, C = T.

    Parameters
    ----------
    length : frames of a window, T; windows of one frame are independent
    rule : `overlapping` or `independent`
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(ge=1)
    rule: WindowRule = "overlapping"

    @property
    def overlap(self) -> int:
        """Frames that a window has in common with the next."""
        return int(self.rule == "overlapping" and self.length > 1)

    @property
    def cycle(self) -> int:
        """C, the frames from the start of one window to that of the next."""
        return self.length - self.overlap

    @property
    def edges(self) -> tuple[int, ...]:
        """Frames of a cycle that are reached over a seam.

        Of independent windows their first; of overlapping ones the frame that two have in common and the
        one after it, where there are other steps to compare these with.
        """
        return (0, 1) if self.overlap and self.cycle > 2 else (0,)

    def window(self, number: int) -> range:
        """Frames of a window."""
        first = number * self.cycle
        return range(first, first + self.length)

    def touching(self, frames: range) -> range:
        """Numbers of the windows that hold one of `frames`."""
        return range(
            -((self.length - 1 - frames.start) // self.cycle), (frames.stop - 1) // self.cycle + 1
        )

    def within(self, record: range) -> range:
        """Numbers of the windows of a record: as few as hold all of its frames."""
        first = record.start // self.cycle
        last = -((self.length - record.stop) // self.cycle)
        return range(first, max(first, last) + 1)

    def sampled(self, frames: range, calls: int) -> range:
        """Numbers of the windows that decide the numbers of `frames` over so many last calls.

        A call brings what a window says to its neighbours, so each call before the last needs one
        window more on either side.
        """
        touched, reach = self.touching(frames), self.overlap * (calls - 1)
        return range(touched.start - reach, touched.stop + reach)

    def reads(self, frames: range, calls: int) -> range:
        """The frames of input that decide the numbers of `frames`, sampled in so many calls.

        The mean downscaler is merged like a call before the first.
        """
        windows = self.sampled(frames, calls + 1)
        return range(self.window(windows[0]).start, self.window(windows[-1]).stop)
