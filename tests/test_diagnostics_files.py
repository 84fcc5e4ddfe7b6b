"""Every table of a long record, as files that the CF checker accepts."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from cf_checker import cf_complaints
from html_samples import scores

from stvd.diagnostics.changes import Baseline
from stvd.diagnostics.climate_tables import climate_tables
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.files import write
from stvd.diagnostics.tables import tables
from stvd.lattice import TimeAxis

TABLES = (
    *("annual", "monthly", "seasonal", "diurnal", "return_levels", "trends"),
    *("climatology", "seasonal_cycle", "exceedance", "change", "return_periods"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    axis = TimeAxis(epoch="2001-01-01", step_seconds=43_200, calendar="360_day")
    times = axis.decoded(range(11 * 720))[0]
    rain = np.random.default_rng(0).gamma(0.2, 1e-3, (2, len(times), 2, 3)).astype(np.float32)
    pr = xr.DataArray(
        rain,
        dims=("member", "time", "y", "x"),
        coords={
            "time": times,
            "realization": ("member", [0, 1], {"standard_name": "realization", "units": "1"}),
            "lat": ("y", [10.0, 20.0], {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("x", [0.0, 9.0, 18.0], {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={"units": "kg m-2 s-1"},
        name="pr",
    )
    area = xr.DataArray(
        np.ones((2, 3)), dims=("y", "x"), attrs={"standard_name": "cell_area", "units": "m2"},
        coords={"lat": pr["lat"], "lon": pr["lon"]},
    )  # fmt: skip
    made, notes = climate_tables(
        tables(pr, area, axis), area, baseline=Baseline(2001, 2003), event_amount=100.0
    )
    about = ("title", "institution", "source", "history", "references", "comment")
    found = Diagnosis(
        "rain",
        "2001/2011",
        made,
        {"stvd": scores()},
        {},
        notes,
        dict.fromkeys(about, "made for a test"),
    )
    return write(found, tmp_path_factory.mktemp("files") / "rain").folder


@pytest.mark.parametrize("name", [*TABLES, "scores_stvd"])
def test_the_cf_checker_accepts_it(folder: Path, name: str) -> None:
    assert cf_complaints(folder / f"{name}.nc") == []


def test_seasons_trends_and_return_levels_are_those_of_eleven_years(folder: Path) -> None:
    sizes = {name: xr.open_dataset(folder / f"{name}.nc").sizes for name in TABLES}
    assert {name: size.get("time") for name, size in sizes.items()} == {
        "annual": 11, "monthly": 132, "seasonal": 43, "diurnal": 11, "return_levels": None, "trends": None,
        "climatology": None, "seasonal_cycle": None, "exceedance": 11, "change": None, "return_periods": None,
    }  # fmt: skip
    assert {p.name for p in folder.glob("report_*.html")} == {
        f"report_{year}.html" for year in range(2001, 2012)
    }
