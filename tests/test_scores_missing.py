"""Cells without truth or input are in no score, whatever the members have there."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rain_samples import MM_PER_HOUR, area, axis, rain, record

from stvd.diagnostics.spectra import on_fine_cells
from stvd.piece_statistics import ScoreConfig
from stvd.score_tables import tabulate
from stvd.scores import score_ensemble
from stvd.spatial import largest_rectangle
from stvd.statistics import gather

CONFIG = ScoreConfig(
    scales=(1, 3), lags=(1, 2), window=3, tile_edges_x=(4,), tile_edges_y=(4,), block_frames=2
)
CELLS = area(np.random.default_rng(5).uniform(1, 2, (16, 16)))


def assert_same_scores(a: xr.Dataset, b: xr.Dataset) -> None:
    ours, theirs = tabulate(a), tabulate(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        a_, b_ = (
            [v[k] or 0.0 for k in ("value", "low", "high")] for v in (ours[name], theirs[name])
        )
        assert a_ == pytest.approx(b_, rel=1e-9, abs=1e-15), name


def wet_rain(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Rain with cells above 5 mm/h, so that every score is defined."""
    return rain(shape, seed) * 4


@settings(max_examples=5)
@given(st.integers(0, 1000), st.sampled_from([np.nan, 1e-3]))
def test_no_score_depends_on_members_where_truth_is_missing(seed: int, there: float) -> None:
    rng = np.random.default_rng(seed)
    pr, truth = wet_rain((3, 12, 16, 16), seed), wet_rain((12, 16, 16), seed + 1)
    missing = rng.random((12, 16, 16)) < 0.02
    missing[:, :3] = True  # a coast of the network, beside holes that come and go
    truth[missing] = np.nan
    other = np.where(missing, there, pr)
    a, b = (score_ensemble(record(v), record(truth), CELLS, config=CONFIG) for v in (pr, other))
    assert_same_scores(a, b)
    for name in ("histogram", "histogram_truth", "rapsd", "rapsd_truth"):
        xr.testing.assert_allclose(a[name], b[name])
    assert {"lag1", "transition_error", "tile_seam_ratio", "p99_999_ratio"} <= tabulate(a).keys()


def test_half_a_domain_has_the_scores_of_its_half() -> None:
    pr, truth = wet_rain((3, 12, 16, 16), 3), wet_rain((12, 16, 16), 4)
    half = truth.copy()
    half[..., 8:] = np.nan
    masked = score_ensemble(record(pr), record(half), CELLS, config=CONFIG)
    alone = score_ensemble(record(pr[..., :8]), record(truth[..., :8]), CELLS[:, :8], config=CONFIG)
    assert masked.attrs["spectrum_box"] == "y 0:16, x 0:8"
    assert_same_scores(masked, alone)


def test_cells_under_missing_input_are_not_scored() -> None:
    pr, truth, coarse = rain((2, 4, 8, 8)), rain((4, 8, 8), 1), rain((4, 2, 2), 2)
    coarse[:, 0, 0] = np.nan
    pr[..., :4, :4] = np.nan  # an interpolation has nothing to say there
    cells = area(np.ones((8, 8)))
    config = ScoreConfig(scales=(1,), block_frames=2)
    with_input = score_ensemble(record(pr), record(truth), cells, record(coarse), config=config)
    truth[:, :4, :4] = np.nan
    by_truth = score_ensemble(record(pr), record(truth), cells, config=config)
    assert_same_scores(with_input.drop_vars("block_violation"), by_truth)


def test_missing_blocks_conserve_nothing() -> None:
    # Blocks of 1: |3 − 1| and |2 − 2| over 1 + 2; the missing input and the missing member are out.
    fine, coarse = np.array([[[[3.0, 2.0], [9.0, np.nan]]]]), np.array([[[1.0, 2.0], [np.nan, 4]]])
    truth = np.array([[[1.0, 1.0], [np.nan, np.nan]]])
    scored = score_ensemble(
        record(fine), record(truth), area(np.ones((2, 2))), record(coarse), config=CONFIG
    )
    assert tabulate(scored)["block_violation"]["value"] == pytest.approx(2 / 3)


