"""Scores against arithmetic by hand, against other libraries, and however the record is cut."""

from __future__ import annotations

import tracemalloc

import dask.array as da
import numpy as np
import pytest
import scores.probability
import scores.spatial
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rain_samples import MM_PER_HOUR, area, axis, rain, record
from scipy.stats import wasserstein_distance

from stvd.intensity import EDGES, earth_mover_distance, intensity_histogram, quantile
from stvd.piece_statistics import ScoreConfig
from stvd.score_tables import flatten, tabulate
from stvd.scores import score, score_ensemble
from stvd.statistics import Statistics, block_length, gather

PLAIN = ScoreConfig(thresholds=(1.0,), scales=(1,), lags=(1,), block_frames=4)


def value(scored: xr.Dataset, name: str) -> float:
    return float(scored[name].sel(estimate="value").squeeze())


def assert_same(a: Statistics, b: Statistics) -> None:
    xr.testing.assert_allclose(a.sums, b.sums, rtol=1e-10, atol=1e-18)


# --- by hand -------------------------------------------------------------------------------------


@pytest.fixture
def two_cells() -> xr.Dataset:
    """Members 0 and 2 against 1 in a cell of area 3; 3 and 3 against 1 in a cell of area 1."""
    members = np.array([[[[0.0, 3.0]]], [[[2.0, 3.0]]]])
    truth = np.array([[[1.0, 1.0]]])
    return score_ensemble(record(members), record(truth), area([[3.0, 1.0]]), config=PLAIN)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crps", 0.875),  # (1 + 1)/2 − (2 + 2)/8 = 0.5 and 2 − 0: (3·0.5 + 1·2)/4
        ("crps_fair", 0.5),  # (1 + 1)/2 − (2 + 2)/4 = 0 and 2: (3·0 + 1·2)/4
        ("mse_sample", 1.75),  # 1 and 4: (3·1 + 1·4)/4
        ("mse_mean", 1.0),  # 0 and 4: (3·0 + 1·4)/4
        ("mean_error", 0.5),  # 0 and 2: (3·0 + 1·2)/4
        ("spread_skill", 1.5),  # variances 2 and 0, mean 1.5: √((3/2)·1.5/1)
    ],
)
def test_pointwise_scores_by_hand(two_cells: xr.Dataset, name: str, expected: float) -> None:
    assert value(two_cells, name) == pytest.approx(expected, rel=1e-12)


def test_ranks_by_hand(two_cells: xr.Dataset) -> None:
    # Cell 1: one of two members below 1, rank 2, weight 3/4. Cell 2: none below, rank 1, 1/4.
    assert two_cells["rank_histogram"].values.tolist() == [0.25, 0.75, 0.0]


def test_ties_are_shared_and_dry_cells_left_out_of_the_wet_ranks() -> None:
    members = np.zeros((2, 1, 1, 2))
    members[:, 0, 0, 1] = [1.0, 2.0]
    truth = np.array([[[0.0, 3.0]]])  # dry tie of 3 ranks; above both members
    scored = score_ensemble(record(members), record(truth), area([[1.0, 1.0]]), config=PLAIN)
    # All: 1/2 · (1/3, 1/3, 1/3) + 1/2 · (0, 0, 1). Wet: the second cell alone.
    assert scored["rank_histogram"].values == pytest.approx([1 / 6, 1 / 6, 4 / 6])
    assert scored["rank_histogram_wet"].values.tolist() == [0.0, 0.0, 1.0]


def test_seam_ratio_by_hand() -> None:
    # Levels of six frames; windows of 3: the step 2 → 5 is the only one over an edge.
    levels = np.array([0.0, 1.0, 2.0, 5.0, 6.0, 7.0])
    members = np.broadcast_to(levels[None, :, None, None], (2, 6, 2, 2))
    config = PLAIN.model_copy(update={"window": 3})
    scored = score_ensemble(record(members), None, area(np.ones((2, 2))), config=config)
    assert value(scored, "seam_ratio") == pytest.approx(3 / 1)


def test_window_edges_lie_on_the_absolute_lattice() -> None:
    # The same rain from frame 2 on: edges are frames 3 and 6, so the jump of 3 is inside a window.
    levels = np.array([0.0, 1.0, 2.0, 5.0, 6.0, 7.0])
    members = np.broadcast_to(levels[None, :, None, None], (1, 6, 2, 2))
    config = PLAIN.model_copy(update={"window": 3})
    shifted = record(members, frames=range(2, 8))
    scored = score_ensemble(shifted, None, area(np.ones((2, 2))), axis=axis(), config=config)
    assert value(scored, "seam_ratio") == pytest.approx(1 / ((1 + 3 + 1) / 3))


