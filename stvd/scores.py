"""Verification of a rain ensemble against the truth, in one bounded pass, with intervals.

`score_ensemble` is all that most callers need. It is `statistics.gather`, which sums what is needed
over pieces of the record, followed by `score`, which turns the sums into the scores below; both
are public so that partitions can be counted apart and merged by `+`.

| score | formula, with member x_m, truth y, area-weighted mean ⟨·⟩ over cells and frames |
| --- | --- |
| crps | ⟨ Σ_m abs(x_m − y) / M − Σ_mn abs(x_m − x_n) / 2M² ⟩, of the empirical distribution |
| crps_fair | the same with 2M(M − 1): unbiased for an ensemble of any size |
| mse_sample, mse_mean | ⟨ (x_m − y)² ⟩ over members; ⟨ (x̄ − y)² ⟩ of the ensemble mean |
| mean_error | ⟨ x̄ − y ⟩ |
| spread_skill | √((M + 1) / M · ⟨ var_m ⟩ / mse_mean); 1 when members and truth are exchangeable |
| emd | ∫ abs(F_x − F_y) dp of the pooled values |
| pe | abs(P99.999(x) − P99.999(y)) of the pooled values |
| sae | mean abs(I_x(h) − I_y(h)) over lags h, frames and members (`spatial.autocorrelation`) |
| lsd | log-spectral distance √mean_k (10 log10 S_x(k) / S_y(k))², of the mean spectra |
| fss | 1 − Σ (f − o)² / Σ (f² + o²) of the neighbourhood fractions f and o |
| block_violation | Σ abs(block mean of x_m − coarse) / Σ coarse |
| seam_ratio | mean abs(frame-to-frame change) at window edges over that inside windows |

The published SAE has no formula in its paper; this one is dimensionless and not comparable with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from stvd.intensity import EDGES, earth_mover_distance, quantile
from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig
from stvd.statistics import Statistics, block_length, gather

RATE = "kg m-2 s-1"
PERCENTILE = 0.99999
FEWEST_BLOCKS = 5

ATTRIBUTES = {
    "crps": ("continuous ranked probability score of the empirical distribution", RATE),
    "crps_fair": ("fair continuous ranked probability score", RATE),
    "mse_sample": ("mean squared error of a member", "kg2 m-4 s-2"),
    "mse_mean": ("mean squared error of the ensemble mean", "kg2 m-4 s-2"),
    "mean_error": ("mean error of the ensemble mean", RATE),
    "spread_skill": ("spread–skill ratio, corrected for ensemble size", "1"),
    "emd": ("1-Wasserstein distance of pooled values", RATE),
    "pe": ("absolute error of the 99.999th percentile of pooled values", RATE),
    "sae": ("mean absolute error of the spatial autocorrelation", "1"),
    "lsd": ("log-spectral distance of the radially averaged spectra", "dB"),
    "fss": ("fractions skill score of a member", "1"),
    "block_violation": ("mean absolute departure of block means from the input, relative", "1"),
    "seam_ratio": ("jump at window edges over jump inside windows", "1"),
    "seam_ratio_truth": ("the same ratio in the truth", "1"),
    "rank_histogram": ("share of the truth in each rank", "1"),
    "rank_histogram_wet": ("share of the truth in each rank where truth or a member is wet", "1"),
    "rapsd": ("radially averaged power spectral density of the members", f"({RATE})2"),
    "rapsd_truth": ("radially averaged power spectral density of the truth", f"({RATE})2"),
    "histogram": ("share of the area and time in each bin of rain rate, members", "1"),
    "histogram_truth": ("share of the area and time in each bin of rain rate, truth", "1"),
}


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
    added and scored again. Fewer than 5 blocks give no interval (NaN).

    Returns
    -------
    Dataset; the scores with the dimension `estimate` (value, low, high), `fss` also with
    `threshold` and `scale`; `rank_histogram`, `rapsd`, `histogram` and the same of the truth
    """
    sums = statistics.sums.drop_vars("covered").assign_coords(block=np.arange(_blocks(statistics)))
    frames = statistics.sums["covered"].sum("slot").assign_coords(block=sums["block"])
    sums = sums.assign(frames=frames)
    value = _scores(sums.sum("block", skipna=False), statistics)
    low, high = _interval(sums, statistics, replicates, seed)
    estimate = xr.Variable("estimate", np.array(["value", "low", "high"]))
    scored = xr.concat([value, low, high], estimate)
    scored = scored.merge(_distributions(sums.sum("block", skipna=False)))
    for name, (long_name, units) in ATTRIBUTES.items():
        if name in scored:
            scored[name].attrs = {"long_name": long_name, "units": units}
    scored.attrs = {
        "members": statistics.members,
        "frames": statistics.frames,
        "blocks": _blocks(statistics),
        "block_frames": statistics.config.block_frames,
        "interval": "90%, block bootstrap" if _blocks(statistics) >= FEWEST_BLOCKS else "none",
    }
    return scored


