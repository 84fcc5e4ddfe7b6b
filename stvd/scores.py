"""Verification of a rain ensemble against the truth, in one bounded pass, with intervals.

`score_ensemble` is all that most callers need. It is `statistics.gather`, which sums what is needed
over pieces of the record, followed by `score`, which turns the sums into the scores below; both
are public so that partitions can be counted apart and merged by `+`. `compare` sets one system against
another on the same record; `stvd.score_tables` makes plain numbers of the scores.

Cells without truth or without coarse input are in none of them (`stvd.piece_statistics`).

| score | formula, with member x_m, truth y, area-weighted mean ⟨·⟩ over scored cells and frames |
| --- | --- |
| crps | ⟨ Σ_m abs(x_m − y) / M − Σ_mn abs(x_m − x_n) / 2M² ⟩, of the empirical distribution |
| crps_fair | the same with 2M(M − 1): unbiased for an ensemble of any size |
| twcrps | crps_fair of max(x, t) and max(y, t): what the rain above a threshold t adds |
| mse_sample, mse_mean | ⟨ (x_m − y)² ⟩ over members; ⟨ (x̄ − y)² ⟩ of the ensemble mean |
| mean_error | ⟨ x̄ − y ⟩ |
| spread_skill | √((M + 1) / M · ⟨ var_m ⟩ / mse_mean); 1 when members and truth are exchangeable |
| rank_histogram | share of the truth in each rank among the members, ties shared; `_wet` where it rains |
| emd | ∫ abs(F_x − F_y) dp of the pooled values |
| pe | abs(P99.999(x) − P99.999(y)) of the pooled values |
| quantile_ratio | P_q(x) / P_q(y) of the pooled values, q = 99, 99.9, 99.99, 99.999% |
| sae | mean abs(I_x(h) − I_y(h)) over lags h, frames and members (`spatial.autocorrelation`) |
| lsd | log-spectral distance √mean_k (10 log10 S_x(k) / S_y(k))², of the mean spectra |
| rapsd_band | S_x, the radially averaged power spectral density, at wavelengths λ to 2λ |
| rapsd_ratio | the same over that of the truth |
| fss | 1 − Σ (f − o)² / Σ (f² + o²) of the neighbourhood fractions f and o |
| lag1, lag1_error | correlation of consecutive frames over cells and time; abs(members − truth) |
| wet_to_dry, dry_to_wet | share of the wet cells that are dry a frame later, and the reverse |
| transition_error | mean of abs(members − truth) of these two shares |
| block_violation | Σ abs(block mean of x_m − coarse) / Σ coarse |
| seam_ratio | mean abs(frame-to-frame change) where a window begins over that inside windows |
| tile_seam_ratio | mean abs(difference of adjacent cells) over tile edges over that inside tiles |

Seam ratios also come as `_truth`, that of the truth at the same edges, and `_relative`, members over
truth: weather that happens to change at an edge is in both. The difference of neighbours inside tiles
is taken along y and x in the shares that the edges have.

A single member is a deterministic forecast: crps, crps_fair and twcrps are those of a point, and
there is no spread–skill ratio and no rank histogram.

The published SAE has no formula in its paper; this one is dimensionless and not comparable with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig
from stvd.score_formulas import RATE, distributions, ranks, ratios, scores
from stvd.statistics import FEWEST_BLOCKS, Statistics, block_length, gather

ATTRIBUTES = {
    "crps": ("continuous ranked probability score of the empirical distribution", RATE),
    "crps_fair": ("fair continuous ranked probability score", RATE),
    "twcrps": ("fair threshold-weighted continuous ranked probability score", RATE),
    "mse_sample": ("mean squared error of a member", "kg2 m-4 s-2"),
    "mse_mean": ("mean squared error of the ensemble mean", "kg2 m-4 s-2"),
    "mean_error": ("mean error of the ensemble mean", RATE),
    "spread_skill": ("spread–skill ratio, corrected for ensemble size", "1"),
    "emd": ("1-Wasserstein distance of pooled values", RATE),
    "pe": ("absolute error of the 99.999th percentile of pooled values", RATE),
    "quantile_ratio": ("quantile of pooled values over that of the truth", "1"),
    "sae": ("mean absolute error of the spatial autocorrelation", "1"),
    "lsd": ("log-spectral distance of the radially averaged spectra, in decibels", "1"),
    "rapsd_band": ("radially averaged power spectral density in an octave", f"({RATE})2"),
    "rapsd_ratio": ("power in an octave over that of the truth", "1"),
    "fss": ("fractions skill score of a member", "1"),
    "lag1": ("correlation of consecutive frames", "1"),
    "lag1_truth": ("correlation of consecutive frames of the truth", "1"),
    "lag1_error": ("absolute error of the correlation of consecutive frames", "1"),
    "wet_to_dry": ("share of wet cells that are dry a frame later", "1"),
    "wet_to_dry_truth": ("share of wet cells that are dry a frame later, truth", "1"),
    "dry_to_wet": ("share of dry cells that are wet a frame later", "1"),
    "dry_to_wet_truth": ("share of dry cells that are wet a frame later, truth", "1"),
    "transition_error": ("mean absolute error of the shares that turn dry and wet", "1"),
    "block_violation": ("mean absolute departure of block means from the input, relative", "1"),
    "seam_ratio": ("jump where a window begins over jump inside windows", "1"),
    "seam_ratio_truth": ("the same ratio in the truth", "1"),
    "seam_ratio_relative": ("the ratio of the members over that of the truth", "1"),
    "tile_seam_ratio": ("difference over tile edges over difference inside tiles", "1"),
    "tile_seam_ratio_truth": ("the same ratio in the truth", "1"),
    "tile_seam_ratio_relative": ("the ratio of the members over that of the truth", "1"),
    "rank_histogram": ("share of the truth in each rank", "1"),
    "rank_histogram_wet": ("share of the truth in each rank where truth or a member is wet", "1"),
    "rapsd": ("radially averaged power spectral density of the members", f"({RATE})2"),
    "rapsd_truth": ("radially averaged power spectral density of the truth", f"({RATE})2"),
    "autocorrelation": ("spatial autocorrelation of a member, mean over frames", "1"),
    "autocorrelation_truth": ("spatial autocorrelation of the truth, mean over frames", "1"),
    "histogram": ("share of the area and time in each bin of rain rate, members", "1"),
    "histogram_truth": ("share of the area and time in each bin of rain rate, truth", "1"),
}
LABELS = {
    "estimate": ("value of the score, and bounds of its 90% interval", None),
    "threshold": ("rain rate that makes the event", "mm h-1"),
    "tail": ("rain rate above which rain counts", "mm h-1"),
    "scale": ("side of the neighbourhood, fine cells", "1"),
    "lag": ("distance, fine cells", "1"),
    "level": ("probability of the quantile", "1"),
    "wavelength": ("shortest wavelength of the octave, fine cells", "1"),
    "frequency": ("frequency, cycles per cell", "1"),
    "rank": ("rank of the truth among the members", "1"),
}
"""What the coordinates of scores are: long name and units."""


def score_ensemble(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    area: xr.DataArray,
    coarse: xr.DataArray | None = None,
    *,
    axis: TimeAxis | None = None,
    config: ScoreConfig | None = None,
    replicates: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Score an ensemble against the truth: `gather`, then `score`.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, lazily or in memory
    truth : DataArray, shape (time, [tile,] y, x); missing cells are not scored. None: what the
        ensemble alone gives
    area : DataArray, shape ([tile,] y, x), m2
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), the input
    axis : lattice of time on which windows and bootstrap blocks lie
    config : what is counted; None takes the defaults and a block length from the record
    replicates, seed : of the block bootstrap

    Returns
    -------
    Dataset as from `score`

    Raises
    ------
    ValueError
        As `statistics.gather`.
    """
    if config is None:
        step = 10_800 if axis is None else axis.step_seconds
        config = ScoreConfig(block_frames=block_length(pr.sizes["time"], step))
    statistics = gather(pr, truth, area, coarse, config=config, axis=axis, progress=progress)
    return score(statistics, replicates=replicates, seed=seed)


