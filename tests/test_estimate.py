from datetime import UTC, datetime

from product_samples import CELL, cell, make_product, publish

from stvd.estimate import Estimate, Rate, size
from stvd.partition import Planned
from stvd.product import LedgerEntry

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def entry(number: int, seconds: float, device: str = "cpu", nbytes: int = 4000) -> LedgerEntry:
    partition = cell(number)
    return LedgerEntry(
        partition=partition.id,
        source="gcm",
        frames=partition.frames,
        members=partition.members,
        fingerprint="a" * 64,
        content="",
        token=str(number),
        seconds=seconds,
        stored_bytes=nbytes,
        written_at=f"2029-01-01T00:00:{number:02d}Z",
        provenance={"device": device},
    )


def planned(number: int, action: str = "run") -> Planned:
    return Planned(partition=cell(number), action=action, reason="because")


def test_cost_is_the_median_of_the_device_used_last():
    # two members of 20 frames: 40 samples; the slow CPU of the first is not the GPU of the rest
    ledger = [
        entry(0, 9000, "cpu"),
        *(entry(k, s, "cuda") for k, s in enumerate((40, 80, 4000), 1)),
    ]
    rate = Rate.learnt(ledger)
    assert rate == Rate(partitions=3, device="cuda", seconds=2.0, nbytes=100.0)


def test_a_plan_costs_what_its_runs_cost():
    plan = [planned(0, "skip"), planned(7), planned(8, "replace")]
    estimate = Estimate.of(plan, [entry(0, 1800)])
    assert estimate.partitions == 2
    assert estimate.device_hours == 1.0  # 2 x 1800 s
    assert estimate.nbytes == {cell(7).id: 4000, cell(8).id: 4000}
    assert estimate.finish(NOW) == datetime(2030, 1, 1, 1, tzinfo=UTC)
    assert estimate.finish(NOW, at_once=2) == datetime(2030, 1, 1, 0, 30, tzinfo=UTC)
    assert estimate.sentence(NOW, at_once=2) == (
        "2 to run: about 1 device-hours on cpu and 8 kB, done about 2030-01-01 00:30 UTC "
        "if begun now, 2 at once (learnt from 1 partitions)"
    )


def test_without_history_nothing_is_made_up():
    estimate = Estimate.of([planned(0)], [])
    assert estimate.rate is None
    assert "nothing yet to learn" in estimate.sentence(NOW)
    assert Estimate.of([planned(0, "wait")], []).sentence(NOW) == "nothing to run"


def test_a_real_ledger_has_what_is_needed(tmp_path):
    product = make_product(tmp_path)
    publish(product, cell(0), provenance={"device": "cpu", "seconds": 4 * CELL})
    estimate = Estimate.of([planned(1)], product.ledger().values())
    assert estimate.seconds == {cell(1).id: 4 * CELL}
    stored = product.ledger()[cell(0).id].stored_bytes
    assert estimate.nbytes == {cell(1).id: stored}
    assert stored > 0


def test_sizes_are_for_readers():
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 3e13)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 GB",
        "30 TB",
    ]
