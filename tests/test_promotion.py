"""When a challenger may become champion."""

import math
from types import SimpleNamespace

import pytest

from stvd.promotion import LeakedRecord, Match, Ratio, combined, judge, require_held_out


def ratio(value: float, low: float | None, high: float | None) -> Ratio:
    return Ratio(value=value, low=low, high=high)


def a_match(record: str = "july", spread_skill: float | None = 1.0, **of_ratio: float) -> Match:
    given = {"value": 0.9, "low": 0.85, "high": 0.95} | of_ratio
    return Match(
        record=record,
        period="2000-07-05/2000-07-12",
        frames=60,
        crps=1.8e-5,
        rival_crps=2e-5,
        ratio=Ratio(**given),
        spread_skill=spread_skill,
    )


def test_the_interval_of_one_record_is_its_own() -> None:
    found = combined([ratio(0.9, 0.8, 0.99)])
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.8, 0.99))


def test_records_are_combined_as_logarithms() -> None:
    # ln: means (-1 + -3) / 2 = -2; bounds 0.3 and 0.4 away, √(0.09 + 0.16) / 2 = 0.25
    e = math.exp
    found = combined([ratio(e(-1), e(-1.3), e(-0.7)), ratio(e(-3), e(-3.4), e(-2.6))])
    assert (found.value, found.low, found.high) == pytest.approx((e(-2), e(-2.25), e(-1.75)))


def test_better_and_calibrated_passes() -> None:
    verdict = judge("champion", [a_match("july"), a_match("january", spread_skill=0.9)])
    assert verdict.passed
    assert verdict.ratio.value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("matches", "said"),
    [
        ([a_match(high=1.0)], "not better than champion: its fair CRPS is 0.900 (0.850 to 1.000)"),
        ([a_match(value=1.1, low=1.05, high=1.2)], "worse than champion on july"),
        ([a_match(low=None, high=None)], "not decided: july is too short"),
        ([a_match(spread_skill=0.89)], "is 0.890, too sure of itself; 0.9 to 1.1"),
        ([a_match(spread_skill=1.11)], "is 1.110, too unsure"),
        ([a_match(spread_skill=None)], "ratio is not defined"),
        ([a_match(), a_match("radar", spread_skill=0.7)], "not calibrated on radar"),
        # ln 0.5 and ln 1.03 average to 0.72, and yet the second record got worse
        (
            [
                a_match(value=0.5, low=0.49, high=0.51),
                a_match("radar", value=1.03, low=1.02, high=1.04),
            ],
            "worse than champion on radar",
        ),
    ],
    ids=["equal", "worse", "short", "sure", "unsure", "undefined", "one_record", "one_worse"],
)
def test_why_not_is_said(matches: list[Match], said: str) -> None:
    verdict = judge("champion", matches)
    assert not verdict.passed
    assert said in "; ".join(verdict.objections)


def test_nothing_is_judged_on_nothing() -> None:
    with pytest.raises(ValueError, match="one held-out record at least"):
        judge("champion", [])


def test_a_record_of_the_training_is_refused() -> None:
    card = SimpleNamespace(training={"events": ["gcm_jan"]})
    trained = SimpleNamespace(card=card, name="gcm", digest="d" * 64)
    require_held_out("gcm_demo", [trained])
    with pytest.raises(LeakedRecord, match="gcm_jan is no held-out record: gcm"):
        require_held_out("gcm_jan", [trained])
