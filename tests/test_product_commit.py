"""Many writers, lost replies and faults at the moment of publishing."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from filelock import FileLock
from product_samples import CELL, KEY, cell, make_product, publish, samples

from stvd.product import (
    AlreadyPublished,
    Busy,
    CommitRefused,
    DamagedProduct,
    Product,
    open_product,
)
from stvd.product.branch import STALE_AFTER, delete_stale, move_main
from stvd.product.draft import Draft
from stvd.product.scratch import Scratch
from stvd.product.storage import Location
from stvd.product.verification import assert_extent_not_retracted
from stvd.product.version import Version

Staged = list[str]


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> Staged:
    """Do `action` after the next partition is staged and before it is published.

    Returns the partitions that are staged, once for each time their samples are written.
    """
    staged: Staged = []
    stage = Draft.stage

    def stage_then_act(self: Draft, head: str, written: Scratch) -> str:
        snapshot = stage(self, head, written)
        staged.append(self._entry.partition)
        if len(staged) == 1:
            action()
        return snapshot

    monkeypatch.setattr(Draft, "stage", stage_then_act)
    return staged


def branches(product: Product) -> set[str]:
    return set(
        icechunk.Repository.open(icechunk.local_filesystem_storage(product.uri)).list_branches()
    )


def assert_holds(product: Product, *numbers: int) -> None:
    """All of these cells are published, nothing else is, and no branch is left."""
    ledger = product.ledger()
    assert list(ledger) == [cell(n).id for n in sorted(numbers)]
    assert len({entry.snapshot for entry in ledger.values()}) == len(numbers)
    for partition in ledger:
        product.verify(partition)
    expected = [samples(cell(n).frames, range(2)) for n in sorted(numbers)]
    assert np.array_equal(open_product(product.uri).pr, np.concatenate(expected, axis=1))
    assert branches(product) == {"main"}


@pytest.mark.parametrize(
    ("reserved", "staged"),
    [(True, [0, 1]), (False, [0, 1, 0])],
    ids=["samples are not written again", "both lengthen the axis"],
)
def test_another_partition_is_published_first(
    reserved: bool, staged: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    if reserved:
        product.reserve(range(40))
    seen = meanwhile(monkeypatch, lambda: publish(product, cell(1)))
    publish(product, cell(0))
    assert seen == [cell(n).id for n in staged]
    assert_holds(product, 0, 1)


def test_partitions_of_a_late_cell_and_an_early_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first stays within the axis, the second lengthens it under way."""
    product = make_product(tmp_path)
    publish(product, cell(2))
    meanwhile(monkeypatch, lambda: publish(product, cell(5)))
    publish(product, cell(0))
    assert_holds(product, 0, 2, 5)


def publish_all(product: Product, writers: int, numbers: list[int]) -> None:
    """Publish cells by several writers at once, in a random order."""
    order = random.Random(1).sample(numbers, len(numbers))
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(lambda n: publish(product, cell(n)), order))


