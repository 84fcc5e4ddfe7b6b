"""Partitions and plans, on a lattice of 10-frame cells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from stvd.lattice import IndexRange, TimeAxis
from stvd.partition import Mode, Partition, Planned, plan

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=21600, calendar="noleap")


class Entry(BaseModel):
    frames: IndexRange
    members: IndexRange
    fingerprint: str = "a" * 64
    written_at: str = "2026-01-01T00:00:00Z"


def make_plan(
    available: range,
    requested: range | None = None,
    published: list[Entry] | None = None,
    mode: Mode = "missing",
    fingerprint_of: Callable[[Partition], str] | None = None,
    members: range = range(4),
    reads: Callable[[range], range] | None = None,
) -> list[Planned]:
    return plan(
        AXIS,
        available,
        requested,
        source="gcm",
        cell_frames=10,
        members=members,
        reads=reads,
        ledger={str(i): e for i, e in enumerate(published or [])},
        fingerprint_of=fingerprint_of,
        mode=mode,
    )


def brief(planned: list[Planned]) -> list[tuple[str, str]]:
    return [(p.partition.id, p.action) for p in planned]


def test_an_id_names_its_partition_and_reads_back() -> None:
    partition = Partition(source="gcm", frames=range(240, 480), members=range(4, 8))
    assert partition.id == "000240-000480_m004-008"
    assert Partition.from_id("gcm", partition.id) == partition


@pytest.mark.parametrize("text", ["", "../x", "1-2_m0-1", "000240-000480_m000-004/.."])
def test_another_text_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not a partition id"):
        Partition.from_id("gcm", text)


@pytest.mark.parametrize("frames", [range(5, 5), range(-10, 0)], ids=["empty", "before frame 0"])
def test_frames_of_a_partition_are_some_and_not_negative(frames: range) -> None:
    with pytest.raises(ValidationError, match=r"frames .* must be a non-empty range"):
        Partition(source="gcm", frames=frames, members=range(1))


def test_what_is_available_and_not_published_runs_in_order_of_time() -> None:
    planned = make_plan(range(30), published=[Entry(frames=range(10, 20), members=range(4))])
    assert brief(planned) == [
        ("000000-000010_m000-004", "run"),
        ("000010-000020_m000-004", "skip"),
        ("000020-000030_m000-004", "run"),
    ]
    assert planned == make_plan(
        range(30), published=[Entry(frames=range(10, 20), members=range(4))]
    )


def test_a_cell_that_is_not_wholly_there_waits_and_says_for_what() -> None:
    # 25 frames of 6 h: cell 2 is frames 20-30, that is day 5 to day 7.5, and ends 1.25 days short
    planned = make_plan(range(25))
    assert [p.action for p in planned] == ["run", "run", "wait"]
    assert planned[2].reason == (
        "waits for 2001-01-06T00:00:00/2001-01-08T12:00:00 (frames 20-30): "
        "the source holds 2001-01-01T00:00:00/2001-01-07T06:00:00"
    )


def test_a_cell_waits_for_the_frames_that_its_windows_reach() -> None:
    def reads(frames: range) -> range:
        return range(frames.start, frames.stop + 3)

    published = [Entry(frames=range(10, 20), members=range(4))]
    assert [p.action for p in make_plan(range(23), reads=reads)] == ["run", "run", "wait"]
    planned = make_plan(range(22), reads=reads)
    assert [p.action for p in planned] == ["run", "wait", "wait"]
    assert planned[1].reason == (
        "waits for 2001-01-06T00:00:00/2001-01-06T18:00:00 (frames 20-23), with which its last windows "
        "overlap: the source holds 2001-01-01T00:00:00/2001-01-06T12:00:00. If it has ended, ask with "
        "open end"
    )
    planned = make_plan(range(22), reads=reads, published=published, mode="replace")
    assert [p.action for p in planned] == ["run", "skip", "wait"]


def test_a_request_is_widened_to_whole_cells_and_may_lie_beyond_the_source() -> None:
    planned = make_plan(range(20), requested=range(17, 31))
    assert brief(planned) == [
        ("000010-000020_m000-004", "run"),
        ("000020-000030_m000-004", "wait"),
        ("000030-000040_m000-004", "wait"),
    ]


def test_an_empty_request_plans_nothing() -> None:
    assert make_plan(range(100), requested=range(0)) == []
    assert make_plan(range(0)) == []


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [("missing", "stale", "skip"), ("stale", "replace", "skip"), ("replace", "replace", "replace")],
)
def test_what_happens_to_published_partitions(mode: Mode, first: str, second: str) -> None:
    """Cell 0 was published with fingerprint b, cell 1 with a; both would be a today."""
    published = [
        Entry(frames=range(10), members=range(4), fingerprint="b" * 64),
        Entry(frames=range(10, 20), members=range(4)),
    ]
    calls: list[str] = []

    def today(partition: Partition) -> str:
        calls.append(partition.id)
        return "a" * 64

    planned = make_plan(range(30), published=published, mode=mode, fingerprint_of=today)
    assert [p.action for p in planned] == [first, second, "run"]
    assert calls == [
        "000000-000010_m000-004",
        "000010-000020_m000-004",
    ]  # once each, none unpublished
    assert "bbbbbbbbbbbb, its inputs now give aaaaaaaaaaaa" in planned[0].reason


def test_a_published_partition_whose_source_went_away_is_left_alone() -> None:
    published = [Entry(frames=range(10), members=range(4))]
    planned = make_plan(range(10, 20), requested=range(20), published=published, mode="replace")
    assert [p.action for p in planned] == ["skip", "run"]


def test_more_members_run_beside_those_that_stand() -> None:
    published = [Entry(frames=range(10), members=range(2, 5))]
    planned = make_plan(range(10), published=published, members=range(8))
    assert brief(planned) == [
        ("000000-000010_m000-002", "run"),
        ("000000-000010_m002-005", "skip"),
        ("000000-000010_m005-008", "run"),
    ]


def test_ten_thousand_cells_are_planned_without_asking_for_any_fingerprint_twice() -> None:
    published = [Entry(frames=range(10 * k, 10 * k + 10), members=range(4)) for k in range(10_000)]
    calls = 0

    def today(partition: Partition) -> str:
        nonlocal calls
        calls += 1
        return "a" * 64

    planned = make_plan(range(100_050), published=published, fingerprint_of=today)
    assert calls == 10_000
    assert [p.action for p in planned].count("skip") == 10_000
    assert [p.action for p in planned[10_000:]] == ["run"] * 5 + ["wait"] * 0
    assert len(planned) == 10_005