def test_boxes_with_a_missing_cell_have_no_fraction() -> None:
    # Two equal rows. Scale 2: boxes at x = 0, 1, 2, of which the last holds the missing column:
    # o = ½, 0 and f = ½, ½: 1 − ¼ / (¼ + ½) = 2/3, whatever the member has in the last column.
    truth, member = np.zeros((1, 2, 4)), np.zeros((1, 1, 2, 4))
    truth[0, :, 0] = member[0, 0, :, 1] = member[0, 0, :, 3] = MM_PER_HOUR
    truth[..., 3] = np.nan
    config = ScoreConfig(thresholds=(1.0,), scales=(2,), lags=(1,))
    scored = score_ensemble(record(member), record(truth), area(np.ones((2, 4))), config=config)
    assert tabulate(scored)["fss_1mmh_2cells"]["value"] == pytest.approx(2 / 3)


def test_a_change_takes_cells_that_are_scored_in_both_frames() -> None:
    # Three frames, two cells; the second cell is missing in the middle, so only the first changes.
    levels = np.array([[0.0, 5.0], [1.0, 9.0], [3.0, 5.0]])[:, None, :]
    truth = levels.copy()
    truth[1, 0, 1] = np.nan
    config = ScoreConfig(thresholds=(), lags=(1,), scales=(1,), window=2, block_frames=4)
    scored = score_ensemble(record(levels[None]), record(truth), area([[1, 1]]), config=config)
    assert float(scored["seam_ratio"].sel(estimate="value")) == pytest.approx(2 / 1)
    assert float(scored["seam_ratio_truth"].sel(estimate="value")) == pytest.approx(2 / 1)


def test_frames_with_a_hole_in_the_box_have_no_spectrum() -> None:
    truth, pr = rain((20, 8, 8), 1), rain((2, 20, 8, 8))
    truth[0, 3, 3] = np.nan
    whole = score_ensemble(record(pr), record(truth), area(np.ones((8, 8))), config=CONFIG)
    rest = score_ensemble(record(pr[:, 1:]), record(truth[1:]), area(np.ones((8, 8))))
    assert whole.attrs["spectrum_box"] == "all cells"
    for name in ("rapsd", "rapsd_truth"):
        xr.testing.assert_allclose(whole[name], rest[name])


def test_no_truth_at_all_gives_no_scores_and_no_error() -> None:
    pr, truth = rain((2, 6, 8, 8)), np.full((6, 8, 8), np.nan)
    assert not tabulate(score_ensemble(record(pr), record(truth), area(np.ones((8, 8)))))


def test_a_missing_coarse_record_has_a_spectrum_where_it_is_known() -> None:
    coarse = rain((4, 8, 8))
    coarse[:, :2] = np.nan
    cells = area(np.ones((16, 16)))
    found = on_fine_cells(record(coarse), cells, ScoreConfig(block_frames=2), axis())
    assert np.isfinite(found["rapsd"]).all()
    assert float(found["histogram"].sum()) == pytest.approx(1)


def test_infinite_values_are_refused() -> None:
    truth = rain((6, 4, 4), 1)
    truth[2, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"truth has 1 infinite values.*2001-01-01T07:30"):
        score_ensemble(record(rain((2, 6, 4, 4))), record(truth), area(np.ones((4, 4))))


def test_spectra_of_other_boxes_do_not_merge() -> None:
    pr, truth = record(rain((2, 8, 8, 8))), rain((8, 8, 8), 1)
    truth[4:, :2] = np.nan
    parts = [
        gather(pr.isel(time=s), record(truth).isel(time=s), area(np.ones((8, 8))),
               config=ScoreConfig(scales=(1,), block_frames=4), axis=axis())
        for s in (slice(0, 4), slice(4, 8))
    ]  # fmt: skip
    with pytest.raises(ValueError, match="other cells are missing"):
        parts[0] + parts[1]


def brute_force(valid: np.ndarray) -> int:
    ny, nx = valid.shape
    return max(
        ((y1 - y0) * (x1 - x0)
         for y0 in range(ny) for y1 in range(y0 + 1, ny + 1)
         for x0 in range(nx) for x1 in range(x0 + 1, nx + 1) if valid[y0:y1, x0:x1].all()),
        default=0,
    )  # fmt: skip


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.9]))
def test_largest_rectangle_is_as_large_as_any(seed: int, missing: float) -> None:
    valid = np.random.default_rng(seed).random((6, 7)) >= missing
    found = largest_rectangle(valid)
    size = 0 if found is None else valid[found].size
    assert found is None or valid[found].all()
    assert size == brute_force(valid)
