"""Totals, means, wet days and the diurnal cycle of a year or month, or of the part that is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stvd.diagnostics.accumulate import Fragment
from stvd.diagnostics.accumulate_days import QUANTUM, WET_DAY, Run
from stvd.diagnostics.days import DAY

Fields = dict[str, np.ndarray]
"""Quantities by name, of the shape of the cells."""

ATTRIBUTES = {
    "pr_total": {
        "long_name": "total precipitation",
        "standard_name": "lwe_thickness_of_precipitation_amount",
        "units": "mm",
        "cell_methods": "time: sum area: mean",
    },
    "pr_mean": {
        "long_name": "mean precipitation rate",
        "standard_name": "lwe_precipitation_rate",
        "units": "mm d-1",
        "cell_methods": "time: mean area: mean",
    },
    "wet_day_fraction": {
        "long_name": f"share of days with at least {WET_DAY:g} mm",
        "units": "1",
        "cell_methods": "time: mean area: mean",
        "comment": f"days with precipitation >= {WET_DAY:g} mm over days with data",
    },
}
HOURLY = {
    "long_name": "mean precipitation rate by hour of the day",
    "standard_name": "lwe_precipitation_rate",
    "units": "mm d-1",
    "cell_methods": "time: mean within days time: mean over days area: mean",
}


def totals(run: Run) -> Fields:
    """Total, mean and wet-day fraction of days, missing days left out.

    Returns
    -------
    `pr_total` mm, `pr_mean` mm d-1, `wet_day_fraction` 1; NaN in cells without a day
    """
    total, days = run.total * QUANTUM, _or_nan(run.valid)
    return {
        "pr_total": np.where(run.valid > 0, total, np.nan),
        "pr_mean": total / days,
        "wet_day_fraction": run.wet_days / days,
    }


def diurnal_cycle(run: Run) -> np.ndarray:
    """Mean rate by part of the day over the days that are there, mm d-1, shape (bin, ...)."""
    return np.asarray(run.hours * (QUANTUM * len(run.hours)) / _or_nan(run.valid))


def frame_totals(fragments: Sequence[Fragment], step_seconds: int) -> Fields:
    """Total, mean and largest rate of parts of days, where no day is whole.

    Returns
    -------
    `pr_total` mm, `pr_mean` mm d-1, `rx1step` mm h-1; NaN in cells where a frame is missing
    """
    total = np.sum([f.hours.sum(axis=0) for f in fragments], axis=0) * QUANTUM
    seconds = step_seconds * sum(f.frames for f in fragments)
    return {
        "pr_total": total,
        "pr_mean": total * (DAY / seconds),
        "rx1step": np.max([f.max_step for f in fragments], axis=0),
    }


def _or_nan(days: np.ndarray) -> np.ndarray:
    """Numbers of days to divide by."""
    return np.where(days > 0, days, np.nan)
