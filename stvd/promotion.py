"""Whether a challenger may replace the champion: it has to be better on held-out records, and calibrated.

*Better*: the fair CRPS of the challenger over that of its rival, both resampled by the same blocks of
time (`stvd.scores.compare`), lies below 1 with its whole 90% interval, over all records together; on no
record does it lie above. *Calibrated*: the spread–skill ratio is 0.9 to 1.1 on every record.

Ratios of independent records are averaged as logarithms, and their intervals by the method of variance
estimates recovery (Zou and Donner 2008, doi:10.1002/sim.3095): the distance of a bound of a mean from
the mean is the root of the summed squares of the distances of its parts. Of one record it is the
interval of that record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from stvd.checkpoint import Checkpoint
from stvd.evaluation import Evaluation
from stvd.score_tables import tabulate
from stvd.scores import compare

SCORE = "crps_fair"
CALIBRATED = (0.9, 1.1)
LEAST_RIVAL = "bicubic"
"""What a challenger has to beat while there is no champion."""


class LeakedRecord(ValueError):
    """A record that a model was trained on is no held-out one."""


class Ratio(BaseModel):
    """An error over that of another system, with its 90% interval where there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        bounds = "no interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({bounds})"


class Match(BaseModel):
    """A challenger and its rival on one held-out record.

    Parameters
    ----------
    crps, rival_crps : fair CRPS of both, kg m-2 s-1
    ratio : the one over the other
    spread_skill : of the challenger; None where it is not defined
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: str
    period: str
    frames: int
    crps: float
    rival_crps: float
    ratio: Ratio
    spread_skill: float | None


class Verdict(BaseModel):
    """What was found of a challenger.

    Parameters
    ----------
    rival : `champion`, or the system that it has to beat while there is none
    ratio : over all records
    objections : why it is not to be promoted; none if it is
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rival: str
    matches: tuple[Match, ...]
    ratio: Ratio
    objections: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.objections


def require_held_out(record: str, contenders: Iterable[Checkpoint]) -> None:
    """Raise `LeakedRecord` if a contender was trained on a record."""
    for checkpoint in contenders:
        if record in checkpoint.card.training.get("events", ()):
            raise LeakedRecord(
                f"{record} is no held-out record: {checkpoint.name} (digest {checkpoint.digest[:12]}) "
                "was trained on it. Name records that neither contender has seen"
            )


def match(evaluation: Evaluation, rival: str) -> Match:
    """The challenger, which is `stvd` of an evaluation, and its rival of that name.

    Raises
    ------
    ValueError
        If there is nothing to be wrong about: no error of the rival.
    """
    event = evaluation.event
    ours, theirs = (evaluation.table()[system] for system in ("stvd", rival))
    compared = compare(evaluation.statistics["stvd"], evaluation.statistics[rival])
    ratio = tabulate(compared[[SCORE]]).get(SCORE)
    if ratio is None:
        raise ValueError(f"{event.name} tells no model from another: name a record with rain")
    return Match(
        record=event.name,
        period=str(event.axis.period(event.frames)),
        frames=len(event.frames),
        crps=ours[SCORE]["value"],
        rival_crps=theirs[SCORE]["value"],
        ratio=Ratio.model_validate({k: ratio[k] for k in Ratio.model_fields}),
        spread_skill=ours.get("spread_skill", {}).get("value"),
    )


def judge(rival: str, matches: Sequence[Match]) -> Verdict:
    """Whether a challenger is better and calibrated on its matches, and if not, why.

    Raises
    ------
    ValueError
        If there is no match.
    """
    if not matches:
        raise ValueError("a challenger is judged on one held-out record at least")
    ratio = combined([m.ratio for m in matches])
    low, high = CALIBRATED
    said = []
    if ratio.high is None:
        short = ", ".join(m.record for m in matches if m.ratio.high is None)
        said.append(f"not decided: {short} is too short for an interval, name longer records")
    elif ratio.high >= 1:
        said.append(
            f"not better than {rival}: its fair CRPS is {ratio} of the other's, and the whole "
            "90% interval has to lie below 1"
        )
    said += [
        f"worse than {rival} on {m.record}: fair CRPS {m.ratio} of the other's"
        for m in matches
        if m.ratio.low is not None and m.ratio.low > 1
    ]
    for m in matches:
        if m.spread_skill is None:
            said.append(f"not calibrated on {m.record}: its spread–skill ratio is not defined")
        elif not low <= m.spread_skill <= high:
            which = "too sure of itself" if m.spread_skill < low else "too unsure"
            said.append(
                f"not calibrated on {m.record}: its spread–skill ratio is {m.spread_skill:.3f}, "
                f"{which}; {low:g} to {high:g} is asked for"
            )
    return Verdict(rival=rival, matches=tuple(matches), ratio=ratio, objections=tuple(said))


def combined(ratios: Sequence[Ratio]) -> Ratio:
    """The geometric mean of ratios of independent records, without an interval if one lacks it."""
    mean = sum(math.log(r.value) for r in ratios) / len(ratios)
    bounds: dict[str, float | None] = {}
    for name, sign in (("low", -1), ("high", 1)):
        given = [(r.value, getattr(r, name)) for r in ratios]
        if any(not bound for _, bound in given):
            bounds[name] = None
            continue
        distance = math.hypot(*(math.log(bound / value) for value, bound in given)) / len(given)
        bounds[name] = math.exp(mean + sign * distance)
    return Ratio(value=math.exp(mean), **bounds)
