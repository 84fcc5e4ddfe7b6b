"""Rows of docs/failure-modes.md that are tested nowhere else: dates and foreign checkpoints."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stvd.lattice import Period, TimeAxis
from stvd.partition import plan


@pytest.fixture
def zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock went forward at 2001-03-25 02:00."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Zurich")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("zurich")
def test_a_change_of_clocks_changes_nothing() -> None:
    """Days are of the data's calendar, in UTC: 8 frames of 3 hours, also on that Sunday."""
    axis = TimeAxis(epoch="2001-03-24", step_seconds=10_800)
    sunday = Period(start="2001-03-25", end="2001-03-26")
    assert axis.frames(sunday) == range(8, 16)
    assert str(axis.period(range(8, 16))) == "2001-03-25T00:00:00/2001-03-26T00:00:00"


def test_a_time_of_a_zone_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'2001-03-25T02:30\+02:00' is not a date"):
        Period(start="2001-03-25T02:30+02:00", end="2001-03-26")


@pytest.mark.parametrize(
    ("calendar", "epoch", "day", "after"),
    [
        ("standard", "2004-02-28", "2004-02-29", "2004-03-01"),
        ("noleap", "2004-02-27", "2004-02-28", "2004-03-01"),
        ("all_leap", "2001-02-28", "2001-02-29", "2001-03-01"),
        ("360_day", "2001-02-29", "2001-02-30", "2001-03-01"),
    ],
)
def test_the_last_day_of_february(calendar: str, epoch: str, day: str, after: str) -> None:
    """It is the second day of the axis, frames 8 to 16."""
    axis = TimeAxis(epoch=epoch, step_seconds=10_800, calendar=calendar)
    assert axis.frames(Period(start=day, end=after, calendar=calendar)) == range(8, 16)


@pytest.mark.parametrize(
    ("calendar", "day"),
    [("standard", "2001-02-29"), ("noleap", "2004-02-29"), ("360_day", "2001-01-31")],
)
def test_a_day_that_a_calendar_lacks_is_refused_by_name(calendar: str, day: str) -> None:
    with pytest.raises(ValueError, match=f"'{day}' is not a date of the {calendar} calendar"):
        Period(start=day, end="2010", calendar=calendar)


def test_an_end_before_the_start_is_refused_by_name() -> None:
    message = "period ends before it starts: start 2001-02, end 2001-01"
    with pytest.raises(ValueError, match=message):
        Period(start="2001-02", end="2001-01")


def test_dates_of_the_future_wait_for_their_input() -> None:
    """Two days of data, three days asked for a year later: three cells of 8 frames."""
    axis = TimeAxis(epoch="2001-01-01", step_seconds=10_800)
    planned = plan(
        axis,
        available=range(16),
        requested=axis.frames(Period(start="2002-01-01", end="2002-01-04")),
        source="gcm",
        cell_frames=8,
        members=range(2),
        ledger={},
    )
    assert [item.action for item in planned] == ["wait"] * 3
    assert planned[0].reason.startswith("waits for 2002-01-01T00:00:00/2002-01-02T00:00:00")
    assert planned[0].reason.endswith("the source holds 2001-01-01T00:00:00/2001-01-03T00:00:00")


def test_weights_of_another_architecture_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The card is right in itself, and describes a network with one block a level more."""
    from stvd.checkpoint import CARD, Card, Checkpoint, CheckpointError, _digest

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "other"))
    card = Card.read(folder)
    mean = card.model.mean.model_copy(update={"blocks": card.model.mean.blocks + 1})
    model = card.model.model_copy(update={"mean": mean})
    content = json.loads((folder / CARD).read_text())
    content["model"] = model.model_dump(mode="json")
    content["digest"] = _digest(card.weights_sha256, model, card.channels)
    (folder / CARD).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds another architecture"):
        Checkpoint.load(folder)
