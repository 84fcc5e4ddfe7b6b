"""A disk that takes no more while a partition is written, as the kernel says it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from product_samples import KEY, cell, make_product, publish, samples

from stvd.product import StorageRefused, open_product
from tasks.retry import is_transient


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: a write fails as on a full disk, with another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [16, 500, 1400], ids=["a branch", "samples", "later"])
def test_a_full_disk_at_publishing_fails_the_partition_alone(room: int, tmp_path: Path) -> None:
    """References are 40 bytes, shards about 900, manifests and snapshots more."""
    product = make_product(tmp_path)
    publish(product, cell(0))
    before = product.snapshot
    with product.write(cell(1), KEY) as writer:
        writer.put(cell(1).frames, range(2), samples(cell(1).frames, range(2)))
        with files_up_to(room), pytest.raises(StorageRefused, match="cannot be written") as full:
            writer.commit()
    assert not is_transient(full.value)
    assert product.snapshot == before
    assert np.array_equal(open_product(product.uri).pr, samples(range(20), range(2)))
    publish(product, cell(1))
    product.verify(cell(1).id)


def test_a_full_scratch_disk_fails_the_partition_alone(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    with product.write(cell(0), KEY) as writer:
        writer.put(range(5), range(2), samples(range(5), range(2)))
        with files_up_to(1000), pytest.raises(OSError, match="File too large"):
            writer.put(range(5, 20), range(2), samples(range(5, 20), range(2)))
    assert product.ledger() == {}
    publish(product, cell(0))