def flatten(scored: xr.Dataset, *, intervals: bool = True) -> dict[str, float]:
    """Scores as plain numbers, e.g. `{"crps": …, "crps_low": …, "fss_1mmh_8cells": …}`.

    Numbers that are not defined (NaN) are left out; names suit MLflow metrics.
    """
    flat: dict[str, float] = {}
    for name, array in scored.data_vars.items():
        if "estimate" not in array.dims:
            continue
        others = [d for d in array.dims if d != "estimate"]
        points = array.stack(point=others).transpose("point", "estimate") if others else [array]
        for point in points:
            key = str(name)
            if others:
                threshold, scale = float(point["threshold"]), int(point["scale"])
                key = f"{name}_{threshold:g}mmh_{scale}cells"
            for estimate, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                number = float(point.sel(estimate=estimate))
                if math.isfinite(number) and (intervals or not suffix):
                    flat[key + suffix] = number
    return flat


def _blocks(statistics: Statistics) -> int:
    return int(statistics.sums.sizes["block"])


def _interval(
    sums: xr.Dataset, statistics: Statistics, replicates: int, seed: int
) -> tuple[xr.Dataset, xr.Dataset]:
    """The 5th and 95th percentile of every score over resampled blocks."""
    blocks = sums.sizes["block"]
    missing = _scores(sums.sum("block", skipna=False), statistics) * np.nan
    if blocks < FEWEST_BLOCKS or replicates < 1 or not missing.data_vars:
        return missing, missing
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates)
    times = xr.DataArray(drawn.astype(np.float64), dims=("replicate", "block"))
    resampled = xr.Dataset({k: xr.dot(times, v, dim="block") for k, v in sums.items()})
    replicated = _scores(resampled, statistics)
    bounds = replicated.quantile([0.05, 0.95], "replicate", skipna=False)
    return bounds.isel(quantile=0, drop=True), bounds.isel(quantile=1, drop=True)


def _scores(s: xr.Dataset, statistics: Statistics) -> xr.Dataset:
    """Every score whose sums are there; NaN where a denominator is 0."""
    out: dict[str, xr.DataArray] = {}
    if "crps" in s:
        for name in ("crps", "crps_fair", "mse_sample", "mse_mean"):
            out[name] = _ratio(s[name], s["weight"])
        out["mean_error"] = _ratio(s["error"], s["weight"])
        size = (statistics.members + 1) / statistics.members
        out["spread_skill"] = (size * _ratio(s["variance"], s["mse_mean"])) ** 0.5
        ours, true = s["histogram"], s["histogram_truth"]
        bins = [["bin"], ["bin"]]
        out["emd"] = xr.apply_ufunc(earth_mover_distance, ours, true, input_core_dims=bins)
        out["pe"] = abs(_percentile(ours) - _percentile(true))
        out["sae"] = _ratio(s["autocorrelation_gap"], s["autocorrelation_count"]).mean("lag")
        decibel = 10 * xr.apply_ufunc(np.log10, _ratio(s["rapsd"], s["rapsd_truth"]))
        out["lsd"] = (decibel**2).mean("frequency") ** 0.5
        out["fss"] = 1 - _ratio(s["fss_difference"], s["fss_reference"])
    if "block_gap" in s:
        out["block_violation"] = _ratio(s["block_gap"], s["block_rain"])
    for name in ("", "_truth"):
        if f"jump_edge{name}" in s:
            edge = _ratio(s[f"jump_edge{name}"], s[f"steps_edge{name}"])
            inside = _ratio(s[f"jump_inside{name}"], s[f"steps_inside{name}"])
            out[f"seam_ratio{name}"] = _ratio(edge, inside)
    return xr.Dataset(out)


def _percentile(histogram: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(quantile, histogram, input_core_dims=[["bin"]], kwargs={"q": PERCENTILE})


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)


def _distributions(s: xr.Dataset) -> xr.Dataset:
    """Spectra, histograms and rank histograms of the whole record."""
    out: dict[str, xr.DataArray] = {}
    for name in ("rapsd", "rapsd_truth"):
        if name in s:
            out[name] = s[name] / s["frames"]
    for name in ("histogram", "histogram_truth"):
        if name in s:
            out[name] = _ratio(s[name], s[name].sum("bin"))
    for name, sums in (("rank_histogram", "rank_all"), ("rank_histogram_wet", "rank_wet")):
        if sums in s:
            out[name] = _ratio(s[sums], s[sums].sum("rank"))
    found = xr.Dataset(out)
    if "bin" in found.dims:
        edges = xr.Variable("bin", EDGES[1:], {"units": RATE, "long_name": "upper edge of the bin"})
        found = found.assign_coords(bin=edges)
    return found
