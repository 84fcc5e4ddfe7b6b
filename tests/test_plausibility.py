import numpy as np
import pytest

from stvd.plausibility import ImplausibleSample, require_plausible


def samples():
    """Two members over one wet and one dry cell: means 1e-4 and 0."""
    pr = np.zeros((2, 1, 2, 4), np.float32)
    pr[0, 0, :, :2] = 1e-4
    pr[1, 0, 0, :2] = 2e-4
    return pr, np.array([[[1e-4, 0.0]]], np.float32), np.ones((2, 4))


def refuse(pr, message):
    _, coarse, area = samples()
    with pytest.raises(ImplausibleSample, match=message):
        require_plausible(pr, coarse, area, conserved=True, when="2001")


def test_plausible_samples_pass():
    require_plausible(*samples(), conserved=True, when="2001")


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "1 samples are not finite"), (-1e-3, "falls to -0.001"), (0.3, "reaches 0.3")],
)
def test_impossible_values_are_refused(value, message):
    pr, _, _ = samples()
    pr[1, 0, 0, 0] = value
    refuse(pr, message)


def test_alike_members_and_lost_rain_are_refused():
    pr, coarse, area = samples()
    refuse(pr[[0, 0]], "all members are alike")
    pr[0] *= 1.1
    refuse(pr, "block means are off the coarse rain by up to 1e-05")
    require_plausible(pr, coarse, area, conserved=False, when="2001")
