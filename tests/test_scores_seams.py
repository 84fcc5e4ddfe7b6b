"""Seams of windows and tiles, changes in time, tails and spectra by hand; one system over another."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rain_samples import MM_PER_HOUR, area, axis, rain, record
from scores.probability import tail_tw_crps_for_ensemble

from stvd.piece_statistics import ScoreConfig
from stvd.score_formulas import ERRORS
from stvd.score_tables import tabulate
from stvd.scores import compare, score, score_ensemble
from stvd.spatial import neighbour_jumps
from stvd.statistics import gather

PLAIN = ScoreConfig(thresholds=(1.0,), scales=(1,), lags=(1,), block_frames=4)


def value(scored: xr.Dataset, name: str) -> float:
    found = tabulate(scored)[name]["value"]
    assert isinstance(found, float)
    return found


# --- seams ----------------------------------------------------------------------------------------


def stairs(steps: list[float]) -> np.ndarray:
    """Frames of two cells that rise by `steps`, shape (time, 1, 2)."""
    return np.concatenate([[0.0], np.cumsum(steps)])[:, None, None] * np.ones((1, 2))


def test_seams_of_windows_of_two_lengths() -> None:
    # Windows 0–4, 5–7, 8–12: the seams are 4|5 and 7|8, the steps into 5 and 8.
    member = stairs([1, 1, 1, 1, 3, 1, 1, 3, 1])  # into frames 1 … 9; 3 over the seams, else 1
    truth = stairs([2, 2, 2, 2, 4, 2, 2, 4, 2])  # 4 / 2 = 2
    config = PLAIN.model_copy(update={"window": 8, "window_edges": (0, 5)})
    scored = score_ensemble(record(member[None]), record(truth), area([[1, 1]]), config=config)
    assert value(scored, "seam_ratio") == pytest.approx(3)
    assert value(scored, "seam_ratio_truth") == pytest.approx(2)
    assert value(scored, "seam_ratio_relative") == pytest.approx(1.5)


def test_seams_lie_on_the_absolute_lattice() -> None:
    # From frame 6 on: the steps lead into 7, 8, …, 14; the seams are those into 8 and 13.
    member = stairs([1, 3, 1, 1, 1, 1, 3, 1])
    pr = record(member[None], frames=range(6, 15))
    config = PLAIN.model_copy(update={"window": 8, "window_edges": (0, 5)})
    scored = score_ensemble(pr, None, area([[1, 1]]), axis=axis(), config=config)
    assert value(scored, "seam_ratio") == pytest.approx(3)


@pytest.mark.parametrize("edges", [(8,), (-1,), ()], ids=str)
def test_edges_outside_the_cycle_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not lie in a cycle of 8 frames"):
        ScoreConfig(window=8, window_edges=edges)


def test_tile_seams_by_hand() -> None:
    # Along x 0 1 4 5: 3 over the edge at 2, else 1; two equal rows, so 0 along y, over its edge too.
    # Edges: two pairs of x, four of y. Inside x 1, inside y none: (2 · 3 + 4 · 0) / (2 · 1) = 3.
    member = np.array([[[[0.0, 1.0, 4.0, 5.0]] * 2]])
    truth = np.array([[[0.0, 2.0, 4.0, 8.0]] * 2])  # 2 over the edge, 2 and 4 inside: 2 / 3
    config = PLAIN.model_copy(update={"tile_edges_x": (2,), "tile_edges_y": (1,)})
    scored = score_ensemble(record(member), record(truth), area(np.ones((2, 4))), config=config)
    assert value(scored, "tile_seam_ratio") == pytest.approx(3)
    assert value(scored, "tile_seam_ratio_truth") == pytest.approx(2 / 3)
    assert value(scored, "tile_seam_ratio_relative") == pytest.approx(4.5)


def test_tile_seams_along_y_are_held_against_neighbours_along_y() -> None:
    # Along y 0 2 4 6 is twice as steep as along x, everywhere: no seam at any edge.
    y, x = np.mgrid[:4, :6]
    member = (2.0 * y + x)[None, None]
    config = PLAIN.model_copy(update={"tile_edges_y": (2,), "tile_edges_x": (2, 4)})
    scored = score_ensemble(record(member), None, area(np.ones((4, 6))), config=config)
    assert value(scored, "tile_seam_ratio") == pytest.approx(1)


def test_neighbour_jumps_by_hand() -> None:
    # Differences 1, 2, 4 and, around, 7 from the last to the first; pair weights 1.5, 2.5, 0, 0.
    field, weights = np.array([[0.0, 1.0, 3.0, 7.0]]), np.array([[1.0, 2.0, 3.0, 0.0]])
    found = neighbour_jumps(field, weights, (2,), -1)
    assert found.tolist() == [2 * 2.5, 1 * 1.5, 2.5, 1.5]
    everywhere = neighbour_jumps(field, np.ones((1, 4)), (0,), -1, periodic=True)
    assert everywhere.tolist() == [7, 1 + 2 + 4, 1, 3]
    assert neighbour_jumps(field.T, weights.T, (2,), -2).tolist() == found.tolist()


# --- changes in time ------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.integers(0, 1000))
def test_lag1_is_the_correlation_of_consecutive_frames(seed: int) -> None:
    pr, truth = rain((1, 6, 4, 4), seed), rain((6, 4, 4), seed + 1)
    scored = score_ensemble(record(pr), record(truth), area(np.ones((4, 4))), config=PLAIN)
    ours, true = (
        np.corrcoef(v[:-1].ravel(), v[1:].ravel())[0, 1] for v in (pr[0], truth)
    )  # fmt: skip
    assert value(scored, "lag1") == pytest.approx(ours, abs=1e-9)
    assert value(scored, "lag1_truth") == pytest.approx(true, abs=1e-9)
    assert value(scored, "lag1_error") == pytest.approx(abs(ours - true), abs=1e-9)


def test_wet_and_dry_by_hand() -> None:
    # Four equal cells, two frames (wet 1). Truth: 1 1 0 0 → 1 0 0 0: ½ dries, 0 turns wet.
    # Member: 1 1 1 0 → 0 0 1 1: ⅔ dry, 1 of 1 turns wet. Errors ⅙ and 1: mean 7/12.
    truth = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]]) * MM_PER_HOUR
    member = np.array([[[[1, 1, 1, 0]], [[0, 0, 1, 1]]]]) * MM_PER_HOUR
    scored = score_ensemble(record(member), record(truth), area(np.ones((1, 4))), config=PLAIN)
    expected = {"wet_to_dry": 2 / 3, "wet_to_dry_truth": 1 / 2, "dry_to_wet": 1.0,
                "dry_to_wet_truth": 0.0, "transition_error": 7 / 12}  # fmt: skip
    for name, number in expected.items():
        assert value(scored, name) == pytest.approx(number), name


# --- tails and spectra ----------------------------------------------------------------------------


def test_threshold_weighted_crps_by_hand() -> None:
    # Above 1.5 (5400 mm/h), cell 1 (area 3): members 1.5, 2, truth 1.5: ½·½ − ½·½ = 0; cell 2
    # (area 1): members 3, 3, truth 1.5: 1.5. Mean 1.5/4.
    members, truth = np.array([[[[0.0, 3.0]]], [[[2.0, 3.0]]]]), np.array([[[1.0, 1.0]]])
    config = PLAIN.model_copy(update={"tails": (5400.0,)})
    scored = score_ensemble(record(members), record(truth), area([[3, 1]]), config=config)
    assert value(scored, "twcrps_5400mmh") == pytest.approx(0.375)


@pytest.mark.parametrize("tail", [1.0, 5.0])
def test_threshold_weighted_crps_equals_the_scores_package(tail: float) -> None:
    pr, truth = record(rain((5, 10, 12, 16), 3) * 3), record(rain((10, 12, 16), 4) * 3)
    cells = area(np.random.default_rng(5).uniform(1, 2, (12, 16)))
    theirs = tail_tw_crps_for_ensemble(
        pr, truth, "member", tail * MM_PER_HOUR, method="fair", weights=cells
    )
    scored = score_ensemble(pr, truth, cells, config=PLAIN)
    assert value(scored, f"twcrps_{tail:g}mmh") == pytest.approx(float(theirs), rel=1e-10)


def test_twice_the_rain_has_twice_the_quantiles_and_four_times_the_power() -> None:
    truth = rain((4, 16, 16), 1, dry=0.1)
    scored = score_ensemble(
        record(2 * truth[None]), record(truth), area(np.ones((16, 16))), config=PLAIN
    )
    for name in ("p99_ratio", "p99_9_ratio", "p99_99_ratio", "p99_999_ratio"):
        assert value(scored, name) == pytest.approx(2, rel=0.007)  # two bins of 0.31%
    for wavelength in (2, 4, 8):
        assert value(scored, f"rapsd_ratio_{wavelength}cells") == pytest.approx(4)
    assert value(scored, "lsd") == pytest.approx(10 * np.log10(4))


def test_octaves_of_the_spectrum() -> None:
    # 16 cells: frequencies k/16; λ of 8–16: k = 2 alone is λ = 8, k = 1 is λ = 16 (to 32).
    pr, truth = record(rain((2, 4, 16, 16))), record(rain((4, 16, 16), 1))
    scored = score_ensemble(pr, truth, area(np.ones((16, 16))), config=PLAIN)
    power = scored["rapsd"].values
    bands = {16: power[:1], 8: power[1:2], 4: power[2:4], 2: power[4:8]}
    for wavelength, expected in bands.items():
        assert value(scored, f"rapsd_{wavelength}cells") == pytest.approx(expected.mean())


# --- as a table, and one system over another ------------------------------------------------------


def test_the_table_has_every_score_with_units_and_interval() -> None:
    pr, truth = record(rain((3, 40, 16, 16)) * 4), record(rain((40, 16, 16), 1) * 4)
    config = ScoreConfig(scales=(1, 8), window=5, tile_edges_x=(8,), block_frames=4)
    coarse = record(rain((40, 2, 2), 2))
    scored = score_ensemble(pr, truth, area(np.ones((16, 16))), coarse, config=config)
    table = tabulate(scored)
    assert {
        "crps", "crps_fair", "twcrps_1mmh", "twcrps_5mmh", "mse_sample", "mse_mean", "mean_error",
        "spread_skill", "emd", "pe", "sae", "lsd", "fss_1mmh_8cells", "p99_ratio", "p99_999_ratio",
        "rapsd_2cells", "rapsd_ratio_8cells", "lag1", "lag1_truth", "lag1_error", "wet_to_dry",
        "dry_to_wet", "transition_error", "block_violation", "seam_ratio", "seam_ratio_truth",
        "seam_ratio_relative", "tile_seam_ratio", "tile_seam_ratio_truth",
        "tile_seam_ratio_relative", "rank_histogram_1", "rank_histogram_wet_4",
    } <= table.keys()  # fmt: skip
    for name, entry in table.items():
        assert entry.keys() == {"value", "low", "high", "units"}
        assert entry["units"], name
        low, high = entry["low"], entry["high"]
        assert isinstance(low, float), name
        assert isinstance(high, float), name
        assert low <= high
    assert sum(table[f"rank_histogram_{k}"]["value"] for k in range(1, 5)) == pytest.approx(1)


def test_an_interval_of_a_ratio_leaves_out_what_both_systems_share() -> None:
    # Errors of 1 or 9 by the block, `a` has 0.8 of those of `b`: the ratio is known exactly.
    hard = np.repeat(np.random.default_rng(2).choice([1.0, 9.0], 16), 4)
    error = hard[:, None, None] * np.ones((1, 2)) * MM_PER_HOUR
    truth, cells = record(0 * error), area([[1.0, 1.0]])
    a, b = (gather(record(f * error[None]), truth, cells, config=PLAIN) for f in (0.8, 1.0))
    compared = compare(a, b)
    entry = tabulate(compared)["crps"]
    assert [entry[k] for k in ("value", "low", "high")] == pytest.approx([0.8] * 3)
    assert entry["units"] == "1"
    assert set(compared.data_vars) <= set(ERRORS)
    alone = tabulate(score(b))["crps"]
    assert alone["high"] > 1.2 * alone["value"]  # type: ignore[operator]


def test_an_ensemble_compares_with_a_single_forecast() -> None:
    pr, truth, cells = rain((4, 24, 8, 8)), record(rain((24, 8, 8), 1)), area(np.ones((8, 8)))
    mean = record(pr.mean(axis=0, keepdims=True))
    a, b = (gather(v, truth, cells, config=PLAIN) for v in (record(pr), mean))
    ratio = tabulate(compare(a, b))["crps_fair"]
    expected = tabulate(score(a))["crps_fair"]["value"] / tabulate(score(b))["crps"]["value"]  # type: ignore[operator]
    assert ratio["value"] == pytest.approx(expected)
    assert ratio["low"] <= ratio["value"] <= ratio["high"]  # type: ignore[operator]


def test_systems_on_other_cells_do_not_compare() -> None:
    pr, truth, cells = record(rain((2, 8, 4, 4))), rain((8, 4, 4), 1), area(np.ones((4, 4)))
    config = PLAIN.model_copy(update={"spectrum_box": (0, 2, 0, 2)})
    a = gather(pr, record(truth), cells, config=config)
    truth[:, 3] = np.nan
    b = gather(pr, record(truth), cells, config=config)
    with pytest.raises(ValueError, match="other frames, cells or with other configurations"):
        compare(a, b)
