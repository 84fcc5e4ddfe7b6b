"""Checks of input before it is used: named functions that return findings, and a policy.

`check` looks at the structure of a dataset, its times, its grid and, in one pass over the data, its
values. Findings say what, where and what to do; `QualityPolicy` says which stop a partition.
Values are read in the frames asked for only: a bad frame stops its own partition and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from stvd.contract import QUANTITIES, Finding, Severity, violations
from stvd.input_checks import (
    duplicate_times,
    missing_times,
    non_monotonic_times,
    unsupported_calendar,
    wrong_factor,
    wrong_grid,
    wrong_step,
)
from stvd.lattice import TimeAxis
from stvd.value_checks import (
    absurd_values,
    all_zero,
    infinite_values,
    missing_values,
    negative_rain,
    static_values,
    survey,
)

RANK: dict[Severity, int] = {"info": 0, "warning": 1, "error": 2}


class QualityPolicy(BaseModel):
    """What is tolerated, and what stops a partition.

    Parameters
    ----------
    stops : findings of this severity, or a graver one, stop a partition
    severity : severity of single checks, such as `{all_zero: error}`, in place of the built-in one
    missing_share : largest share of missing values of a variable in a frame
    negative : `clip` sets negative rain down to `negative_limit` to zero (`cleaned`)
    negative_limit : kg m-2 s-1
    highest_rate : mean over a step and a coarse cell beyond which rain is absurd, kg m-2 s-1
    highest_sample : rain of a sample, fine in space, beyond which it is not published unseen, kg m-2 s-1
    dry_hours : longest time without any rain on a regional grid; on a global one it always rains
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stops: Severity = "error"
    severity: dict[str, Severity] = {}
    missing_share: float = Field(default=0.0, ge=0, le=1)
    negative: Literal["stop", "clip"] = "stop"
    negative_limit: float = Field(default=1e-4, ge=0)
    highest_rate: float = Field(default=0.1, gt=0)  # 360 mm/h
    highest_sample: float = Field(default=QUANTITIES["pr"].highest, gt=0)
    dry_hours: float = Field(default=240.0, gt=0)


class QualityError(ValueError):
    """Input that may not be used; `findings` says why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in findings))


def check(
    coarse: xr.Dataset,
    grid: xr.Dataset | None,
    *,
    axis: TimeAxis,
    frames: range,
    required: Sequence[str],
    factor: int,
    policy: QualityPolicy,
) -> list[Finding]:
    """All findings on the frames of a partition, gravest first.

    Parameters
    ----------
    coarse : dataset of the role coarse, which may break the contract
    grid : its fine grid; None skips the checks of the grid
    axis, frames : the lattice and the frames that are wanted
    required : variables that are wanted, such as those of a checkpoint; `orog` is one of the grid
    factor : fine cells per coarse cell and axis that are wanted
    policy : what is tolerated
    """
    static = [name for name in required if grid is not None and name == "orog"]
    wanted = dict.fromkeys(name for name in ("pr", *required) if name not in static)
    found = [*unsupported_calendar(coarse, axis), *violations(coarse, "coarse", list(wanted))]
    if grid is not None:
        found += violations(grid, "grid", ["areacella", *static])
        found += [*wrong_factor(coarse, grid, factor), *wrong_grid(coarse, grid, factor)]
        found += static_values(grid)
    if not any(finding.check == "unsupported_calendar" for finding in found):
        for check_time in (non_monotonic_times, duplicate_times, wrong_step, missing_times):
            found += check_time(coarse, axis, frames)
        broken = {f.variable for f in found if f.check in ("wrong_dimensions", "wrong_units")}
        seen = survey(coarse, axis, frames, broken)
        found += missing_values(seen, policy.missing_share)
        found += infinite_values(seen)
        clip = policy.negative_limit if policy.negative == "clip" else 0.0
        found += negative_rain(seen, clip, policy.negative_limit)
        found += absurd_values(seen, policy.highest_rate)
        found += all_zero(seen, policy.dry_hours)
    judged = [
        finding.model_copy(
            update={"severity": policy.severity.get(finding.check, finding.severity)}
        )
        for finding in found
    ]
    return sorted(judged, key=lambda finding: -RANK[finding.severity])


def enforce(findings: Sequence[Finding], policy: QualityPolicy) -> None:
    """Stop where the policy says so.

    Raises
    ------
    QualityError
        With the findings that stop the partition.
    """
    stopping = [f for f in findings if RANK[f.severity] >= RANK[policy.stops]]
    if stopping:
        raise QualityError(stopping)


def worst(findings: Sequence[Finding]) -> Severity | None:
    """The gravest severity among findings; None where there is none."""
    return max((f.severity for f in findings), key=RANK.__getitem__, default=None)


def cleaned(coarse: xr.Dataset, policy: QualityPolicy) -> xr.Dataset:
    """The dataset with the repairs that the policy allows: small negative rain set to zero."""
    if policy.negative == "stop":
        return coarse
    rain = coarse["pr"]
    small = (rain < 0) & (rain >= -policy.negative_limit)
    return coarse.assign(pr=rain.where(~small, 0.0).assign_attrs(rain.attrs))
