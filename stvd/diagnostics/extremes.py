"""Extreme rain: the ETCCDI precipitation indices and sub-daily maxima."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stvd.diagnostics.accumulate_days import HEAVY, QUANTUM, VERY_HEAVY, WET_DAY, Run
from stvd.diagnostics.accumulate_spells import FIVE
from stvd.diagnostics.annual import Fields

AMOUNT = "lwe_thickness_of_precipitation_amount"
DAYS_ABOVE = f"number_of_days_with_{AMOUNT}_above_threshold"
SPELL = f"spell_length_of_days_with_{AMOUNT}"


class Index(NamedTuple):
    """CF metadata of an index."""

    units: str
    cell_methods: str
    standard_name: str
    long_name: str


INDICES = {
    "rx1day": Index(
        "mm", "time: sum within days time: maximum over days", AMOUNT,
        "largest 1-day precipitation",
    ),
    "rx5day": Index(
        "mm", "time: sum (interval: 5 days) time: maximum", AMOUNT,
        "largest 5-day precipitation",
    ),
    "r10mm": Index("1", "time: sum over days", DAYS_ABOVE, "days with at least 10 mm"),
    "r20mm": Index("1", "time: sum over days", DAYS_ABOVE, "days with at least 20 mm"),
    "sdii": Index(
        "mm d-1", "time: mean over days", "lwe_precipitation_rate",
        "mean precipitation of wet days (at least 1 mm)",
    ),
    "cdd": Index(
        "day", "time: maximum over days", f"{SPELL}_below_threshold",
        "longest run of days below 1 mm",
    ),
    "cwd": Index(
        "day", "time: maximum over days", f"{SPELL}_above_threshold",
        "longest run of days with at least 1 mm",
    ),
    "prcptot": Index("mm", "time: sum over days", AMOUNT, "precipitation of wet days"),
}  # fmt: skip
THRESHOLDS = {"r10mm": HEAVY, "r20mm": VERY_HEAVY, "cdd": WET_DAY, "cwd": WET_DAY}


def etccdi(run: Run, percentiles: Sequence[str] = ()) -> Fields:
    """The ETCCDI precipitation indices of a year, or of the part of it that is there.

    A missing day adds nothing and ends a spell. With the percentiles p95 and p99 of a reference there
    are r95p and r99p, the precipitation of wet days above them, and r95ptot and r99ptot, their share of
    prcptot (of ETCCDI's R95pTOT, which is in percent, a hundredth).

    Parameters
    ----------
    percentiles : names of the percentiles of `run.very_wet`

    Returns
    -------
    Quantities in the units of `INDICES`; NaN in cells without a day. Cells without a wet day have no
    `sdii`, those without five days in a row no `rx5day`
    """
    prcptot = run.wet_total * QUANTUM
    wet_days = np.where(run.wet_days > 0, run.wet_days, np.nan)
    found = {
        "rx1day": run.max_day * QUANTUM,
        "rx5day": run.five.best * QUANTUM,
        "r10mm": run.heavy_days,
        "r20mm": run.very_heavy_days,
        "sdii": prcptot / wet_days,
        "cdd": run.dry.best,
        "cwd": run.wet.best,
        "prcptot": prcptot,
    }
    if len(run.days) < FIVE:
        del found["rx5day"]
    for name, total in zip(percentiles, run.very_wet, strict=True):
        above = name.replace("p", "r", 1) + "p"
        found[above] = total * QUANTUM
        found[f"{above}tot"] = found[above] / np.where(prcptot > 0, prcptot, np.nan)
    return {name: np.where(run.valid > 0, values, np.nan) for name, values in found.items()}


def index_attributes(name: str) -> dict[str, str]:
    """CF attributes of an index."""
    if name.startswith(("r95p", "r99p")):
        return _very_wet_attributes(name)
    index = INDICES[name]
    attrs = {
        "long_name": index.long_name,
        "standard_name": index.standard_name,
        "units": index.units,
        "cell_methods": index.cell_methods + " area: mean",
    }
    if name in THRESHOLDS:
        attrs["comment"] = f"threshold {THRESHOLDS[name]:g} mm per day"
    return attrs


def _very_wet_attributes(name: str) -> dict[str, str]:
    days = f"wet days above the {name[1:3]}th percentile of the reference period"
    attrs = {
        "long_name": f"precipitation of {days}",
        "cell_methods": "time: sum over days area: mean",
    }
    if name.endswith("tot"):
        return attrs | {"long_name": f"share of precipitation that falls on {days}", "units": "1"}
    return attrs | {"standard_name": AMOUNT, "units": "mm"}


def step_attributes(step_seconds: int) -> dict[str, str]:
    """CF attributes of the largest rate of a step, `rx1step`."""
    return {
        "long_name": f"largest rate of a {step_text(step_seconds)} step",
        "standard_name": "lwe_precipitation_rate",
        "units": "mm h-1",
        "cell_methods": f"time: maximum (interval: {step_seconds} s) area: mean",
    }


def step_text(step_seconds: int) -> str:
    """A step as people say it, e.g. `3-hour` or `5-minute`."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if step_seconds % size == 0:
            return f"{step_seconds // size}-{unit}"
    return f"{step_seconds}-second"
