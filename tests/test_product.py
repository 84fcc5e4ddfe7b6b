"""What a product promises to those who write and keep it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr
from product_samples import (
    CELL,
    KEY,
    SHAPE,
    cell,
    make_grid,
    make_product,
    make_spec,
    publish,
    samples,
)
from pydantic import ValidationError

from stvd.fingerprint import digest_parts
from stvd.lattice import TimeAxis
from stvd.partition import Partition
from stvd.product import (
    AlreadyPublished,
    FingerprintConflict,
    IncompletePartition,
    InvalidBlock,
    NotPublished,
    PartitionOverlap,
    Product,
    ProductError,
    ProductMismatch,
    ProductNotFound,
    open_product,
)
from stvd.product.layout import blocks, default_layout
from stvd.product.storage import Location


def state(product: Product) -> tuple[str, int]:
    """What must not change when nothing is published: the version and the number of records."""
    return product.snapshot, len(product.ledger())


def test_what_was_put_is_what_is_read_in_whatever_order(tmp_path: Path) -> None:
    """Cells 2, 0, 1; within each, windows of 5 that cross shards of 10, members one by one."""
    product = make_product(tmp_path)
    for number in (2, 0, 1):
        partition = cell(number)
        with product.write(partition, KEY) as writer:
            for member in (1, 0):
                for first in (5, 0, 15, 10):
                    frames = range(
                        partition.frames.start + first, partition.frames.start + first + 5
                    )
                    block = samples(frames, range(member, member + 1))
                    writer.put(frames, range(member, member + 1), block)
            writer.commit()
    expected = samples(range(60), range(2))
    assert open_product(product.uri).pr.values.tobytes() == expected.tobytes()


def test_a_product_with_nothing_published_opens_empty(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    assert product.ledger() == {}
    ds = open_product(product.uri)
    assert ds.pr.shape == (2, 0, *SHAPE)
    assert ds.lat.values.tolist() == make_grid().lat.values.tolist()


def test_a_product_is_made_once_and_then_opened(tmp_path: Path) -> None:
    first = make_product(tmp_path)
    publish(first, cell(0))
    again = make_product(tmp_path)
    assert again.spec == first.spec
    assert list(again.ledger()) == ["000000-000020_m000-002"]
    assert Product.open(f"file://{tmp_path}/product").spec == first.spec
    assert sorted(p.name for p in tmp_path.iterdir()) == ["product"]


def test_there_is_no_product(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("something else")
    for name in ("nothing", "other"):
        assert not Product.exists(tmp_path / name)
        with pytest.raises(ProductNotFound, match=r"There is no product at .*" + name):
            Product.open(tmp_path / name)
    with pytest.raises(ProductError, match=r"No product can be made at .*other"):
        Product.create_or_open(tmp_path / "other", make_spec(), make_grid())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other"]


def test_of_two_that_make_a_product_the_slower_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked before the other was done."""
    first = make_product(tmp_path)
    publish(first, cell(0))
    monkeypatch.setattr(Product, "exists", lambda *_, **__: False)
    assert list(make_product(tmp_path).ledger()) == [cell(0).id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["product"]


def test_a_product_on_an_object_store_is_made_once_and_finished_if_need_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between making the repository and filling it, a run leaves it empty."""
    store = icechunk.in_memory_storage()
    monkeypatch.setattr(Location, "storage", lambda _: store)
    icechunk.Repository.create(store)
    uri = "s3://bucket/product"
    assert not Product.exists(uri)
    product = Product.create_or_open(uri, make_spec(), make_grid())
    made = product.snapshot
    monkeypatch.setattr(Product, "exists", lambda *_, **__: False)
    assert Product.create_or_open(uri, make_spec(), make_grid()).snapshot == made
    assert open_product(uri).sizes["time"] == 0


NOON = TimeAxis(epoch="2000-01-01T12:00:00", step_seconds=10800)
DIFFERENT: dict[str, tuple[dict[str, Any], Callable[[xr.Dataset], xr.Dataset], str]] = {
    "members": ({"members": 3}, lambda g: g, "members is 2 there, 3 asked for"),
    "epoch": ({"axis": NOON}, lambda g: g, "axis.epoch is '2000-01-01' there"),
    "cell": ({"cell_frames": 40}, lambda g: g, "cell_frames is 20 there, 40 asked for"),
    "chunks": ({"chunks": (5, 4, 4)}, lambda g: g, r"chunks is \[5, 4, 6\] there, \[5, 4, 4\]"),
    "rounding": ({"keepbits": 9}, lambda g: g, "keepbits is None there, 9 asked for"),
    "title": ({"title": "rain"}, lambda g: g, "title is '' there, 'rain' asked for"),
    "latitude": (
        {},
        lambda g: g.assign_coords(lat=g.lat + np.where(np.arange(8) == 3, 1e-9, 0.0)),
        r"grid.lat is .* at \[3\].*1 values differ",
    ),
    "no orography": ({}, lambda g: g.drop_vars("orog"), "grid.orog is 'is there' there"),
    "size": ({}, lambda g: g.isel(x=slice(0, 8)), r"grid.areacella is \(8, 12\) there"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_declaration_or_grid_is_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, other_grid, message = DIFFERENT[name]
    product = make_product(tmp_path)
    before = state(product)
    with pytest.raises(ProductMismatch, match=message):
        Product.create_or_open(product.uri, make_spec(**changes), other_grid(make_grid()))
    assert state(product) == before


def test_undecided_chunks_take_those_of_the_product(tmp_path: Path) -> None:
    make_product(tmp_path)
    assert make_product(tmp_path, chunks=None, shards=None).spec.chunks == (5, 4, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../x"}, "may hold letters"),
        ({"cell_frames": 21}, "cell_frames 21 is not a multiple of window 5"),
        ({"first_frame": 30}, "first_frame 30 is not a multiple of cell_frames 20"),
        ({"shards": (15, 4, 12)}, "not a whole number of shards of 15 frames"),
        ({"shards": (10, 8, 9)}, "not whole numbers of chunks"),
        ({"shards": None}, "both chunks and shards"),
        ({"axis": TimeAxis(epoch="2000-01-01", step_seconds=1)}, "step_seconds 1 is odd"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_declaration_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_spec(**changes)


def test_a_grid_without_cell_areas_or_of_another_factor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no areacella"):
        Product.create_or_open(tmp_path / "p", make_spec(), make_grid().drop_vars("areacella"))
    with pytest.raises(ValueError, match="8 times finer than its source, the product 4"):
        Product.create_or_open(tmp_path / "p", make_spec(factor=4), make_grid())
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("cell_frames", "rows", "columns", "chunks", "shards"),
    [
        (720, 384, 384, (240, 24, 24), (720, 96, 96)),  # DESIGN's example
        (240, 160, 320, (240, 24, 24), (240, 96, 96)),
        (250, 160, 320, (250, 24, 24), (250, 96, 96)),  # 250 is nearer to 240 than 125 is
        (20, 160, 320, (20, 80, 80), (20, 160, 320)),  # (138240 / 20)^0.5 = 83 -> 80
        (5, 16, 24, (5, 16, 24), (5, 16, 24)),  # no larger than the grid
        (7440, 1000, 50, (248, 24, 24), (744, 96, 72)),  # 7440 = 10 x 744, 744 = 3 x 248
    ],
)
def test_default_chunks_fit_the_cell_and_the_grid(
    cell_frames: int, rows: int, columns: int, chunks: tuple[int, ...], shards: tuple[int, ...]
) -> None:
    assert default_layout(cell_frames, rows, columns) == (chunks, shards)


def test_blocks_cover_each_cell_of_the_grid_once() -> None:
    count = np.zeros((2, 19, 10), int)
    for block in blocks(2, 19, 10, (5, 8, 8)):
        count[block.tile, block.y, block.x] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("fault", [None, RuntimeError("the model broke")], ids=["left", "raised"])
def test_leaving_without_commit_changes_nothing(fault: Exception | None, tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    before = state(product)

    def leave() -> None:
        with product.write(cell(1), KEY) as writer:
            writer.put(range(20, 40), range(2), samples(range(20, 40), range(2)))
            if fault:
                raise fault

    if fault:
        with pytest.raises(RuntimeError, match="the model broke"):
            leave()
    else:
        leave()
    assert state(product) == before


def test_a_partition_with_a_gap_is_not_published(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    before = state(product)
    with product.write(cell(0), KEY) as writer:
        writer.put(range(20), range(1), samples(range(20), range(1)))
        for first in (0, 5, 15):
            frames = range(first, first + 5)
            writer.put(frames, range(1, 2), samples(frames, range(1, 2)))
        with pytest.raises(IncompletePartition, match=r"lacks 5 of 40 .* frame 10 of member 1"):
            writer.commit()
    assert state(product) == before


def with_value(value: float) -> np.ndarray:
    block = samples(range(5), range(2))
    block[1, 3, 2, 7] = value
    return block


@pytest.mark.parametrize(
    ("frames", "members", "block", "message"),
    [
        (range(5), range(2), with_value(np.nan), r"member 1, frame 3, cell \(2, 7\) is nan"),
        (range(5), range(2), with_value(np.inf), r"member 1, frame 3, cell \(2, 7\) is inf"),
        (range(5), range(2), with_value(-1e-9), r"cell \(2, 7\) is -9.*1 values are missing"),
        (range(5), range(2), with_value(0).astype("f8"), "type float64"),
        (range(5), range(2), with_value(0)[:, :4], r"shape \(2, 4, 8, 12\)"),
        (range(20, 25), range(2), with_value(0), "frames 20-25 are not among those"),
        (range(5), range(1, 3), with_value(0), "members 1-3 are not among those"),
        (range(10, 15), range(2), with_value(0), "some that were put before"),
    ],
    ids=["NaN", "infinite", "negative", "type", "shape", "frames", "members", "twice"],
)
def test_impossible_blocks_are_refused(
    frames: range, members: range, block: np.ndarray, message: str, tmp_path: Path
) -> None:
    product = make_product(tmp_path)
    with product.write(cell(0), KEY) as writer:
        writer.put(range(10, 15), range(2), samples(range(10, 15), range(2)))
        with pytest.raises(InvalidBlock, match=message):
            writer.put(frames, members, block)


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (Partition(source="era5", frames=range(20), members=range(2)), "is of source 'era5'"),
        (Partition(source="gcm", frames=range(10, 30), members=range(2)), "not one cell of 20"),
        (Partition(source="gcm", frames=range(40), members=range(2)), "not one cell of 20"),
        (Partition(source="gcm", frames=range(20), members=range(1, 3)), "not among the 2"),
    ],
    ids=["source", "between cells", "two cells", "members"],
)
def test_what_is_no_partition_of_the_product_is_refused(
    partition: Partition, message: str, tmp_path: Path
) -> None:
    product = make_product(tmp_path)
    with pytest.raises(ValueError, match=message), product.write(partition, KEY):
        pass


def test_the_same_fingerprint_is_there_already(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    before = state(product)
    with pytest.raises(AlreadyPublished, match=r"000000-000020_m000-002 .* same fingerprint"):
        publish(product, cell(0))
    assert state(product) == before


def test_another_fingerprint_is_a_conflict_that_says_what_differs(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0), parts=digest_parts({"seed": 1, "checkpoint": "v1"}))
    before = state(product)
    message = "aaaaaaaaaaaa instead of bbbbbbbbbbbb: checkpoint is v1 there and v2 now.*replace"
    with pytest.raises(FingerprintConflict, match=message):
        publish(
            product,
            cell(0),
            fingerprint="b" * 64,
            parts=digest_parts({"seed": 1, "checkpoint": "v2"}),
        )
    assert state(product) == before


def test_replacing_is_explicit_and_keeps_the_past(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    old = publish(product, cell(0))
    product.tag("v1")
    new = publish(product, cell(0), seed=1, fingerprint="b" * 64, replace=True)
    for version, seed in ({"tag": "v1"}, 0), ({"snapshot": old.snapshot}, 0), ({}, 1):
        read = open_product(product.uri, **version).pr.values
        assert np.array_equal(read, samples(range(20), range(2), seed=seed))
    assert product.ledger()["000000-000020_m000-002"].fingerprint == "b" * 64
    assert product.snapshot == new.snapshot


def test_a_damaged_partition_can_be_replaced_by_itself(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    publish(product, cell(0), replace=True)
    assert len(product.ledger()) == 1


def test_members_in_several_partitions_never_overlap(tmp_path: Path) -> None:
    product = make_product(tmp_path, members=6)
    publish(product, cell(0, range(2)))
    publish(product, cell(0, range(2, 6)))
    with pytest.raises(PartitionOverlap, match=r"m001-003 shares members with .*m000-002"):
        publish(product, cell(0, range(1, 3)), replace=True)
    assert np.array_equal(open_product(product.uri).pr, samples(range(20), range(6)))


def test_the_ledger_tells_what_stands_and_each_snapshot_holds_its_partition(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    record = {"model": "stvd@3", "device": "cpu", "seconds": 12.5, "packages": {"torch": "2.13"}}
    refs = {n: publish(product, cell(n), provenance=record) for n in (1, 0, 3)}
    ledger = product.ledger()
    assert list(ledger) == [cell(n).id for n in (0, 1, 3)]
    for number, ref in refs.items():
        entry = ledger[cell(number).id]
        assert (entry.frames, entry.members) == (cell(number).frames, range(2))
        assert entry.snapshot == ref.snapshot
        assert entry.seconds == 12.5
        assert entry.provenance == {"model": "stvd@3", "device": "cpu"}
        assert entry.stored_bytes > 1000
        assert product.provenance(entry.partition)["provenance"] == record
        product.verify(entry.partition)
    then = open_product(product.uri, snapshot=refs[0].snapshot)
    assert then.sizes["time"] == 40  # cells 1 and 0, before 3


def test_reading_the_ledger_takes_one_request_for_32_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 cells are 4 chunks of 32, of which the first and the last hold records."""
    product = make_product(tmp_path)
    product.reserve(range(100 * CELL))
    for number in (0, 99):
        publish(product, cell(number))
    requests: list[str] = []
    get = icechunk.IcechunkStore.get

    async def counting(self: Any, key: str, *arguments: Any, **options: Any) -> Any:
        requests.append(key)
        return await get(self, key, *arguments, **options)

    monkeypatch.setattr(icechunk.IcechunkStore, "get", counting)
    assert len(product.ledger()) == 2
    assert sorted(k for k in requests if "/c/" in k) == [
        f"ledger/records/c/{n}/0" for n in range(4)
    ]
    assert len(requests) < 12  # the rest opens groups and arrays


def test_unknown_partitions_are_named(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    for question in (product.verify, product.provenance):
        with pytest.raises(NotPublished, match="000000-000020_m000-002 is not published"):
            question("000000-000020_m000-002")


def test_provenance_must_be_json(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    with pytest.raises(ProductError, match="provenance cannot be written as JSON"):
        publish(product, cell(0), provenance={"model": object()})
    assert product.ledger() == {}


def test_rounding_is_declared_and_bounded(tmp_path: Path) -> None:
    """7 explicit bits: the nearest such number is at most 2^-8 away, relatively."""
    product = make_product(tmp_path, keepbits=7)
    publish(product, cell(0))
    pr = open_product(product.uri).pr
    exact = samples(range(20), range(2))
    assert (pr.attrs["quantization"], pr.attrs["quantization_nsb"]) == ("BitRound", 7)
    bits = pr.values.view("u4")
    assert not (bits & ((1 << 16) - 1)).any()  # 23 - 7 = 16 bits are zero
    assert np.all(np.abs(pr.values - exact) <= exact * 2.0**-8)
    assert not np.array_equal(pr.values, exact)


def test_a_product_may_begin_late_in_its_record(tmp_path: Path) -> None:
    product = make_product(tmp_path, first_frame=100 * CELL)
    publish(product, cell(101))
    ds = open_product(product.uri)
    assert np.array_equal(ds.pr, samples(range(2020, 2040), range(2)))
    assert str(ds.time.values[0])[:16] == "2000-09-09T13:30"  # 2020 x 3 h = 252.5 days, + 1.5 h
    with pytest.raises(ValueError, match="lie before frame 2000"):
        publish(product, cell(99))


def test_a_name_for_a_version_stays(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    named = product.tag("v1")
    assert product.tag("v1") == named
    publish(product, cell(1))
    with pytest.raises(ProductError, match=r"v1 .* names snapshot .* cannot be moved"):
        product.tag("v1")
    with pytest.raises(ProductError, match="may hold letters"):
        product.tag("../v1")
    assert product.tags() == {"v1": named}


def test_reserved_frames_stay_hidden(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    product.reserve(range(95))  # to the end of cell 4
    after = product.snapshot
    for frames in (range(60), range(100)):
        product.reserve(frames)
    assert product.snapshot == after
    assert open_product(product.uri).sizes["time"] == 20
    assert open_product(product.uri, unpublished=True).sizes["time"] == 100
    assert product.ledger()[cell(0).id].snapshot != after


def test_garbage_is_collected_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that fails after its samples were stored leaves them behind."""
    product = make_product(tmp_path)
    publish(product, cell(0))
    chunks = set((tmp_path / "product" / "chunks").iterdir())

    def fail(*_: Any) -> bool:
        raise OSError("no more")

    with monkeypatch.context() as patch:
        patch.setattr("stvd.product.writer.move_main", fail)
        with pytest.raises(OSError, match="no more"):
            publish(product, cell(1))
    left = set((tmp_path / "product" / "chunks").iterdir()) - chunks
    assert left
    assert product.collect_garbage(timedelta(days=1)) == 0
    assert product.collect_garbage(timedelta(0)) >= sum(
        f.stat().st_size for f in left if f.exists()
    )
    assert set((tmp_path / "product" / "chunks").iterdir()) == chunks
    product.verify(cell(0).id)


def test_too_little_scratch_space_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**10}))
    with pytest.raises(ProductError, match="GiB of scratch space"), product.write(cell(0), KEY):
        pass