def score(statistics: Statistics, *, replicates: int = 200, seed: int = 0) -> xr.Dataset:
    """Turn summed statistics into scores with 90% intervals.

    The interval is that of a block bootstrap: blocks of time are drawn with replacement, their sums
    added and scored again; draws in which a score is not defined are left out. Fewer than 5 blocks
    give no interval (NaN).

    Returns
    -------
    Dataset; the scores with the dimension `estimate` (value, low, high), some also with
    `threshold`, `tail`, `scale`, `level` or `wavelength`; `rank_histogram` with `_low` and `_high`;
    `rapsd`, `histogram`, `autocorrelation` (lag) and the same of the truth
    """
    total = statistics.sums.sum("block", skipna=False)
    drawn = _resampled(statistics, replicates, seed)
    scored = _estimates(
        scores(total, statistics.members),
        None if drawn is None else scores(drawn, statistics.members),
    )
    scored = scored.merge(distributions(total))
    ranked = _estimates(ranks(total), None if drawn is None else ranks(drawn))
    for bound in ("low", "high"):
        at = ranked.sel(estimate=bound, drop=True)
        scored = scored.merge(at.rename({n: f"{n}_{bound}" for n in at.data_vars}))
    for name in scored.data_vars:
        known = str(name).removesuffix("_low").removesuffix("_high")
        scored[name].attrs = dict(zip(("long_name", "units"), ATTRIBUTES[known], strict=True))
    for name in LABELS.keys() & scored.coords.keys():
        long_name, units = LABELS[str(name)]
        scored[name].attrs = {"long_name": long_name} | ({} if units is None else {"units": units})
    box = statistics.config.spectrum_box
    scored.attrs = _about(statistics) | {
        "members": statistics.members,
        "spectrum_box": "all cells" if box is None else "y {}:{}, x {}:{}".format(*box),
    }
    return scored


