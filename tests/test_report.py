"""The report of a product: made once of a snapshot, anew when something is published or asked for."""

import json
from pathlib import Path

import pandas as pd
import pytest
from product_samples import make_product
from test_kept_states import publish

from stvd.product import Product
from stvd.report import Wanted, report_on


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


def test_a_report_stands_until_something_is_published(product: Product, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "test"
    first = report_on(product.uri, None, folder)
    made = (folder / "report.json").stat().st_mtime_ns
    assert report_on(product.uri, None, folder) == first
    assert (folder / "report.json").stat().st_mtime_ns == made
    publish(product, 1)
    second = report_on(product.uri, None, folder)
    assert second.snapshot != first.snapshot
    assert second.period != first.period
    assert len(list(folder.with_name("test.states").iterdir())) == 2


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
    regions = pd.read_csv(report.tables["regions.csv"])
    assert set(regions["region"]) == {"basin"}
    assert set(regions["table"]) == {"period_to_date"}
    page = Path(report.pages["report_2000"]).read_text()
    assert "period to date" in page
    assert 'src="http' not in page
