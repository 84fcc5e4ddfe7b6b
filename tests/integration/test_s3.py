"""Products on a real S3 server: refused, throttled, cut off, killed and raced for."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fault_proxy import Fault, FaultProxy, Kind
from product_samples import KEY as FINGERPRINT
from product_samples import cell, make_grid, make_spec, publish, samples
from s3_server import KEY, READER, READER_SECRET, SECRET, S3Server, login, storage

from stvd.product import (
    AlreadyPublished,
    CommitRefused,
    DamagedProduct,
    Product,
    StorageRefused,
    StorageUnavailable,
    open_product,
)
from stvd.product.quarantine import FINDINGS, branch_of, quarantined, release
from stvd.published_tables import open_diagnostics
from stvd.report import report_on

TIMEOUT = float(os.environ.get("STVD_TEST_TIMEOUT", "4"))  # of a reply; more on a busy machine


@pytest.fixture
def product(proxy: FaultProxy, request: pytest.FixtureRequest) -> Product:
    """An empty product with room for four cells, reached through the proxy."""
    name = f"s3://tests/{abs(hash(request.node.name))}/product"
    options = storage(proxy.url)
    made = Product.create_or_open(name, make_spec(), make_grid(), storage=options)
    made.reserve(range(80))
    return made


def assert_holds(product: Product, *numbers: int) -> None:
    """All of these cells are published and right, nothing else is, and no branch is left."""
    assert list(product.ledger()) == [cell(n).id for n in numbers]
    read = open_product(product.uri, storage=product._location.options).pr.values
    expected = [samples(cell(n).frames, range(2)) for n in numbers]
    assert np.array_equal(read, np.concatenate(expected, axis=1) if numbers else read[:, :0])
    assert product._location.open().list_branches() == {"main"}


@pytest.mark.parametrize("kind", ["slow down", "error", "drop", "truncate"])
def test_what_passes_is_waited_for(kind: Kind, proxy: FaultProxy, product: Product) -> None:
    """Two replies of each sort are spoilt, of reading and of writing."""
    for pattern in ("GET .*refs", "GET .*manifests", "GET .*chunks", "PUT .*chunks"):
        proxy.faults.append(Fault(kind, pattern, times=2))
    publish(product, cell(0))
    assert [fault.met for fault in proxy.faults] == [2, 2, 2, 2]
    proxy.faults.clear()
    assert_holds(product, 0)


@pytest.mark.parametrize("what", ["refs/branch.main", "refs/branch.write", "snapshots", "chunks"])
def test_a_lost_reply_is_no_lost_work(what: str, proxy: FaultProxy, product: Product) -> None:
    before = len(proxy.requests)
    with proxy.fault("lose reply", f"PUT .*{what}", times=1) as fault:
        reference = publish(product, cell(0))
    assert fault.met == 1
    written = [
        line for line in proxy.requests[before:] if line.startswith("PUT") and "/chunks/" in line
    ]
    assert len(written) == len(set(written)) + (what == "chunks")  # 8 shards, each once
    assert product.ledger()[cell(0).id].snapshot == reference.snapshot
    assert_holds(product, 0)


@pytest.mark.parametrize("kind", ["slow down", "lose reply"])
def test_samples_are_kept_in_quarantine_and_released(
    kind: Kind, proxy: FaultProxy, product: Product
) -> None:
    options = storage(proxy.url)
    partition = cell(0)
    branch = branch_of(partition, FINGERPRINT)
    with (
        proxy.fault(kind, f"PUT .*{branch}", times=1) as fault,
        product.write(partition, FINGERPRINT) as writer,
    ):
        writer.put(partition.frames, partition.members, samples(partition.frames, range(2)))
        writer.set_aside(branch, {FINDINGS: ["too much rain"]})
    assert fault.met == 1
    assert product._location.open().list_branches() == {"main", branch}
    assert product.ledger() == {}
    with proxy.fault("slow down", "GET .*refs", times=2):
        (held,) = quarantined(product.uri, storage=options).values()
    assert held.findings == ("too much rain",)
    with proxy.fault(kind, f"DELETE .*{branch}", times=1):
        release(product.uri, branch, storage=options)
    assert_holds(product, 0)


def test_a_reply_that_never_comes_is_given_up_and_asked_for_again(
    proxy: FaultProxy, product: Product
) -> None:
    publish(product, cell(0))
    options = storage(proxy.url, timeout_seconds=TIMEOUT)
    hasty = Product.open(product.uri, storage=options)
    with proxy.fault("hang", "GET .*chunks", times=1) as fault:
        assert open_product(product.uri, storage=options).pr.sum() > 0
    with proxy.fault("hang", "PUT .*chunks", times=1) as other:
        publish(hasty, cell(1))
    assert (fault.met, other.met) == (1, 1)
    assert_holds(product, 0, 1)


@pytest.mark.parametrize("kind", ["slow down", "hang"])
def test_patience_ends_with_one_clear_error(
    kind: Kind, proxy: FaultProxy, product: Product
) -> None:
    publish(product, cell(0))
    options = storage(proxy.url, patience_seconds=0, timeout_seconds=TIMEOUT)
    hasty = Product.open(product.uri, storage=options)
    for pattern, call in (
        ("PUT .*chunks", lambda: publish(hasty, cell(1))),
        ("GET .*chunks", lambda: open_product(product.uri, storage=options).pr.load()),
        ("", hasty.ledger),
    ):
        start = time.monotonic()
        with proxy.fault(kind, pattern), pytest.raises(StorageUnavailable, match=product.uri):
            call()
        assert time.monotonic() - start < 6 * TIMEOUT
    assert list(product.ledger()) == [cell(0).id]
    publish(product, cell(1))
    assert list(product.ledger()) == [cell(0).id, cell(1).id]


REFUSED = {
    "wrong secret": ((KEY, "wrong-" + SECRET), "", "refuses the credentials .*SignatureDoesNot"),
    "unknown key": (("nobody", SECRET), "", "refuses the credentials .*InvalidAccessKeyId"),
    "no bucket": ((KEY, SECRET), "s3://no-such-bucket/p", "no bucket no-such-bucket at 127"),
    "may not write": ((READER, READER_SECRET), "", "denies access to s3://tests/.*AccessDenied"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_before_any_sampling(
    name: str, proxy: FaultProxy, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key, secret), uri, message = REFUSED[name]
    login(monkeypatch, key, secret)
    start, options = time.monotonic(), product._location.options

    def begin() -> None:
        where = uri or product.uri
        there = Product.create_or_open(where, make_spec(), make_grid(), storage=options)
        with there.write(cell(0), FINGERPRINT):
            pytest.fail("sampling began")

    with pytest.raises(StorageRefused, match=message) as refused:
        begin()
    assert time.monotonic() - start < 6 * TIMEOUT
    told = str(refused.value) + str(refused.value.__cause__)
    assert SECRET not in told
    assert READER_SECRET not in told
    login(monkeypatch, KEY, SECRET)
    assert_holds(product)


def test_without_credentials_it_says_which_to_set(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageRefused, match=r"No credentials .* AWS_ACCESS_KEY_ID"):
        product.ledger()


def test_writers_on_several_machines_race_without_a_lock(product: Product) -> None:
    """Each of three writers wants all three cells: one of them publishes each."""

    def want(numbers: list[int]) -> int:
        published = 0
        for number in numbers:
            try:
                publish(product, cell(number))
                published += 1
            except AlreadyPublished:
                continue
        return published

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(want, ([0, 1, 2], [0, 2, 1], [1, 0, 2]))) == 3
    assert_holds(product, 0, 1, 2)


def test_a_paused_writer_is_fenced(product: Product) -> None:
    with product.write(cell(0), "b" * 64) as paused:
        paused.put(range(20), range(2), samples(range(20), range(2), seed=9))
        publish(product, cell(0))
        with pytest.raises(CommitRefused, match="another writer published"):
            paused.commit()
    assert_holds(product, 0)


def test_a_server_that_is_killed_and_comes_back(s3: S3Server, product: Product) -> None:
    """It is gone when the samples are written, and back before patience ends."""
    publish(product, cell(0))
    with product.write(cell(1), FINGERPRINT) as writer:
        writer.put(cell(1).frames, range(2), samples(cell(1).frames, range(2)))
        s3.kill()
        back = threading.Timer(3, s3.start)
        back.start()
        writer.commit()
        back.join()
    assert_holds(product, 0, 1)


def test_a_chunk_of_a_product_that_the_store_lost_is_named(s3: S3Server, product: Product) -> None:
    prefix = product.uri.removeprefix("s3://tests/") + "/chunks/"

    def stored() -> set[str]:
        found = s3.client().list_objects_v2(Bucket="tests", Prefix=prefix)
        return {each["Key"] for each in found.get("Contents", ())}

    empty = stored()
    publish(product, cell(0))
    for key in stored() - empty:
        s3.client().delete_object(Bucket="tests", Key=key)
    with pytest.raises(DamagedProduct, match=r"pr/c/\d/\d/\d/0 .* cannot be read"):
        open_product(product.uri, storage=product._location.options).pr.load()


def test_a_product_is_diagnosed_beside_itself(
    proxy: FaultProxy, product: Product, tmp_path: Path
) -> None:
    """Tables go to `<product>.diagnostics` in the same storage, though replies to its creation and commit are lost."""
    publish(product, cell(0))
    options = storage(proxy.url)
    with proxy.fault("lose reply", "PUT .*diagnostics.*refs", times=2) as fault:
        report = report_on(product.uri, None, tmp_path / "report", storage=options)
    assert fault.met == 2
    assert any(f"{product.uri.removeprefix('s3:/')}.diagnostics" in r for r in proxy.requests)
    table = open_diagnostics(product.uri, "period_to_date", storage=options).load()
    assert table.attrs["product_snapshot"] == report.snapshot == product.snapshot
    with xr.open_dataset(report.tables["period_to_date.nc"]) as file:
        np.testing.assert_array_equal(table["pr_total"].values, file["pr_total"].values)
    assert {path.name for path in tmp_path.iterdir()} == {"report", "report.states"}
    assert report_on(product.uri, None, tmp_path / "report", storage=options) == report