def test_block_violation_by_hand() -> None:
    # Block mean of 0, 2, 4, 6 with areas 1, 1, 1, 5 is 36/8 = 4.5; the input says 3: |1.5| / 3.
    fine = np.array([[[[0.0, 2.0], [4.0, 6.0]]]])
    cells = area([[1.0, 1.0], [1.0, 5.0]])
    scored = score_ensemble(record(fine), None, cells, record(np.array([[[3.0]]])), config=PLAIN)
    assert value(scored, "block_violation") == pytest.approx(0.5)


def test_sae_by_hand() -> None:
    # [[0, 0], [0, 4]]: deviations −1, −1, −1, 3, variance 3; the four pairs give 1, −3, 1, −3:
    # I = (−4/4)/3 = −1/3. [[0, 4], [0, 4]]: deviations ±2, along x −4, −4, along y 4, 4: I = 0.
    truth = np.array([[[0.0, 0.0], [0.0, 4.0]]])
    member = np.array([[[[0.0, 4.0], [0.0, 4.0]]]])
    scored = score_ensemble(record(member), record(truth), area(np.ones((2, 2))), config=PLAIN)
    assert value(scored, "sae") == pytest.approx(1 / 3)


def test_fss_by_hand() -> None:
    # Events (>= 1 mm/h) at x = 0 and x = 1 of four cells. Scale 1: Σ(f − o)² = 2, Σf² + Σo² = 2: 0.
    # Scale 2, one row: 1-cell boxes of height 2 do not fit a single row, so two equal rows.
    truth, member = np.zeros((1, 2, 4)), np.zeros((1, 1, 2, 4))
    truth[0, :, 0] = member[0, 0, :, 1] = MM_PER_HOUR
    config = PLAIN.model_copy(update={"scales": (1, 2)})
    scored = score_ensemble(record(member), record(truth), area(np.ones((2, 4))), config=config)
    fss = scored["fss"].sel(estimate="value").squeeze()
    # Scale 2, boxes at x = 0, 1, 2: o = ½, 0, 0 and f = ½, ½, 0: 1 − (¼)/(¼ + ½) = 2/3.
    assert fss.sel(scale=1) == pytest.approx(0.0)
    assert fss.sel(scale=2) == pytest.approx(2 / 3)


def test_pe_is_the_difference_of_the_largest_values_in_a_small_sample() -> None:
    # 99.999% of 100 cells lie below the largest value, to within a bin of 0.31%.
    truth, member = rain((1, 10, 10), 1), rain((1, 1, 10, 10), 2)
    scored = score_ensemble(record(member), record(truth), area(np.ones((10, 10))), config=PLAIN)
    expected = abs(member.max() - truth.max())
    assert value(scored, "pe") == pytest.approx(expected, abs=0.0031 * (member.max() + truth.max()))


# --- against other libraries ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    cells = area(np.random.default_rng(5).uniform(1, 2, (12, 16)))
    return record(rain((5, 10, 12, 16), 3)), record(rain((10, 12, 16), 4)), cells


def test_equal_to_the_scores_package(ensemble: tuple) -> None:
    pr, truth, cells = ensemble
    scored = score_ensemble(pr, truth, cells, config=PLAIN)
    for method, name in (("ecdf", "crps"), ("fair", "crps_fair")):
        theirs = scores.probability.crps_for_ensemble(
            pr, truth, "member", method=method, weights=cells
        )
        assert value(scored, name) == pytest.approx(float(theirs), rel=1e-10)
    ranks = scores.probability.rank_histogram(pr, truth, "member", weights=cells)
    assert scored["rank_histogram"].values == pytest.approx(ranks.values, rel=1e-10)


@pytest.mark.parametrize("scale", [1, 4, 5])
def test_fss_equals_the_scores_package(ensemble: tuple, scale: int) -> None:
    pr, truth, cells = ensemble
    config = PLAIN.model_copy(update={"scales": (scale,)})
    ours = score_ensemble(pr.isel(member=[0]), truth, cells, config=config)
    theirs = scores.spatial.fss_2d(
        pr.isel(member=0).drop_vars("member"),
        truth,
        event_threshold=MM_PER_HOUR,
        window_size=(scale, scale),
        spatial_dims=("y", "x"),
        reduce_dims="time",
        threshold_operator=np.greater_equal,
    )
    assert value(ours, "fss") == pytest.approx(float(theirs), rel=1e-9)


