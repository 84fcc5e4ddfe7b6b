"""Whether the input of a product has arrived: late data, and a record that became shorter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from stvd.lattice import TimeAxis, parse_time

REAL_CALENDARS = ("standard", "proleptic_gregorian")


def lateness(axis: TimeAxis, available: range, lag_days: float, now: datetime) -> str:
    """Why a record is late, in words; empty when it is not.

    Parameters
    ----------
    available : frames that the record holds
    lag_days : it should reach to so many days before `now`
    now : aware of its time zone

    Raises
    ------
    ValueError
        On a calendar that is not that of the clock, such as `360_day`.
    """
    if axis.calendar not in REAL_CALENDARS:
        raise ValueError(
            f"lag_days compares a record with the clock; this one is on the {axis.calendar} "
            "calendar. Leave lag_days empty"
        )
    due = now.astimezone(UTC) - timedelta(days=lag_days)
    due_on_axis = parse_time(due.strftime("%Y-%m-%dT%H:%M:%S"), axis.calendar)
    end = axis.period(available).last
    missing = due_on_axis - end
    if missing < timedelta(seconds=axis.step_seconds):
        return ""
    return (
        f"the record ends at {end.isoformat(timespec='minutes')}, {_days(missing)} before "
        f"{due:%Y-%m-%dT%H:%M}, to which it should reach by now (lag_days {lag_days:g})"
    )


def shortened(axis: TimeAxis, available: range, published: Iterable[range]) -> str:
    """Why a record is shorter than what was published of it, in words; empty when it is not.

    Parameters
    ----------
    available : frames that the record holds
    published : frames of each partition
    """
    beyond = [frames for frames in published if frames.stop > available.stop]
    if not beyond:
        return ""
    lost = range(available.stop, max(frames.stop for frames in beyond))
    return (
        f"the record ends at {axis.period(available).end}, but what was published of it reaches to "
        f"{axis.period(lost).end} ({len(beyond)} of its partitions end later). All of it stays "
        "published; restore the record"
    )


def _days(time: timedelta) -> str:
    days = time / timedelta(days=1)
    return f"{days:.1f} days" if days >= 1 else f"{24 * days:.1f} hours"
