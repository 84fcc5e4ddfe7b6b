"""The real records beside the project, where they are."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from stvd.catalog import describe, open_source
from stvd.grid import coarsen_area_weighted
from stvd.lattice import Period
from stvd.layout import catalog_of_file
from stvd.quality import QualityPolicy, check

CATALOG = Path(__file__).parents[1] / "catalogs" / "shared.yaml"
DATA = CATALOG.parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared records are not here")


def findings(name: str, frames: range) -> list[str]:
    info = describe(name, catalog=CATALOG)
    period = info.axis.period(frames)
    return [
        str(finding)
        for finding in check(
            open_source(name, period, catalog=CATALOG),
            open_source(info.grid, catalog=CATALOG),
            axis=info.axis,
            frames=frames,
            required=info.variables,
            factor=info.factor,
            policy=QualityPolicy(),
        )
    ]


@pytest.mark.parametrize(
    "name",
    ["gcm_jan", "model_meteonet", "radar_mch_20150515", "radar_mch_20170131", "radar_fmi",
     "radar_opera", "radar_mrms", "radar_radolan"],
)  # fmt: skip
def test_every_record_is_sound(name):
    assert findings(name, range(4)) == []


def test_the_frame_of_radolan_with_holes_is_found():
    (said,) = findings("radar_radolan", range(1060, 1070))  # 16:55 is 3·288 + 203 = 1067
    assert said.startswith("pr at 2018-05-13T16:55:00 has 10 of 572 values missing (NaN).")


def test_the_coarse_rain_of_the_model_is_the_area_mean_of_its_truth():
    day = Period(start="2000-01-05", end="2000-01-06")
    names = ("gcm_jan", "gcm_jan_truth")
    coarse, truth = (open_source(n, day, catalog=CATALOG) for n in names)
    area = open_source("gcm_jan_grid", catalog=CATALOG)["areacella"]
    mean = coarsen_area_weighted(truth["pr"], area, 8)
    # fine rain is stored in steps of 0.005 mm/h; a block mean is closer than half of that
    np.testing.assert_allclose(mean, coarse["pr"], atol=0.0025 / 3600)
    assert coarse.attrs["periodic_x"] == 1
    assert len(coarse.data_vars) == 21


def test_regions_are_covered_in_every_frame():
    content = yaml.safe_load(CATALOG.read_text())
    for name, entry in content["entries"].items():
        region = entry["metadata"]["stvd"].get("region")
        if name.endswith("_truth") and region and "_all" not in name:
            data = entry["kwargs"]["data"].removeprefix("{data(").removesuffix(")}")
            file = content["data"][data]["kwargs"]["url"]
            with xr.open_dataset(DATA / file.removeprefix("{root}/")) as event:
                valid = event["valid_fraction"].values[slice(*region["y"]), slice(*region["x"])]
            assert valid.min() >= 0.999, name
            assert {edge % 16 for edge in (*region["y"], *region["x"])} == {0}
            assert max(valid.shape) <= 384


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("radar_mch_20170131", "radar_mch_20170131.nc"),
        ("radar_fmi", "radar_fmi_20160928.nc"),
        ("radar_opera", "radar_opera_20180824.nc"),
        ("radar_mrms", "radar_mrms_west_20190610.nc"),
        ("radar_radolan", "radar_radolan_2018051018.nc"),
    ],
)
def test_a_file_asks_for_the_texture_that_its_entry_asks_for(name, file):
    entry = yaml.safe_load(CATALOG.read_text())["entries"][name]["metadata"]["stvd"]
    found = catalog_of_file(str(DATA / file))["entries"][Path(file).stem]["metadata"]["stvd"]
    assert found["texture"] == entry["texture"]