def test_emd_equals_scipy_on_the_weighted_values(ensemble: tuple) -> None:
    pr, truth, cells = ensemble
    scored = score_ensemble(pr, truth, cells, config=PLAIN)
    exact = wasserstein_distance(
        pr.values.ravel(),
        truth.values.ravel(),
        np.broadcast_to(cells, pr.shape).ravel(),
        np.broadcast_to(cells, truth.shape).ravel(),
    )
    assert value(scored, "emd") == pytest.approx(exact, rel=2e-3)


@given(st.lists(st.floats(1e-7, 0.9), min_size=1, max_size=40), st.floats(0.001, 1))
def test_quantile_is_within_a_bin_of_the_order_statistic(values: list[float], q: float) -> None:
    ordered = np.sort(values)
    exact = ordered[int(np.ceil(q * len(ordered) * (1 - 1e-12))) - 1]
    found = float(quantile(intensity_histogram(np.array(values), np.ones(1)), q))
    assert found == pytest.approx(exact, rel=0.0031)


def test_distance_of_a_shift_is_the_shift() -> None:
    values = np.linspace(1e-4, 2e-4, 500)
    a, b = (intensity_histogram(v, np.ones(1)) for v in (values, values + 3e-5))
    assert float(earth_mover_distance(a, b)) == pytest.approx(3e-5, rel=5e-3)
    assert float(earth_mover_distance(a, a)) == 0.0
    assert EDGES.size == a.size + 1


def test_exchangeable_members_are_calibrated() -> None:
    field = rain((6, 40, 24, 24), seed=9, dry=0.3)
    scored = score_ensemble(record(field[:5]), record(field[5]), area(np.ones((24, 24))))
    assert value(scored, "spread_skill") == pytest.approx(1.0, abs=0.03)
    for name in ("rank_histogram", "rank_histogram_wet"):
        assert scored[name].values == pytest.approx(np.full(6, 1 / 6), abs=0.01)


# --- however it is cut ----------------------------------------------------------------------------

CUT = ScoreConfig(scales=(1, 3), lags=(1, 2), window=5, block_frames=4)


@settings(max_examples=6)
@given(st.integers(1, 19), st.integers(200, 20_000), st.booleans())
def test_pieces_of_any_size_give_the_same_sums(chunk: int, piece: int, lazy: bool) -> None:
    pr, truth, cells = (
        record(rain((2, 20, 8, 8))),
        record(rain((20, 8, 8), 1)),
        area(np.ones((8, 8))),
    )
    coarse = record(rain((20, 2, 2), 2))
    whole = gather(pr, truth, cells, coarse, config=CUT)
    cut = gather(
        pr.chunk(time=chunk) if lazy else pr, truth, cells, coarse, config=CUT, piece_values=piece
    )
    assert_same(whole, cut)


@settings(max_examples=6)
@given(st.integers(1, 19))
def test_partitions_merge_to_the_whole(split: int) -> None:
    config = CUT.model_copy(update={"window": None})
    pr, truth, cells = (
        record(rain((2, 20, 8, 8))),
        record(rain((20, 8, 8), 1)),
        area(np.ones((8, 8))),
    )
    parts = [
        gather(pr.isel(time=s), truth.isel(time=s), cells, config=config, axis=axis())
        for s in (slice(0, split), slice(split, 20))
    ]
    whole = gather(pr, truth, cells, config=config, axis=axis())
    # The step from one partition to the other is at hand in neither.
    over_time = ["moments", "moments_truth", "changes", "changes_truth"]
    expected = whole.sums.drop_vars(over_time)
    for merged in (parts[0] + parts[1], parts[1] + parts[0]):
        xr.testing.assert_allclose(merged.sums.drop_vars(over_time), expected, rtol=1e-10)
        assert float(merged.sums["moments"][:, 0].sum()) == pytest.approx(18)  # of 19 steps
    assert whole.frames == 20


def test_frames_are_never_counted_twice() -> None:
    pr, cells = record(rain((2, 6, 4, 4))), area(np.ones((4, 4)))
    whole = gather(pr, None, cells, config=PLAIN, axis=axis())
    again = gather(pr.isel(time=slice(5, 6)), None, cells, config=PLAIN, axis=axis())
    with pytest.raises(ValueError, match="both statistics count frames of block 1"):
        whole + again


def test_statistics_of_other_configurations_do_not_merge() -> None:
    pr, cells = record(rain((2, 6, 4, 4))), area(np.ones((4, 4)))
    one = gather(pr, None, cells, config=PLAIN)
    other = gather(pr, None, cells, config=PLAIN.model_copy(update={"wet": 0.5}))
    with pytest.raises(ValueError, match="do not merge"):
        one + other


