"""The diagnostics product: tables in one commit beside the product, read back as they were."""

from __future__ import annotations

from pathlib import Path

import icechunk
import pytest
import xarray as xr
from diagnostic_tables import annual, monthly

from stvd.diagnostics.climate import seasons
from stvd.product import NotPublished, ProductNotFound, StorageOptions
from stvd.published_tables import diagnosed, diagnostics_uri, open_diagnostics, publish_tables


def tables() -> dict[str, xr.Dataset]:
    """Years without a leap day, and seasons with their names."""
    of_years = annual([700.0, 800.0, 900.0]).to_dataset().assign_attrs(period="2001/2003")
    of_seasons = seasons(monthly(list(range(2, 8)), pr_total=[10.0] * 6))
    assert of_seasons is not None
    return {"annual": of_years, "seasonal": of_seasons}


def test_tables_are_read_back_and_say_of_which_snapshot_they_are(tmp_path: Path) -> None:
    uri = str(tmp_path / "gcm")
    snapshot = publish_tables(tables(), uri, snapshot="ABC", made_of="1")
    assert (tmp_path / "gcm.diagnostics").is_dir()
    found = open_diagnostics(uri, "annual").load()
    assert found.attrs == {"period": "2001/2003", "product_snapshot": "ABC"}
    expected = tables()["annual"].drop_attrs(deep=False)
    xr.testing.assert_equal(found.drop_attrs(deep=False), expected)
    assert found["pr_total"].attrs["cell_methods"] == "time: sum area: mean"
    assert open_diagnostics(uri, "seasonal")["season"].values.tolist() == ["MAM", "JJA"]
    with pytest.raises(NotPublished, match=r"no trends; there are \['annual', 'seasonal'\]"):
        open_diagnostics(uri, "trends")
    assert publish_tables(tables(), uri, snapshot="ABC", made_of="1") == snapshot


def test_what_is_new_replaces_all_and_the_old_stays_by_its_snapshot(tmp_path: Path) -> None:
    uri = str(tmp_path / "gcm")
    old = publish_tables(tables(), uri, snapshot="ABC", made_of="1")
    later = {"annual": tables()["annual"] + 1}
    new = publish_tables(later, uri, snapshot="DEF", made_of="2")
    assert new != old
    assert open_diagnostics(uri, "annual")["pr_total"].values.ravel().tolist() == [701, 801, 901]
    with pytest.raises(NotPublished, match="no seasonal"):
        open_diagnostics(uri, "seasonal")
    before = open_diagnostics(uri, "seasonal", snapshot=old)
    assert before.attrs["product_snapshot"] == "ABC"
    storage = icechunk.local_filesystem_storage(diagnostics_uri(uri))
    commits = list(icechunk.Repository.open(storage).ancestry(branch="main"))
    assert [c.message for c in commits[:2]] == [
        "diagnostics of gcm at DEF", "diagnostics of gcm at ABC",
    ]  # fmt: skip


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    uri = str(tmp_path / "gcm")
    publish_tables(tables(), uri, snapshot="ABC", made_of="1")
    broken = {**tables(), "bad": xr.Dataset({"x": ("y", [object(), object()])})}
    with pytest.raises((TypeError, ValueError)):
        publish_tables(broken, uri, snapshot="DEF", made_of="2")
    assert open_diagnostics(uri, "annual").attrs["product_snapshot"] == "ABC"
    assert open_diagnostics(uri, "seasonal").sizes["time"] == 2


def test_a_product_that_was_not_diagnosed(tmp_path: Path) -> None:
    with pytest.raises(ProductNotFound, match="run `stvd diagnose` for it first"):
        open_diagnostics(str(tmp_path / "gcm"), "annual", storage=StorageOptions())


def test_what_was_diagnosed_is_known_by_its_snapshot(tmp_path: Path) -> None:
    uri = str(tmp_path / "gcm")
    assert diagnosed(uri) is None
    icechunk.Repository.create(icechunk.local_filesystem_storage(diagnostics_uri(uri)))
    assert diagnosed(uri) is None, "begun by a run that was killed"
    publish_tables(tables(), uri, snapshot="ABC", made_of="1")
    assert diagnosed(uri) == "ABC"
