import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stvd.transforms import MM_PER_HOUR, RainTransform, half_normal_knots

WET = np.random.default_rng(0).gamma(0.4, 3.0, 100_000) * MM_PER_HOUR
EVERY_KIND = [
    RainTransform(s=0.4),
    RainTransform(kind="asinh", s=0.4),
    RainTransform(kind="power", power=0.25, s=2.0),
    RainTransform(kind="power", power=1.0, s=2.0),
    RainTransform(kind="power", power=0.2, s=2.0, linear_from=30 * MM_PER_HOUR),
    RainTransform(kind="quantile", c=1.0, knots=half_normal_knots(WET, 0.1 * MM_PER_HOUR)),
]
kinds = pytest.mark.parametrize(
    "transform", EVERY_KIND, ids=lambda t: f"{t.kind}-{t.power}-{t.linear_from}"
)


def test_value_of_the_transform():
    transform = RainTransform(c=2.0, s=0.5, dry=0.0)
    # log(1 + 6 / 2) / 0.5 = 2 log 4
    assert transform.forward(torch.tensor(6.0)).item() == torch.tensor(2 * math.log(4)).item()


def test_a_power_of_one_is_linear_and_a_small_one_is_the_logarithm():
    rate = torch.tensor([0.5, 2.0, 8.0])
    # ((1 + u)^1 − 1) / 1 = u
    linear = RainTransform(kind="power", power=1.0, c=2.0)
    torch.testing.assert_close(linear.forward(rate), rate / 2)
    small = RainTransform(kind="power", power=1e-4, c=2.0)
    torch.testing.assert_close(small.forward(rate), (rate / 2).log1p(), rtol=1e-3, atol=0)


def test_a_power_may_end_in_a_line():
    whole = RainTransform(kind="power", power=0.5, c=2.0)
    ended = RainTransform(kind="power", power=0.5, c=2.0, linear_from=6.0)
    below = torch.tensor([0.5, 2.0, 6.0])
    assert torch.equal(ended.forward(below), whole.forward(below))
    # at u = 3: g = (4^½ − 1) / ½ = 2, g' = 4^−½ = 1/2; at u = 50 the line has 2 + 47 / 2
    assert ended.forward(torch.tensor(100.0)).item() == pytest.approx(25.5)


def test_only_a_power_ends_in_a_line():
    with pytest.raises(ValueError, match=r"linear_from .* log1p"):
        RainTransform(kind="log1p", linear_from=6.0)


def test_value_of_asinh():
    # sinh(1) = (e − 1/e) / 2
    rate = torch.tensor(3.0 * (math.e - 1 / math.e) / 2)
    assert RainTransform(kind="asinh", c=3.0).forward(rate).item() == pytest.approx(1.0)


def test_quantile_knots_are_half_normal_scores():
    knots = half_normal_knots(WET, 0.1 * MM_PER_HOUR)
    assert knots[0] == (0.0, 0.0)
    transform = RainTransform(kind="quantile", c=1.0, knots=knots)
    median = np.median(WET[WET >= 0.1 * MM_PER_HOUR])
    # the median of a half-normal is 0.6745; wet rates begin at a score of 0.25
    assert transform.forward(torch.tensor(median)).item() == pytest.approx(0.25 + 0.6745, abs=0.01)


@pytest.mark.parametrize(
    "knots", [((0.0, 0.0),), ((0.0, 0.0), (1.0, 1.0), (1.0, 2.0)), ((0.5, 0.0), (1.0, 1.0))]
)
def test_knots_that_do_not_increase_are_refused(knots):
    with pytest.raises(ValueError, match="knots"):
        RainTransform(kind="quantile", knots=knots)


@kinds
@given(st.lists(st.floats(0.02, 300), min_size=1, max_size=20))
def test_inverse_returns_the_rate(transform, rates):
    rate = torch.tensor(rates) * MM_PER_HOUR
    again = transform.inverse(transform.forward(rate))
    torch.testing.assert_close(again, rate, rtol=1e-5, atol=0)


@kinds
def test_no_rain_stays_no_rain_and_nothing_is_negative(transform):
    assert transform.forward(torch.zeros(1)).item() == 0
    y = torch.tensor([-3.0, 0.0, 1e-4, 4.0])
    rate = transform.inverse(y)
    # 1e-4 is far below the dry rate of 0.01 mm/h in every kind
    assert rate[:3].tolist() == [0, 0, 0]
    assert rate[3] > 0


def test_a_quantile_transform_is_fitted_first():
    with pytest.raises(ValueError, match="before it is fitted"):
        RainTransform(kind="quantile").forward(torch.ones(1))
