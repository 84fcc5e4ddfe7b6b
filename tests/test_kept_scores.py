"""Sums of scores kept by cell: those of the record counted at once, and only new cells counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from product_samples import make_product
from rain_samples import axis, rain, record
from test_kept_states import publish

from stvd.diagnostics import skill
from stvd.diagnostics.regions import box, region_areas
from stvd.grid import coarsen_area_weighted
from stvd.kept_scores import KeptScores
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score
from stvd.statistics import Statistics

DAILY = axis("2001-02-20", 86_400)
ROWS, COLUMNS, DAYS, CELL = 8, 16, 20, 6
CONFIG = ScoreConfig(scales=(1, 8), lags=(1, 2), block_frames=1, periodic_x=True, window=4)
IDENTITY = dict.fromkeys(range(4), "a")


@pytest.fixture(scope="module")
def contest() -> skill.Contest:
    """Twenty days without the twelfth, nine of them winter; truth is missing now and then."""
    grid = xr.Dataset(
        coords={"lat": ("y", np.linspace(-70, 70, ROWS)), "lon": ("x", np.arange(COLUMNS) * 22.5)}
    )
    area = (np.cos(np.deg2rad(grid["lat"])) * xr.ones_like(grid["lon"])).transpose("y", "x")
    pr = record(rain((4, DAYS, ROWS, COLUMNS)), DAILY).assign_coords(grid.coords)
    truth = record(rain((DAYS, ROWS, COLUMNS), 1), DAILY).assign_coords(grid.coords)
    coarse = coarsen_area_weighted(truth, area, 4)
    truth[{"time": slice(0, 15, 2), "x": slice(0, 2)}] = np.nan
    whole = skill.Contest(pr, truth, area, coarse, DAILY, CONFIG)
    return whole.at(np.array([d for d in range(DAYS) if d != 12]))


def kept(
    contest: skill.Contest, folder: Path, identity: Mapping[int, str] = IDENTITY
) -> KeptScores:
    folder.mkdir(exist_ok=True)
    return KeptScores(folder, CELL, identity)


def seen(contest: skill.Contest) -> tuple[skill.Contest, set[int]]:
    """The contest as one that tells which frames of the members were read."""
    read: set[int] = set()

    def look(block: np.ndarray, block_info: list[dict[str, list[tuple[int, int]]]]) -> np.ndarray:
        read.update(range(*block_info[0]["array-location"][1]))
        return block

    lazy = contest.pr.chunk(time=1)
    told = lazy.copy(data=lazy.data.map_blocks(look, dtype=lazy.dtype, meta=lazy.data._meta))
    return replace(contest, pr=told), read


PARTS: dict[str, Callable[[skill.Contest], dict[str, Statistics]]] = {
    "season": skill.by_season,
    "region": lambda c: skill.by_region(c, regions(c)),
    "members": skill.by_members,
    "whole": lambda c: {"all": c.gather()},
}


def regions(contest: skill.Contest) -> xr.DataArray:
    grid = xr.Dataset(coords={"lat": contest.area["lat"], "lon": contest.area["lon"]})
    return region_areas([box("south", 0, -80, 90, 0), box("north", 180, 0, 270, 80)], grid)


@pytest.mark.parametrize(
    ("by", "truth"),
    [*((by, True) for by in PARTS), *((by, False) for by in PARTS if by != "region")],
)
def test_sums_are_those_of_the_record_counted_at_once(
    contest: skill.Contest, tmp_path: Path, by: str, truth: bool
) -> None:
    contest = contest if truth else replace(contest, truth=None)
    direct = PARTS[by](contest)
    folder = kept(contest, tmp_path)
    for _ in ("counted", "read"):
        found = PARTS[by](replace(contest, keeper=folder))
        assert found.keys() == direct.keys()
        for of, statistics in found.items():
            xr.testing.assert_identical(statistics.sums, direct[of].sums)
            assert statistics.config == direct[of].config


@pytest.mark.parametrize("block", [2, 4, 5])
def test_longer_blocks_are_made_up_of_days(
    contest: skill.Contest, tmp_path: Path, block: int
) -> None:
    config = CONFIG.model_copy(update={"block_frames": block})
    folder = kept(contest, tmp_path)
    replace(contest, keeper=folder).gather()
    files = set(tmp_path.iterdir())
    found = replace(contest, config=config, keeper=folder).gather()
    assert set(tmp_path.iterdir()) == files
    direct = replace(contest, config=config).gather()
    for name in ("covered", "block", "steps_edge", "steps_inside", "spectra"):
        xr.testing.assert_equal(found.sums[name], direct.sums[name])
    xr.testing.assert_allclose(found.sums, direct.sums, rtol=1e-12, atol=1e-20)
    a, b = (score(s, replicates=20) for s in (found, direct))
    xr.testing.assert_allclose(a, b, rtol=1e-9)
    with pytest.raises(ValueError, match="do not make up blocks"):
        found.coarsened(block + 1)


def test_a_new_cell_costs_a_cell_and_the_frame_before_it(
    contest: skill.Contest, tmp_path: Path
) -> None:
    before, read = seen(contest.at(slice(0, 11)))
    replace(before, keeper=kept(contest, tmp_path)).gather()
    assert read == set(range(11))
    later, read = seen(contest)
    replace(later, keeper=kept(contest, tmp_path)).gather()
    # Place 11 is day 11, which makes cell 1 (days 6 to 11) whole; of place 12, day 13, the day before is not there.
    assert read == set(range(5, 19))
    again, read = seen(contest)
    replace(again, keeper=kept(contest, tmp_path)).gather()
    assert not read


def test_other_values_are_counted_anew_and_the_step_out_of_them_too(
    contest: skill.Contest, tmp_path: Path
) -> None:
    contest = replace(contest, config=CONFIG.model_copy(update={"spectrum_box": (0, 8, 2, 16)}))
    replace(contest, keeper=kept(contest, tmp_path)).gather()
    assert contest.truth is not None
    other = contest.truth.copy()
    other[{"time": slice(0, 6)}] *= 2
    changed, read = seen(replace(contest, truth=other))
    folder = kept(contest, tmp_path, {**IDENTITY, 0: "b"})
    found = replace(changed, keeper=folder).gather()
    # Cell 0 for its own values, cell 1 for the last frame of cell 0.
    assert read == set(range(12))
    xr.testing.assert_identical(found.sums, replace(contest, truth=other).gather().sums)
    assert len(list(tmp_path.iterdir())) == 6
    folder.clear()
    assert len(list(tmp_path.iterdir())) == 4


def test_what_was_published_and_the_truth_identify_a_cell(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, 0)
    publish(product, 1)
    inputs = {0: {"truth": "x"}, 1: {"truth": "x"}}

    def identity(**truth: str) -> Mapping[int, str]:
        named = {n: {"truth": truth.get(f"cell{n}", "x")} for n in inputs}
        return KeptScores.of(
            tmp_path / "kept", product.spec, product.ledger().values(), named
        ).identity

    first = identity()
    assert identity() == first
    other = identity(cell1="y")
    assert other[0] == first[0]
    assert other[1] != first[1]
    publish(product, 1, seed=1, key="b" * 64, replace=True)
    replaced = identity()
    assert replaced[0] == first[0]
    assert replaced[1] != first[1]
