"""Sources on a real S3 server, and the way from there to a product there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from fault_proxy import FaultProxy, Kind
from s3_server import KEY, SECRET, S3Server, login, storage

from stvd.catalog import open_source
from stvd.contract import CatalogError
from stvd.lattice import TimeAxis
from stvd.layout import catalog_of_file, write_record
from stvd.product import open_product
from stvd.reading import DamagedSource
from stvd.synthetic import synthetic_coarse, synthetic_grid

SHAPE = (16, 32)


@pytest.fixture
def catalog(s3: S3Server, tmp_path: Path, proxy: FaultProxy) -> Path:
    """A catalog, itself local, of a coarse record and its grid in one store on the server."""
    axis = TimeAxis(epoch="2001-02-20", step_seconds=10_800)
    return upload(s3, tmp_path, synthetic_coarse(axis, range(20), SHAPE), synthetic_grid(SHAPE))


def upload(
    s3: S3Server, folder: Path, coarse: xr.Dataset, grid: xr.Dataset, prefix: str = "in"
) -> Path:
    """Write a record to `folder` and to the server; the catalog of that on the server."""
    write_record(folder / "record.zarr", coarse, grid)
    for file in (f for f in (folder / "record.zarr").rglob("*") if f.is_file()):
        s3.client().upload_file(str(file), "tests", f"{prefix}/{file.relative_to(folder)}")
    document = catalog_of_file(str(folder / "record.zarr"))
    document["data"]["file"]["kwargs"]["url"] = "{root}/record.zarr"
    root_parameter = {"cls": "intake.readers.user_parameters:SimpleUserParameter"}
    document |= {
        "user_parameters": {"root": root_parameter},
        "metadata": {"default_root": f"s3://tests/{prefix}"},
    }
    (folder / "catalog.yaml").write_text(yaml.safe_dump(document))
    return folder / "catalog.yaml"


@pytest.mark.parametrize("kind", ["slow down", "drop", "truncate"])
def test_a_source_is_waited_for(kind: Kind, proxy: FaultProxy, catalog: Path) -> None:
    with proxy.fault(kind, "GET .*pr_coarse/c", times=2) as fault:
        rain = open_source("record", catalog=catalog).pr.values
    assert fault.met == 2
    assert np.array_equal(rain, open_source("record", catalog=catalog.parent / "record.zarr").pr)


def test_a_source_out_of_reach_is_worth_another_try(proxy: FaultProxy, catalog: Path) -> None:
    rain = open_source("record", catalog=catalog)
    with (
        proxy.fault("truncate", "GET .*pr_coarse/c"),
        pytest.raises(ConnectionError, match=r"pr_coarse at s3://.* cannot be reached"),
    ):
        rain.pr.load()


def test_a_source_that_is_refused_is_named(
    s3: S3Server, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CatalogError, match="there is no bucket no-such-bucket"):
        open_source("record", catalog=catalog, root="s3://no-such-bucket/in")
    with pytest.raises(CatalogError, match=r"No group found .*record\.zarr.*root names"):
        open_source("record", catalog=catalog, root="s3://tests/elsewhere")
    s3.client().delete_object(Bucket="tests", Key="in/record.zarr/pr_coarse/c/0/0/0")
    with pytest.raises(DamagedSource, match=r"pr_coarse/c/0/0/0 .*of s3://.* is missing or empty"):
        open_source("record", catalog=catalog).pr.load()
    login(monkeypatch, KEY, "wrong-" + SECRET)
    with pytest.raises(CatalogError, match="access is denied") as denied:
        open_source("record", catalog=catalog)
    assert SECRET not in str(denied.value)
    login(monkeypatch, "", "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CatalogError, match="no credentials were found"):
        open_source("record", catalog=catalog)


def test_the_same_partitions_from_s3_to_s3_as_from_folder_to_folder(
    s3: S3Server, proxy: FaultProxy, record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Coarse input, grid and product; the catalog is a local file."""
    from stvd.generate import examine, produce
    from stvd.production import Production
    from stvd.source import Source

    def run(product: str, source: Source) -> np.ndarray:
        options = storage(proxy.url)
        how = Production(
            product=product, source=source, checkpoint=str(tiny_checkpoint), members=2, steps=1,
            cell_frames=10, device="cpu", storage=options,
        )  # fmt: skip
        for item in how.plan():
            assert not examine(how, item.partition)
            assert produce(how, item.partition).published
        assert not any(item.runs for item in how.plan())
        return np.asarray(open_product(product, storage=options).pr.values)

    coarse, grid = (open_source(name, catalog=record) for name in ("corner", "corner_grid"))
    catalog = upload(s3, tmp_path, coarse.load(), grid.load(), prefix="corner")
    local = Source(name="record", catalog=str(tmp_path / "record.zarr"))
    remote = Source(name="record", catalog=str(catalog))
    there = run(f"s3://tests/{tmp_path.name}/product", remote)
    assert there.shape == (2, 20, 32, 64)
    assert np.array_equal(there, run(str(tmp_path / "product"), local))
