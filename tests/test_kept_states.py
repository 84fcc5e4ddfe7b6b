"""States of a product's cells: kept, counted once, and the same tables as from the product itself."""

from pathlib import Path

import xarray as xr
from product_samples import KEY, cell, make_product, samples

from stvd.diagnostics.tables import tables, tables_of_states
from stvd.kept_states import kept_states
from stvd.product import Product, open_product


def publish(product: Product, number: int, seed: int = 0, key: str = KEY, **how: bool) -> None:
    partition = cell(number)
    with product.write(partition, key, **how) as writer:
        pr = samples(partition.frames, partition.members, product.shape, seed)
        writer.put(partition.frames, partition.members, pr)
        writer.commit()


def states(product: Product, folder: Path) -> tuple[list[xr.Dataset], xr.Dataset]:
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
    total = first[1]["total"].load()
    names = {file.name for file in folder.iterdir()}
    publish(product, 1, seed=1, key="b" * 64, replace=True)
    second, _ = states(product, folder)
    assert len(names & {file.name for file in folder.iterdir()}) == 1
    assert len(list(folder.iterdir())) == 2
    assert not second[1]["total"].equals(total)