def test_a_gap_in_time_is_no_jump() -> None:
    # Frames 0, 1 and 5: the step from 1 to 5 spans a gap, so only the step 0 → 1 counts.
    levels = np.array([0.0, 1.0, 9.0])[None, :, None, None] * np.ones((1, 3, 2, 2))
    pr = record(levels, frames=[0, 1, 5])
    config = PLAIN.model_copy(update={"window": 5})
    sums = gather(pr, None, area(np.ones((2, 2))), config=config, axis=axis()).sums.sum("block")
    assert float(sums["jump_inside"]) == 1.0
    assert float(sums["steps_inside"]) == 1.0
    assert float(sums["steps_edge"]) == 0.0


def test_faces_weigh_by_their_area() -> None:
    pr, truth = record(rain((2, 4, 2, 6, 6))), record(rain((1, 4, 2, 6, 6), 1)).isel(member=0)
    truth = truth.drop_vars("member")
    cells = xr.DataArray(np.ones((2, 6, 6)), dims=("tile", "y", "x")) * xr.DataArray(
        [1.0, 3.0], dims="tile"
    )
    both = value(score_ensemble(pr, truth, cells, config=PLAIN), "crps")
    each = [
        value(
            score_ensemble(pr.isel(tile=k), truth.isel(tile=k), cells.isel(tile=k), config=PLAIN),
            "crps",
        )
        for k in (0, 1)
    ]
    assert both == pytest.approx((1 * each[0] + 3 * each[1]) / 4)


