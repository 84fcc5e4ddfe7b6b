"""Whether samples can be rain over their input, asked before they are published."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stvd.contract import QUANTITIES
from stvd.grid import weighted_block_mean
from stvd.lattice import TimeAxis

BLOCK_TOLERANCE = 1e-4
"""Largest error of a conserved block mean, relative to the largest coarse rain."""


class ImplausibleSample(ValueError):
    """Samples that cannot be rain over their input."""


def coarse_at(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> np.ndarray:
    """Coarse rain of some frames, shape (time, [tile,] y, x), kg m-2 s-1."""
    inside = np.isin(axis.locate(coarse["time"]), np.arange(frames.start, frames.stop))
    return np.asarray(coarse["pr"].transpose("time", ...).isel(time=inside).values)


def require_plausible(
    pr: np.ndarray, coarse: np.ndarray, area: np.ndarray, *, conserved: bool, when: str
) -> None:
    """Refuse samples that are not finite, negative, absurdly high, all alike or off the coarse means.

    Parameters
    ----------
    pr : shape (member, time, [tile,] y, x), kg m-2 s-1
    coarse : shape (time, [tile,] y / factor, x / factor), kg m-2 s-1
    area : shape ([tile,] y, x), m2
    conserved : block means are meant to be the coarse input
    when : the period, for the message

    Raises
    ------
    ImplausibleSample
        It says which and where.
    """
    highest = QUANTITIES["pr"].highest
    if not np.isfinite(pr).all():
        raise _refusal(when, f"{np.count_nonzero(~np.isfinite(pr))} samples are not finite")
    if pr.min() < 0:
        raise _refusal(when, f"rain falls to {pr.min():.3g} kg m-2 s-1, below 0")
    if pr.max() > highest:
        at = tuple(int(i) for i in np.unravel_index(pr.argmax(), pr.shape))
        raise _refusal(
            when,
            f"rain reaches {pr.max():.3g} kg m-2 s-1 (member, time, …, y, x: {at}), above {highest}",
        )
    wet = coarse.max() > 0
    if wet and len(pr) > 1 and float(np.ptp(pr, axis=0).max()) == 0:
        raise _refusal(when, "all members are alike")
    if conserved:
        factor = pr.shape[-1] // coarse.shape[-1]
        error = max(
            float(np.abs(weighted_block_mean(member, area, factor) - coarse).max()) for member in pr
        )
        if error > BLOCK_TOLERANCE * max(float(coarse.max()), 1e-12):
            raise _refusal(
                when, f"block means are off the coarse rain by up to {error:.3g} kg m-2 s-1"
            )


def _refusal(when: str, what: str) -> ImplausibleSample:
    return ImplausibleSample(
        f"samples of {when} are implausible: {what}. Nothing was published. Compare the input with the "
        "training data of the checkpoint, or use another checkpoint"
    )
