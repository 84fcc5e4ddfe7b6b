import numpy as np
import pytest

from stvd.plausibility import ImplausibleSample, doubts, require_possible


def samples():
    """Two members over one wet and one dry cell: means 1e-4 and 0."""
    pr = np.zeros((2, 1, 2, 4), np.float32)
    pr[0, 0, :, :2] = 1e-4
    pr[1, 0, 0, :2] = 2e-4
    return pr, np.array([[[1e-4, 0.0]]], np.float32), np.ones((2, 4))


def doubted(pr, conserved=True):
    _, coarse, area = samples()
    return doubts(pr, coarse, area, conserved=conserved, highest=0.25)


def test_plausible_samples_pass():
    pr, _, _ = samples()
    require_possible(pr, "2001")
    assert doubted(pr) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "1 samples are not finite"), (-1e-3, "falls to -0.001")],
)
def test_impossible_values_are_refused(value, message):
    pr, _, _ = samples()
    pr[1, 0, 0, 0] = value
    with pytest.raises(ImplausibleSample, match=f"samples of 2001 .*{message}"):
        require_possible(pr, "2001")


def test_absurd_rain_is_doubted_and_its_place_named():
    pr, _, _ = samples()
    pr[1, 0, 1, 3] = 0.3
    (said,) = doubted(pr, conserved=False)
    assert said == "rain reaches 0.3 kg m-2 s-1 (member, time, …, y, x: (1, 0, 1, 3)), above 0.25"


@pytest.mark.parametrize("difference", [0, 1e-5])
def test_a_collapsed_spread_is_doubted(difference):
    pr, _, _ = samples()
    alike = pr[[0, 0]]
    alike[1] *= 1 + difference  # half of it is the spread, relative to the rain
    (said,) = doubted(alike, conserved=False)
    assert said.startswith("all members are alike")


def test_a_dry_field_has_no_spread_to_doubt():
    pr, coarse, area = samples()
    assert doubts(0 * pr, 0 * coarse, area, conserved=True, highest=0.25) == []


def test_lost_rain_is_doubted():
    pr, _, _ = samples()
    pr[0] *= 1.1  # a mean of 1.1e-4 over 1e-4
    assert doubted(pr) == ["block means are off the coarse rain by up to 1e-05 kg m-2 s-1"]
    assert doubted(pr, conserved=False) == []