@pytest.mark.parametrize("reserved", [0, 9], ids=["growing", "reserved"])
def test_three_writers_at_once(
    reserved: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of records and manifests end within the product, so that writers meet in them."""
    monkeypatch.setattr("stvd.product.creation.CELLS_A_MANIFEST", 2)
    monkeypatch.setattr("stvd.product.template.CELLS_A_CHUNK", 4)
    product = make_product(tmp_path)
    if reserved:
        product.reserve(range(reserved * CELL))
    publish_all(product, 3, list(range(9)))
    assert_holds(product, *range(9))


def test_without_locks_the_store_decides_who_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an object store: another writer moves `main` in the last moment, twice."""
    product = make_product(tmp_path)
    product.reserve(range(3 * CELL))
    seen = meanwhile(monkeypatch, lambda: None)
    faster = [1, 2]

    def move_second(repo: icechunk.Repository, head: str, snapshot: str) -> bool:
        if faster and snapshot in own:
            publish_unlocked(product, faster.pop(), monkeypatch)
        return move_main(repo, head, snapshot)

    own: set[str] = set()
    commit = Draft._commit

    def commit_and_note(self: Draft, head: str) -> str:
        snapshot = commit(self, head)
        if self._entry.partition == cell(0).id:
            own.add(snapshot)
        return snapshot

    monkeypatch.setattr(Draft, "_commit", commit_and_note)
    monkeypatch.setattr("stvd.product.writer.move_main", move_second)
    publish(product, cell(0))
    assert len(own) == 3
    assert seen.count(cell(0).id) == 1  # its samples were written once
    assert_holds(product, 0, 1, 2)


def test_the_same_partition_is_published_by_another_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    meanwhile(monkeypatch, lambda: publish(product, cell(0)))
    with pytest.raises(AlreadyPublished, match="by another writer"):
        publish(product, cell(0))
    assert_holds(product, 0)


def test_a_writer_that_slept_is_refused(tmp_path: Path) -> None:
    """It claimed the partition before another wrote it with another fingerprint."""
    product = make_product(tmp_path)
    with product.write(cell(0), KEY) as sleeper:
        sleeper.put(range(20), range(2), samples(range(20), range(2), seed=7))
        publish(product, cell(0), fingerprint="b" * 64)
        with pytest.raises(CommitRefused, match=r"fingerprint b{12}, while this one \(a{12}\)"):
            sleeper.commit()
    assert_holds(product, 0)


def test_of_two_that_replace_the_first_wins(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0), seed=3)
    with product.write(cell(0), "c" * 64, replace=True) as late:
        late.put(range(20), range(2), samples(range(20), range(2), seed=7))
        publish(product, cell(0), fingerprint="b" * 64, replace=True)
        with pytest.raises(CommitRefused):
            late.commit()
    assert_holds(product, 0)


