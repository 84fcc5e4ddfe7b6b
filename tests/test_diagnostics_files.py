"""Every table of a long record, as files that the CF checker accepts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cf_checker import cf_complaints
from html_samples import scores
from rain_samples import area as cells
from rain_samples import rain as rain_of
from rain_samples import record

from stvd.diagnostics.changes import Baseline
from stvd.diagnostics.climate_tables import climate_tables
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.events import largest_events
from stvd.diagnostics.files import write
from stvd.diagnostics.listed import event_dataset, region_tables, skill_dataset
from stvd.diagnostics.regions import box, region_areas
from stvd.diagnostics.return_periods import return_periods_of
from stvd.diagnostics.skill import skill_rows
from stvd.diagnostics.tables import tables
from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig
from stvd.statistics import Statistics, gather

TABLES = (
    *("annual", "monthly", "seasonal", "diurnal", "return_levels", "trends"),
    *("climatology", "seasonal_cycle", "exceedance", "change", "return_periods"),
)


LISTED = ("regions_annual", "regions_change", "events", "skill")


def statistics(seed: int = 0) -> Statistics:
    pr, truth = record(rain_of((3, 12, 8, 8), seed)), record(rain_of((12, 8, 8), seed + 9))
    return gather(
        pr, truth, cells(np.ones((8, 8))), config=ScoreConfig(scales=(1,), block_frames=2)
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
    regions = region_areas(
        [box("south", 0, 5, 10, 15), box("north", 0, 15, 20, 25)], area.to_dataset(name="a"), area
    )
    events = largest_events(pr, area, axis, threshold=10.0, count=3)
    events = return_periods_of(events, made["annual"]["rx1step"])
    skill = skill_rows("season", "stvd", {"DJF": statistics(), "MAM": statistics(1)}, replicates=10)
    listed = region_tables(made, regions)
    listed |= {"events": event_dataset(events, axis), "skill": skill_dataset(skill)}
    about = ("title", "institution", "source", "history", "references", "comment")
    found = Diagnosis(
        "rain",
        "2001/2011",
        made,
        {"stvd": scores()},
        {},
        notes,
        dict.fromkeys(about, "made for a test"),
        lists={"events": events, "skill": skill},
        listed=listed,
    )
    return write(found, tmp_path_factory.mktemp("files") / "rain").folder


@pytest.mark.parametrize("name", [*TABLES, *LISTED, "scores_stvd"])
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


def test_events_are_points_in_time_and_place(folder: Path) -> None:
    rows = pd.read_csv(folder / "events.csv")
    with xr.open_dataset(folder / "events.nc") as events:
        assert events.attrs["featureType"] == "point"
        for name in ("peak", "footprint_km2", "volume_km3", "members", "lat", "lon"):
            np.testing.assert_allclose(events[name], rows[name])
        assert events["event"].values.tolist() == rows["rank"].tolist()
        assert events["realization"].values.tolist() == rows["member"].tolist()
        for column, name in (("peak_time", "time"), ("start", "start"), ("end", "end")):
            times = events[name].dt.strftime("%Y-%m-%dT%H:%M:%S").values
            assert times.tolist() == rows[column].tolist()
        assert events["time"].dt.calendar == "360_day"
        flags = events["return_period_flag"].attrs["flag_meanings"].split()
        found = [flags[k] for k in events["return_period_flag"].values.astype(int)]
        assert found == rows["return_period_flag"].tolist()


def test_means_over_regions_are_those_of_their_cells(folder: Path) -> None:
    # The box "south" holds the whole cell (0, 0), as far as cells go, and the western half of cell (0, 1).
    with (
        xr.open_dataset(folder / "annual.nc") as annual,
        xr.open_dataset(folder / "regions_annual.nc") as regions,
    ):
        assert regions["region_name"].values.tolist() == ["south", "north"]
        assert regions["rx1day"].dims == ("time", "member", "region")
        assert regions["rx1day"].attrs["cell_methods"] == annual["rx1day"].attrs["cell_methods"]
        mean = regions["rx1day"].isel(region=0)
        np.testing.assert_allclose(regions["rx1day_mean"].isel(region=0), mean.mean("member"))
        low, high = (
            annual["rx1day"].isel(y=0, x=slice(0, 2)).reduce(f, "x") for f in (np.min, np.max)
        )
        assert ((low <= mean + 1e-9) & (mean <= high + 1e-9)).all()


def test_skill_has_the_rows_of_the_list(folder: Path) -> None:
    rows = pd.read_csv(folder / "skill.csv")
    with xr.open_dataset(folder / "skill.nc") as skill:
        assert skill["of"].values.tolist() == ["DJF", "MAM"]
        for row in rows.to_dict("records"):
            part = int(np.flatnonzero(skill["of"].values == row["of"])[0])
            found = skill[row["score"].replace(".", "_")]
            estimates = found.isel(part=part).sel(system=row["system"]).values
            np.testing.assert_allclose(estimates, [row["value"], row["low"], row["high"]])
            assert found.attrs["units"] == row["units"]
