"""States of a product's cells: kept, counted once, and the same tables as from the product itself."""

import gc
import os
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import xarray as xr
from product_samples import KEY, cell, make_grid, make_product, samples

from stvd.diagnostics.tables import tables, tables_of_states
from stvd.kept_states import kept_states
from stvd.product import Product, open_product


def publish(product: Product, number: int, seed: int = 0, key: str = KEY, **how: bool) -> None:
    partition = cell(number)
    with product.write(partition, key, **how) as writer:
        pr = samples(partition.frames, partition.members, product.shape, seed)
        writer.put(partition.frames, partition.members, pr)
        writer.commit()


def states(product: Product, folder: Path) -> tuple[Iterable[xr.Dataset], xr.Dataset]:
    published = open_product(product.uri)
    return kept_states(published, product.spec, product.ledger().values(), folder), published


def test_a_new_cell_costs_a_cell_and_changes_nothing_else(tmp_path: Path) -> None:
    product, folder = make_product(tmp_path), tmp_path / "states"
    publish(product, 0)
    publish(product, 1)
    states(product, folder)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    publish(product, 2)
    found, published = states(product, folder)
    after = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(before) == 2
    assert len(after) == 3
    assert before.items() <= after.items()

    area = published["areacella"].compute()
    kept = tables_of_states(found, area)
    direct = tables(published["pr"], area, product.spec.axis)
    assert kept.notes == direct.notes
    assert kept.period_to_date is not None
    xr.testing.assert_identical(kept.period_to_date, direct.period_to_date)


def test_a_cell_that_was_replaced_is_counted_anew(tmp_path: Path) -> None:
    product, folder = make_product(tmp_path), tmp_path / "states"
    publish(product, 0)
    publish(product, 1)
    first, _ = states(product, folder)
    total = [kept["total"].load() for kept in first][1]
    names = {file.name for file in folder.iterdir()}
    publish(product, 1, seed=1, key="b" * 64, replace=True)
    second, _ = states(product, folder)
    assert len(names & {file.name for file in folder.iterdir()}) == 1
    assert len(list(folder.iterdir())) == 2
    assert not [kept["total"].load() for kept in second][1].equals(total)


def test_one_file_is_open_at_a_time(tmp_path: Path) -> None:
    """What was read of a NetCDF file stays in memory until it is closed."""
    product, folder = make_product(tmp_path), tmp_path / "states"
    for number in range(3):
        publish(product, number)
    found, published = states(product, folder)

    def opened() -> int:
        links = (Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
        files = [os.readlink(link) for link in links if link.is_symlink()]
        return sum(f.startswith(str(tmp_path)) and f.endswith(".nc") for f in files)

    seen = []
    for kept in found:
        kept["total"].load()
        seen.append(opened())
    assert seen == [1, 1, 1]
    tables_of_states(found, published["areacella"].compute())
    assert opened() == 0


def test_memory_is_that_of_a_cell_however_many_there_are(tmp_path: Path) -> None:
    """Counting, keeping and merging 6 cells takes no more than 2 do; the states of a cell have 1 MB here.

    Half of the 4 MB that kept states would add is left to garbage that waits to be collected.
    """
    shape = (32, 48)
    product = make_product(tmp_path, shape, **dict.fromkeys(("chunks", "shards")))
    area = make_grid(shape)["areacella"]

    def peak(first: int, last: int) -> int:
        for number in range(first, last):
            publish(product, number)
        gc.collect()
        tracemalloc.start()
        found, _ = states(product, tmp_path / f"states_{last}")
        tables_of_states(found, area, cycles=False)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(0, 1)  # what is imported and compiled
    few, many = peak(1, 2), peak(2, 6)
    assert many < few + 2_000_000