def compare(a: Statistics, b: Statistics, *, replicates: int = 200, seed: int = 0) -> xr.Dataset:
    """Scores of one system over those of another on the same record, with 90% intervals.

    Both are resampled by the same blocks, so what they share (an easy or a hard day) is no part of the
    interval. Only scores that are 0 for a perfect system are compared (`ERRORS`).

    Returns
    -------
    Dataset with the dimension `estimate` (value, low, high); 0.75 says that `a` has three quarters of
    the error of `b`

    Raises
    ------
    ValueError
        If the two were not counted over the same cells and frames.
    """
    same = a.config == b.config and a.sums["covered"].equals(b.sums["covered"])
    cells = [s.sums["histogram"].sum("bin").values for s in (a, b)]
    if not same or not np.allclose(cells[0], cells[1], rtol=1e-9):
        raise ValueError(
            "the systems were scored on other frames, cells or with other configurations; gather both "
            "with the same truth, input, axis and config"
        )
    totals = (t.sums.sum("block", skipna=False) for t in (a, b))
    value = ratios(*(scores(s, t.members) for s, t in zip(totals, (a, b), strict=True)))
    drawn = [_resampled(t, replicates, seed) for t in (a, b)]
    replicated = [scores(s, t.members) for s, t in zip(drawn, (a, b), strict=True) if s is not None]
    compared = _estimates(value, ratios(*replicated) if replicated else None)
    for name in compared.data_vars:
        long_name = f"{ATTRIBUTES[str(name)][0]}, over that of the other system"
        compared[name].attrs = {"long_name": long_name, "units": "1"}
    compared.attrs = _about(a)
    return compared


def _about(statistics: Statistics) -> dict[str, int | str]:
    blocks = int(statistics.sums.sizes["block"])
    return {
        "frames": statistics.frames,
        "blocks": blocks,
        "block_frames": statistics.config.block_frames,
        "interval": "90%, block bootstrap" if blocks >= FEWEST_BLOCKS else "none",
    }


def _resampled(statistics: Statistics, replicates: int, seed: int) -> xr.Dataset | None:
    """Sums over blocks drawn with replacement, with the dimension `replicate`; None for too few."""
    sums = statistics.sums.drop_vars(["block", "covered"])
    blocks = sums.sizes["block"]
    if blocks < FEWEST_BLOCKS or replicates < 1:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates)
    times = xr.DataArray(drawn.astype(np.float64), dims=("replicate", "block"))
    return xr.Dataset({k: xr.dot(times, v, dim="block") for k, v in sums.items()})


def _estimates(value: xr.Dataset, replicated: xr.Dataset | None) -> xr.Dataset:
    """Value, and the 5th and 95th percentile of the replicates, along `estimate`."""
    low = high = value * np.nan
    if replicated is not None and value.data_vars:
        # Where a score is undefined in all replicates, numpy warns of what is meant: NaN.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            bounds = replicated.quantile([0.05, 0.95], "replicate")
        low, high = (bounds.isel(quantile=k, drop=True) for k in (0, 1))
    estimate = xr.Variable("estimate", np.array(["value", "low", "high"]))
    return xr.concat([value, low, high], estimate)
