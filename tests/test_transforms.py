import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from stvd.transforms import MM_PER_HOUR, RainTransform


def test_value_of_the_transform():
    transform = RainTransform(c=2.0, s=0.5, dry=0.0)
    # log(1 + 6 / 2) / 0.5 = 2 log 4
    assert transform.forward(torch.tensor(6.0)).item() == torch.tensor(2 * math.log(4)).item()


@given(st.lists(st.floats(0.02, 300), min_size=1, max_size=20))
def test_inverse_returns_the_rate(rates):
    transform = RainTransform(s=0.4)
    rate = torch.tensor(rates) * MM_PER_HOUR
    again = transform.inverse(transform.forward(rate))
    torch.testing.assert_close(again, rate, rtol=2e-6, atol=0)


def test_no_rain_stays_no_rain_and_nothing_is_negative():
    transform = RainTransform()
    assert transform.forward(torch.zeros(1)).item() == 0
    y = torch.tensor([-3.0, 0.0, 1e-3, 1.0])
    rate = transform.inverse(y)
    # 0.1 mm/h · (e^0.001 − 1) = 1e-4 mm/h is below the dry rate of 0.01 mm/h
    assert rate[:3].tolist() == [0, 0, 0]
    assert rate[3] > 0
