"""The report of a product: made once of a snapshot, anew when something is published or asked for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from product_samples import make_product, make_spec
from test_kept_states import publish

from stvd.diagnostics import diagnose
from stvd.diagnostics.percentiles import wet_day_percentiles
from stvd.diagnostics.tables import tables
from stvd.lattice import TimeAxis
from stvd.layout import write_record
from stvd.product import Product, open_product
from stvd.published_tables import open_diagnostics
from stvd.report import Inputs, Report, Wanted, report_on
from stvd.source import Source
from stvd.synthetic import synthetic_coarse, synthetic_grid, synthetic_truth


@pytest.fixture
def product(tmp_path: Path) -> Product:
    made = make_product(tmp_path)
    publish(made, 0)
    return made


@pytest.fixture
def basin(tmp_path: Path) -> Path:
    ring = [[0, -40], [90, -40], [90, 40], [0, 40], [0, -40]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"name": "basin"}, "geometry": shape}
    path = tmp_path / "basins.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_a_report_stands_until_something_is_published(tmp_path: Path) -> None:
    """A new cell is counted alone, with the step into it, and the report is that of the whole record."""
    axis, frames, shape = make_spec().axis, range(60), (16, 16)
    made = synthetic_coarse(axis, frames, shape), synthetic_grid(shape)
    write_record(tmp_path / "record.nc", *made, synthetic_truth(axis, frames, shape))
    source = Source.find(str(tmp_path / "record.nc"), Path())
    spec = make_spec(chunks=None, shards=None)
    product = Product.create_or_open(tmp_path / "product", spec, source.grid())
    publish(product, 0)
    publish(product, 1)
    folder = tmp_path / "reports" / "test"
    first = report_on(product.uri, source, folder)
    made_at = (folder / "report.json").stat().st_mtime_ns
    assert report_on(product.uri, source, folder) == first
    assert (folder / "report.json").stat().st_mtime_ns == made_at
    kept = set(folder.with_name("test.states").iterdir())
    publish(product, 2)
    second = report_on(product.uri, source, folder)
    assert second.snapshot != first.snapshot
    assert second.period != first.period
    now = set(folder.with_name("test.states").iterdir())
    assert kept < now
    assert sum("scores_" in f.name for f in now - kept) == 3  # two systems, and what is scored
    direct = diagnose(
        open_product(product.uri), truth=source.truth(frames), coarse=source.coarse(frames),
        grid=source.grid(), axis=axis, window=spec.lattice,
    )  # fmt: skip
    pd.testing.assert_frame_equal(second.scores(), direct.score_table(), rtol=1e-9)
    assert set(open_diagnostics(product.uri, "skill")["by"].values) == {"season", "threshold"}
    skill = pd.read_csv(second.tables["skill.csv"])
    pd.testing.assert_frame_equal(skill, direct.lists["skill"], check_dtype=False, rtol=1e-9)


def test_regions_and_events_are_listed(product: Product, basin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    plain = report_on(product.uri, None, folder)
    assert not {"events.csv", "regions.csv"} & plain.tables.keys()
    wanted = Wanted(regions=str(basin), event_threshold=1.0)
    report = report_on(product.uri, None, folder, wanted=wanted)
    assert report.snapshot == plain.snapshot
    events = pd.read_csv(report.tables["events.csv"])
    assert (events["peak"] > 1.0).all()
    assert events["volume_km3"].is_monotonic_decreasing
    published = open_diagnostics(product.uri, "events").load()
    np.testing.assert_allclose(published["peak"], events["peak"])
    assert published["peak"].attrs["units"] == "mm h-1"
    means = open_diagnostics(product.uri, "regions_period_to_date").load()
    assert means["region_name"].values.tolist() == ["basin"]
    assert means.attrs["product_snapshot"] == report.snapshot
    regions = pd.read_csv(report.tables["regions.csv"])
    assert set(regions["region"]) == {"basin"}
    assert set(regions["table"]) == {"period_to_date"}
    assert set(regions["start"]) == {"2000-01-01T00:00:00"}
    page = Path(report.pages["report_2000"]).read_text()
    assert "period to date" in page
    assert 'src="http' not in page


def test_the_tables_are_published_beside_the_product(product: Product, tmp_path: Path) -> None:
    report = report_on(product.uri, None, tmp_path / "report")
    table = open_diagnostics(product.uri, "period_to_date").load()
    assert table.attrs["product_snapshot"] == report.snapshot == product.snapshot
    with xr.open_dataset(report.tables["period_to_date.nc"]) as file:
        assert set(file.data_vars) >= set(table.data_vars)
        for name in table.data_vars:
            np.testing.assert_array_equal(table[name].values, file[name].values)
    again = report_on(product.uri, None, tmp_path / "elsewhere")
    assert again.published == report.published
    assert sorted(t.name for t in tmp_path.glob("product*")) == ["product", "product.diagnostics"]


def test_very_wet_days_are_those_of_the_reference(product: Product, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    report = report_on(product.uri, None, folder, wanted=Wanted(reference="2000-2001"))
    table = open_diagnostics(product.uri, "period_to_date").load()
    published = open_product(product.uri)
    percentiles = wet_day_percentiles(published["pr"], product.spec.axis)
    direct = tables(
        published["pr"], published["areacella"].compute(), product.spec.axis, reference=percentiles
    ).period_to_date
    assert direct is not None
    np.testing.assert_array_equal(table["r95p"].values, direct["r95p"].values)
    assert (tmp_path / "report.states").is_dir()
    kept = {f.name: f.stat().st_mtime_ns for f in folder.with_name("report.states").iterdir()}
    assert sum(name.startswith("percentiles_") for name in kept) == 1
    with pytest.raises(ValueError, match="nothing is published of the reference period 1950-1960"):
        report_on(product.uri, None, folder, wanted=Wanted(reference="1950-1960"))
    assert Report.read(folder) == report


def test_truth_that_was_rewritten_is_another_input(tmp_path: Path) -> None:
    axis = TimeAxis(epoch="2000-01-01", step_seconds=10_800)
    frames, shape = range(4), (16, 16)
    record = {
        "coarse": synthetic_coarse(axis, frames, shape),
        "grid": synthetic_grid(shape),
        "truth": synthetic_truth(axis, frames, shape),
    }

    def identity(**changes: xr.Dataset) -> dict[str, str]:
        write_record(tmp_path / "record.nc", **(record | changes))
        return Inputs.of(Source.find(str(tmp_path / "record.nc"), Path()), {0: range(4)}).identity

    first = identity()
    assert identity() == first
    pr = record["truth"]["pr"]
    other = identity(truth=record["truth"].assign(pr=(2 * pr).assign_attrs(pr.attrs)))
    assert {k for k in first if first[k] != other[k]} == {"truth"}
