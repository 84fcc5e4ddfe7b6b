"""The scores of `stvd.scores` out of the sums of `stvd.statistics`: one formula each."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stvd.intensity import EDGES, earth_mover_distance, quantiles

RATE = "kg m-2 s-1"
LEVELS = (0.99, 0.999, 0.9999, 0.99999)
ERRORS = ("crps", "crps_fair", "twcrps", "mse_sample", "mse_mean", "emd", "pe", "sae", "lsd",
          "lag1_error", "transition_error", "block_violation")  # fmt: skip
"""Scores that are 0 for a perfect system, so that a ratio of two systems has a meaning."""
RANKS = {"rank_histogram": "rank_all", "rank_histogram_wet": "rank_wet"}


def scores(s: xr.Dataset, members: int) -> xr.Dataset:
    """Every score whose sums are there; NaN where a denominator is 0."""
    out: dict[str, xr.DataArray] = {}
    if "crps" in s:
        for name in ("crps", "crps_fair", "twcrps", "mse_sample", "mse_mean"):
            out[name] = _ratio(s[name], s["weight"])
        out["mean_error"] = _ratio(s["error"], s["weight"])
        size = (members + 1) / members
        out["spread_skill"] = (size * _ratio(s["variance"], s["mse_mean"])) ** 0.5
        out["sae"] = _ratio(s["autocorrelation_gap"], s["autocorrelation_count"]).mean("lag")
        out["fss"] = 1 - _ratio(s["fss_difference"], s["fss_reference"])
        out |= _of_rates(s) | _of_spectra(s) | _of_changes(s)
    if "block_gap" in s:
        out["block_violation"] = _ratio(s["block_gap"], s["block_rain"])
    return xr.Dataset(out | _seams(s))


def _of_rates(s: xr.Dataset) -> dict[str, xr.DataArray]:
    """Scores of the pooled distributions of rain rates."""
    ours, true = s["histogram"], s["histogram_truth"]
    emd = xr.apply_ufunc(earth_mover_distance, ours, true, input_core_dims=[["bin"], ["bin"]])
    rates = [
        xr.apply_ufunc(
            quantiles,
            histogram,
            input_core_dims=[["bin"]],
            output_core_dims=[["level"]],
            kwargs={"shares": LEVELS},
        ).assign_coords(level=("level", list(LEVELS), {"units": "1"}))
        for histogram in (ours, true)
    ]
    pe = abs(rates[0] - rates[1]).isel(level=-1, drop=True)
    return {"emd": emd, "pe": pe, "quantile_ratio": _ratio(rates[0], rates[1])}


def _of_spectra(s: xr.Dataset) -> dict[str, xr.DataArray]:
    """Log-spectral distance, and power per octave of wavelength."""
    ratio = _ratio(s["rapsd"], s["rapsd_truth"])
    decibel = 10 * xr.apply_ufunc(np.log10, ratio.where(ratio > 0))
    out = {"lsd": (decibel**2).mean("frequency") ** 0.5}
    octave = np.floor(np.log2(1 / s["frequency"].values * (1 + 1e-9))).astype(int)
    wavelength = xr.DataArray(2**octave, dims="frequency", name="wavelength")
    if wavelength.size:
        power = {n: s[n].groupby(wavelength).mean() for n in ("rapsd", "rapsd_truth")}
        out["rapsd_band"] = _ratio(power["rapsd"], s["spectra"])
        out["rapsd_ratio"] = _ratio(power["rapsd"], power["rapsd_truth"])
    return out


def _of_changes(s: xr.Dataset) -> dict[str, xr.DataArray]:
    """Lag-1 correlation, and shares of cells that turn dry or wet."""
    out: dict[str, xr.DataArray] = {}
    for name in ("", "_truth"):
        weight, a, b, aa, bb, ab = (s[f"moments{name}"].isel(moment=k) for k in range(6))
        spread = (weight * aa - a**2).clip(0) * (weight * bb - b**2).clip(0)
        out[f"lag1{name}"] = _ratio(weight * ab - a * b, spread**0.5)
        wet, dried, dry, wetted = (s[f"changes{name}"].isel(change=k) for k in range(4))
        out[f"wet_to_dry{name}"] = _ratio(dried, wet)
        out[f"dry_to_wet{name}"] = _ratio(wetted, dry)
    gaps = {n: abs(out[n] - out[f"{n}_truth"]) for n in ("lag1", "wet_to_dry", "dry_to_wet")}
    out["lag1_error"] = gaps["lag1"]
    out["transition_error"] = (gaps["wet_to_dry"] + gaps["dry_to_wet"]) / 2
    return out


def _seams(s: xr.Dataset) -> dict[str, xr.DataArray]:
    """Jumps at the edges of windows and tiles over those inside, and relative to the truth."""
    out: dict[str, xr.DataArray] = {}
    for name in ("", "_truth"):
        if f"jump_edge{name}" in s:
            edge = _ratio(s[f"jump_edge{name}"], s["steps_edge"])
            out[f"seam_ratio{name}"] = _ratio(
                edge, _ratio(s[f"jump_inside{name}"], s["steps_inside"])
            )
        if f"tile_edge{name}" in s:
            inside = _ratio(s[f"tile_inside{name}"], s["tile_pairs_inside"]) * s["tile_pairs_edge"]
            out[f"tile_seam_ratio{name}"] = _ratio(
                s[f"tile_edge{name}"].sum("along"), inside.sum("along")
            )
    for name in ("seam_ratio", "tile_seam_ratio"):
        if f"{name}_truth" in out:
            out[f"{name}_relative"] = _ratio(out[name], out[f"{name}_truth"])
    return out


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)


def ratios(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({n: _ratio(a[n], b[n]) for n in ERRORS if n in a and n in b})


def ranks(s: xr.Dataset) -> xr.Dataset:
    found = {n: _ratio(s[k], s[k].sum("rank")) for n, k in RANKS.items() if k in s}
    return xr.Dataset(found)


def distributions(s: xr.Dataset) -> xr.Dataset:
    """Spectra, histograms and rank histograms of the whole record."""
    out: dict[str, xr.DataArray] = {}
    for name in ("rapsd", "rapsd_truth"):
        if name in s:
            out[name] = _ratio(s[name], s["spectra"])
    for name in ("autocorrelation", "autocorrelation_truth"):
        if name in s:
            out[name] = _ratio(s[name], s[f"{name}_known"])
    for name in ("histogram", "histogram_truth"):
        if name in s:
            out[name] = _ratio(s[name], s[name].sum("bin"))
    found = xr.Dataset(out).merge(ranks(s))
    edges = xr.Variable("bin", EDGES[1:], {"units": RATE, "long_name": "upper edge of the bin"})
    return found.assign_coords(bin=edges)