@pytest.mark.parametrize("others", [0, 2], ids=["at once", "others moved on"])
def test_a_move_whose_reply_was_lost_has_landed(
    others: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    product.reserve(range(100))
    reset = icechunk.Repository.reset_branch
    lost: list[str] = []

    def reset_and_lose_reply(self: Any, branch: str, snapshot: str, **options: Any) -> None:
        reset(self, branch, snapshot, **options)
        if branch == "main" and not lost:
            lost.append(snapshot)
            for number in range(1, others + 1):
                publish_unlocked(product, number, monkeypatch)
            raise icechunk.IcechunkError("connection reset by peer")

    monkeypatch.setattr(icechunk.Repository, "reset_branch", reset_and_lose_reply)
    reference = publish(product, cell(0))
    assert lost == [reference.snapshot]
    assert product.ledger()[cell(0).id].snapshot == reference.snapshot
    assert_holds(product, *range(others + 1))


def publish_unlocked(product: Product, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish while this test's own writer holds the lock, as another machine could on S3."""
    with monkeypatch.context() as patch:
        patch.setattr("stvd.product.storage.FileLock", NoMainLock)
        publish(product, cell(number))


class NoMainLock(FileLock):
    """A lock of anything but `main`."""

    def acquire(self, *arguments: Any, **options: Any) -> Any:
        if not self.lock_file.endswith("main.lock"):
            return super().acquire(*arguments, **options)
        return None


def test_a_commit_whose_reply_was_lost_has_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    commit = icechunk.Session.commit

    def commit_and_lose_reply(self: Any, *arguments: Any, **options: Any) -> str:
        commit(self, *arguments, **options)
        raise icechunk.IcechunkError("connection reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(icechunk.Session, "commit", commit_and_lose_reply)
        publish(product, cell(0))
    assert_holds(product, 0)


@pytest.mark.parametrize("where", ["reset_branch", "commit"])
def test_a_store_that_fails_leaves_the_product_as_it_was(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    owner: Any = icechunk.Session if where == "commit" else icechunk.Repository
    works = getattr(owner, where)

    def fail(self: Any, *arguments: Any, **options: Any) -> Any:
        if where == "commit" or arguments[0] == "main":
            raise icechunk.IcechunkError("503 slow down")
        return works(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, where, fail)
        with pytest.raises(icechunk.IcechunkError, match="503 slow down"):
            publish(product, cell(1))
    assert_holds(product, 0)
    publish(product, cell(1))
    assert_holds(product, 0, 1)


def test_what_is_stored_wrongly_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of one value turns over between `put` and the store."""
    product = make_product(tmp_path)
    publish(product, cell(0))
    read = Scratch.read

    def read_with_a_flipped_bit(self: Scratch, shard: Any) -> np.ndarray:
        values = read(self, shard)
        if shard.name == "pr/c/1/3/1/0":
            values.view("u4")[4, 0, 0] ^= 1
        return values

    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "read", read_with_a_flipped_bit)
        message = "pr/c/1/3/1/0 .* not what was written: 1 frames.* frame 34 of member 1"
        with pytest.raises(DamagedProduct, match=message):  # shard 3 begins at frame 30
            publish(product, cell(1))
    assert_holds(product, 0)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("stvd.product.draft.write_entry", "The record of partition 000020-000040_m000-002"),
        ("icechunk.Session.merge", r"pr/c/0/2/0/0 of .* holds missing"),
    ],
    ids=["record", "samples"],
)
def test_a_commit_that_lacks_something_is_not_published(
    step: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    product.reserve(range(2 * CELL))
    with monkeypatch.context() as patch:
        patch.setattr(step, lambda *_: None)
        with pytest.raises(DamagedProduct, match=message):
            publish(product, cell(1))
    assert_holds(product, 0)


def test_samples_lost_on_the_way_to_a_later_version_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    product.reserve(range(2 * CELL))

    def publish_other_and_lose() -> None:
        publish(product, cell(1))
        monkeypatch.setattr(icechunk.Session, "merge", lambda *_: None)

    meanwhile(monkeypatch, publish_other_and_lose)
    with pytest.raises(DamagedProduct, match="pr/c/0/0/0/0 is missing from commit"):
        publish(product, cell(0))
    assert_holds(product, 1)


def test_published_frames_are_never_taken_back(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    for number in range(2):
        publish(product, cell(number))
    published = product.snapshot
    session = Location.parse(product.uri).open().writable_session("main")
    flags = zarr.open_group(session.store, mode="r+")["qc_flag"]
    assert isinstance(flags, zarr.Array)
    flags[1, 7] = 1
    session.commit("take a frame back")
    before = Version.open(Location.parse(product.uri), snapshot=published)
    after = Version.open(Location.parse(product.uri))
    target = product._target(cell(1))
    arguments = before.array("qc_flag"), after.array("qc_flag"), target
    with pytest.raises(DamagedProduct, match="would take published frames out of"):
        assert_extent_not_retracted(*arguments)
    assert_extent_not_retracted(arguments[0], arguments[0], target)


def test_a_full_disk_fails_the_partition_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "write", full)
        with pytest.raises(OSError, match="No space left"):
            publish(product, cell(1))
    assert_holds(product, 0)


def test_branches_of_killed_runs_are_deleted_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    location = Location.parse(product.uri)
    repo = location.open()
    dead, alive, other = "write.20260101T000000Z.dead", "write.20260101T000000Z.alive", "mine"
    for branch in (dead, alive, other):
        repo.create_branch(branch, repo.lookup_branch("main"))
    with location.lock(alive):
        publish(product, cell(0))
        assert branches(product) == {"main", alive, other}
    publish(product, cell(1))
    assert branches(product) == {"main", other}


def test_on_an_object_store_branches_go_by_age(tmp_path: Path) -> None:
    repo = Location.parse(make_product(tmp_path).uri).open()
    remote = Location.parse("s3://bucket/product")
    now = datetime(2026, 1, 2, tzinfo=UTC)
    old, young = "write.20260101T000000Z.a", "write.20260101T000001Z.b"
    for branch in (old, young):
        repo.create_branch(branch, repo.lookup_branch("main"))
    assert timedelta(days=1) == STALE_AFTER
    assert delete_stale(repo, remote, now) == [old]
    assert repo.list_branches() == {"main", young}


def test_a_lock_held_for_long_is_told(tmp_path: Path) -> None:
    location = Location.parse(make_product(tmp_path).uri)
    with (
        location.lock("main"),
        pytest.raises(Busy, match=r"Another process has been writing to .* for 0.01 s"),
        location.lock("main", wait=0.01),
    ):
        pass