def test_memory_does_not_grow_with_the_record() -> None:
    # Eight blocks each, so the sums are as large; 64 frames of 8192 values are read at once.
    def peak(frames: int) -> int:
        shape = (2, frames, 64, 64)
        block = da.random.default_rng(0).gamma(0.5, 1e-4, shape, chunks=(1, 16, 64, 64))
        pr = record(np.broadcast_to(0.0, shape)).copy(data=block)
        config = PLAIN.model_copy(update={"block_frames": frames // 8})
        cells = area(np.ones((64, 64)))
        tracemalloc.start()
        gather(pr, pr.isel(member=0, drop=True), cells, config=config, piece_values=2**15)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(16)
    assert peak(160) < 1.2 * peak(64)


# --- input that is wrong --------------------------------------------------------------------------


def test_a_missing_member_value_is_an_error_that_names_the_time() -> None:
    members = rain((2, 6, 4, 4))
    members[1, 3, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"pr has 1 values that are not finite.*2001-01-01T10:30"):
        score_ensemble(record(members), record(rain((6, 4, 4))), area(np.ones((4, 4))))


def test_missing_truth_is_left_out_of_every_score() -> None:
    # Only the left half is observed: pointwise scores are those of the left half alone.
    pr, truth = rain((3, 6, 4, 8)), rain((6, 4, 8), 1)
    masked = truth.copy()
    masked[..., 4:] = np.nan
    half = score_ensemble(
        record(pr[..., :4]), record(truth[..., :4]), area(np.ones((4, 4))), config=PLAIN
    )
    scored = score_ensemble(record(pr), record(masked), area(np.ones((4, 8))), config=PLAIN)
    for name in ("crps", "crps_fair", "mse_sample", "mse_mean", "spread_skill", "emd", "pe", "sae"):
        assert value(scored, name) == pytest.approx(value(half, name), rel=1e-9), name
    assert scored["rank_histogram"].values == pytest.approx(half["rank_histogram"].values)


def test_a_jitter_of_a_coordinate_is_refused() -> None:
    pr, truth = record(rain((2, 4, 4, 4))), record(rain((4, 4, 4)))
    lat = np.linspace(0, 3, 4)
    pr, truth = pr.assign_coords(lat=("y", lat)), truth.assign_coords(lat=("y", lat + 1e-9))
    with pytest.raises(ValueError, match="coordinate lat of pr and truth differ"):
        score_ensemble(pr, truth, area(np.ones((4, 4))))


def test_other_times_and_units_are_refused() -> None:
    pr, cells = record(rain((2, 4, 4, 4))), area(np.ones((4, 4)))
    later = record(rain((4, 4, 4)), frames=range(1, 5))
    with pytest.raises(ValueError, match="coordinate time of pr and truth differ"):
        score_ensemble(pr, later, cells)
    with pytest.raises(ValueError, match="4 and 3 points"):
        score_ensemble(pr, record(rain((3, 4, 4))), cells)
    with pytest.raises(ValueError, match="pr is in mm h-1; convert"):
        score_ensemble(pr.assign_attrs(units="mm h-1"), None, cells)
    with pytest.raises(ValueError, match="do not ascend"):
        score_ensemble(pr.isel(time=[1, 0]), None, cells, axis=axis())
    with pytest.raises(ValueError, match="no multiple of the coarse grid"):
        score_ensemble(pr, None, cells, record(rain((4, 3, 3))))


# --- intervals and numbers ------------------------------------------------------------------------


def test_interval_of_a_mean_is_that_of_theory() -> None:
    # Error 1 or 3 by block, at random: the mean of n blocks has a standard error of s / √n.
    levels = np.random.default_rng(2).choice([1.0, 3.0], 64)
    truth = np.zeros((256, 1, 2))
    member = np.repeat(levels, 4)[None, :, None, None] * np.ones((1, 256, 1, 2))
    scored = score_ensemble(
        record(member), record(truth), area([[1.0, 1.0]]), config=PLAIN, replicates=500
    )["crps"]
    expected = 1.645 * levels.std(ddof=1) / 8
    assert float(scored.sel(estimate="value")) == pytest.approx(levels.mean())
    half = float(scored.sel(estimate="high") - scored.sel(estimate="low")) / 2
    assert half == pytest.approx(expected, rel=0.15)


def test_few_blocks_give_no_interval() -> None:
    pr, truth = record(rain((2, 16, 4, 4))), record(rain((16, 4, 4), 1))
    scored = score_ensemble(pr, truth, area(np.ones((4, 4))), config=PLAIN)  # 4 blocks of 4
    assert np.isnan(scored["crps"].sel(estimate="low"))
    assert scored.attrs["interval"] == "none"
    assert "crps_low" not in flatten(scored)


def test_one_member_is_a_point_forecast_without_spread_and_ranks() -> None:
    pr, truth = rain((1, 24, 4, 4)), rain((24, 4, 4), 1)
    scored = score_ensemble(record(pr), record(truth), area(np.ones((4, 4))), config=PLAIN)
    table = tabulate(scored)
    error = np.abs(pr[0] - truth)
    assert table["crps"]["value"] == pytest.approx(error.mean())
    assert table["crps_fair"] == table["crps"]
    above = np.abs(np.maximum(pr[0], MM_PER_HOUR) - np.maximum(truth, MM_PER_HOUR))
    assert table["twcrps_1mmh"]["value"] == pytest.approx(above.mean())
    assert "spread_skill" not in table
    assert "rank_histogram" not in scored
    assert not [k for k in table if k.startswith("rank_")]


def test_flat_names_and_units() -> None:
    pr, truth = record(rain((2, 24, 8, 8))), record(rain((24, 8, 8), 1))
    config = ScoreConfig(thresholds=(0.1, 1.0), scales=(1, 8), block_frames=4)
    scored = score_ensemble(pr, truth, area(np.ones((8, 8))), config=config)
    flat = flatten(scored)
    assert flat["crps_low"] <= flat["crps"] <= flat["crps_high"]
    assert {"fss_0.1mmh_1cells", "fss_1mmh_8cells_high", "emd", "pe", "sae", "lsd"} <= flat.keys()
    assert not [k for k in flatten(scored, intervals=False) if k.endswith(("_low", "_high"))]
    assert scored["crps"].attrs["units"] == "kg m-2 s-1"
    assert all(v.attrs["long_name"] and v.attrs["units"] for v in scored.data_vars.values())


def test_scoring_statistics_equals_scoring_the_record() -> None:
    pr, truth, cells = (
        record(rain((2, 24, 8, 8))),
        record(rain((24, 8, 8), 1)),
        area(np.ones((8, 8))),
    )
    at_once = score_ensemble(pr, truth, cells, config=CUT, seed=1)
    xr.testing.assert_equal(at_once, score(gather(pr, truth, cells, config=CUT), seed=1))


@pytest.mark.parametrize(
    ("frames", "step", "expected"),
    [
        (60, 10_800, 8),
        (2920, 10_800, 48),
        (40, 300, 6),
        (2592, 300, 42),
        (10, 86_400, 1),
        (24, 3600, 4),
        (3, 300, 1),
    ],
    ids=["days", "a year", "radar event", "nine radar days", "daily", "a day of hours", "short"],
)
def test_block_length(frames: int, step: int, expected: int) -> None:
    # A day or half an hour, multiples of it for at most 64 blocks, a fifth of a shorter record.
    assert block_length(frames, step) == expected
    assert frames / expected <= 64
