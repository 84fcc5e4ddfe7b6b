"""Scores of parts of a record: those of the parts themselves, and together those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from rain_samples import axis, rain, record

from stvd.diagnostics import skill
from stvd.diagnostics.regions import box, region_areas
from stvd.grid import coarsen_area_weighted
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score, score_ensemble

DAILY = axis("2001-02-20", 86_400)
ROWS, COLUMNS = 8, 16
CONFIG = ScoreConfig(scales=(1, 8), lags=(1, 2), block_frames=2, periodic_x=True, window=4)


@pytest.fixture(scope="module")
def contest() -> skill.Contest:
    """Twenty days: nine of winter, eleven of spring."""
    grid = xr.Dataset(
        coords={"lat": ("y", np.linspace(-70, 70, ROWS)), "lon": ("x", np.arange(COLUMNS) * 22.5)}
    )
    area = (np.cos(np.deg2rad(grid["lat"])) * xr.ones_like(grid["lon"])).transpose("y", "x")
    pr = record(rain((4, 20, ROWS, COLUMNS)), DAILY).assign_coords(grid.coords)
    truth = record(rain((20, ROWS, COLUMNS), 1), DAILY).assign_coords(grid.coords)
    coarse = coarsen_area_weighted(truth, area, 4)
    return skill.Contest(pr, truth, area, coarse, DAILY, CONFIG)


def value(scored: xr.Dataset, name: str) -> float:
    return float(scored[name].sel(estimate="value"))


def test_seasons_are_those_of_their_frames_and_sum_to_the_record(contest: skill.Contest) -> None:
    seasons = skill.by_season(contest)
    assert {n: s.frames for n, s in seasons.items()} == {"DJF": 9, "MAM": 11}
    whole = score(skill.whole(seasons), replicates=0)
    direct = score(contest.gather(), replicates=0)
    for name in ("crps_fair", "mse_mean", "emd", "sae", "lsd", "block_violation"):
        assert value(whole, name) == pytest.approx(value(direct, name), rel=1e-9), name
    winter = score_ensemble(
        contest.pr.isel(time=slice(0, 9)), contest.truth.isel(time=slice(0, 9)), contest.area,
        axis=DAILY, config=CONFIG, replicates=0,
    )  # fmt: skip
    rows = skill.skill_rows("season", "stvd", seasons, replicates=0)
    one = rows[(rows["of"] == "DJF") & (rows["score"] == "crps_fair")].iloc[0]
    assert one["value"] == pytest.approx(value(winter, "crps_fair"), rel=1e-9)
    assert not rows["score"].str.startswith("rank_histogram").any()


def test_a_record_of_one_season_is_read_once(contest: skill.Contest) -> None:
    seasons = skill.by_season(contest.at(np.arange(5)))
    assert list(seasons) == ["DJF"]


def test_a_region_has_the_scores_of_its_cells(contest: skill.Contest) -> None:
    grid = xr.Dataset(coords={"lat": contest.area["lat"], "lon": contest.area["lon"]})
    regions = region_areas([box("south", 0, -80, 90, 0), box("speck", 45, 9, 46, 10)], grid)
    found = skill.by_region(contest, regions)
    # Rows 0-3 are south of the equator; columns 0-3 lie within, those at 0 and 90 degrees by a half.
    inside = np.zeros((ROWS, COLUMNS))
    inside[:4, :5] = 1
    assert contest.truth is not None
    truth = contest.truth.where(xr.DataArray(inside, dims=("y", "x")) > 0)
    direct = score_ensemble(
        contest.pr, truth, contest.area, axis=DAILY, replicates=0,
        config=CONFIG.model_copy(update={"window": None, "spectrum_box": (0, 4, 0, 4)}),
    )  # fmt: skip
    scored = score(found["south"], replicates=0)
    for name in ("crps_fair", "spread_skill", "emd"):
        assert value(scored, name) == pytest.approx(value(direct, name), rel=1e-9), name
    speck = score(found["speck"], replicates=0)
    assert np.isfinite(value(speck, "crps_fair"))
    assert float(found["speck"].sums["weight"].sum()) > 0


def test_fewer_members_have_the_same_fair_crps_and_a_worse_mean(contest: skill.Contest) -> None:
    found = skill.by_members(contest)
    assert list(found) == ["2"]
    two = score(found["2"], replicates=0)
    direct = score_ensemble(
        contest.pr.isel(member=[0, 1]), contest.truth, contest.area, axis=DAILY,
        config=CONFIG, replicates=0,
    )  # fmt: skip
    assert value(two, "crps_fair") == pytest.approx(value(direct, "crps_fair"), rel=1e-9)
    four = score(contest.gather(), replicates=0)
    assert value(two, "mse_mean") > value(four, "mse_mean")


def test_thresholds_are_rows(contest: skill.Contest) -> None:
    scored = score(contest.gather(), replicates=10)
    rows = skill.threshold_rows("stvd", scored)
    assert rows[rows["score"] == "fss_8cells"]["of"].tolist() == ["0.1 mm/h", "1 mm/h", "5 mm/h"]
    assert rows[rows["score"] == "twcrps"]["of"].tolist() == ["1 mm/h", "5 mm/h"]
    assert (rows["low"] <= rows["high"]).all()
