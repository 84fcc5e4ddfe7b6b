"""Whether samples can be rain over their input, asked before they are published."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stvd.grid import weighted_block_mean
from stvd.lattice import TimeAxis

BLOCK_TOLERANCE = 1e-4
"""Largest error of a conserved block mean, relative to the largest coarse rain."""
COLLAPSED = 1e-3
"""Spread of an ensemble, relative to its rain, at which its members say the same."""


class ImplausibleSample(ValueError):
    """Samples that cannot be rain over their input.

    Attributes
    ----------
    branch : where they are kept to be looked at; None where they are not
    findings : why
    """

    def __init__(self, message: str, findings: tuple[str, ...] = (), branch: str | None = None):
        super().__init__(message)
        self.findings = findings
        self.branch = branch


def coarse_at(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> np.ndarray:
    """Coarse rain of some frames, shape (time, [tile,] y, x), kg m-2 s-1."""
    inside = np.isin(axis.locate(coarse["time"]), np.arange(frames.start, frames.stop))
    return np.asarray(coarse["pr"].transpose("time", ...).isel(time=inside).values)


def require_possible(pr: np.ndarray, when: str) -> None:
    """Refuse samples that no product may hold: not finite, or negative.

    Parameters
    ----------
    pr : any shape, kg m-2 s-1
    when : the period, for the message

    Raises
    ------
    ImplausibleSample
    """
    if not np.isfinite(pr).all():
        what = f"{np.count_nonzero(~np.isfinite(pr))} samples are not finite"
    elif pr.min() < 0:
        what = f"rain falls to {pr.min():.3g} kg m-2 s-1, below 0"
    else:
        return
    raise ImplausibleSample(
        f"samples of {when} are impossible: {what}. Nothing was published. Compare the input with the "
        "training data of the checkpoint, or use another checkpoint",
        (what,),
    )


def doubts(
    pr: np.ndarray, coarse: np.ndarray, area: np.ndarray, *, conserved: bool, highest: float
) -> list[str]:
    """Why samples may not be published unseen: absurdly high, all alike or off the coarse means.

    Parameters
    ----------
    pr : shape (member, time, [tile,] y, x), kg m-2 s-1
    coarse : shape (time, [tile,] y / factor, x / factor), kg m-2 s-1
    area : shape ([tile,] y, x), m2
    conserved : block means are meant to be the coarse input
    highest : rain that is not believed, kg m-2 s-1
    """
    found = []
    if pr.max() > highest:
        at = tuple(int(i) for i in np.unravel_index(pr.argmax(), pr.shape))
        found.append(
            f"rain reaches {pr.max():.3g} kg m-2 s-1 (member, time, …, y, x: {at}), above {highest:g}"
        )
    if len(pr) > 1 and coarse.max() > 0:
        rain = float(pr.mean(dtype=float))
        spread = float(pr.std(axis=0, dtype=float).mean()) / rain if rain else 0.0
        if spread < COLLAPSED:
            found.append(f"all members are alike: their spread is {spread:.2g} of the rain")
    if conserved:
        factor = pr.shape[-1] // coarse.shape[-1]
        error = max(
            float(np.abs(weighted_block_mean(member, area, factor) - coarse).max()) for member in pr
        )
        if error > BLOCK_TOLERANCE * max(float(coarse.max()), 1e-12):
            found.append(f"block means are off the coarse rain by up to {error:.3g} kg m-2 s-1")
    return found
