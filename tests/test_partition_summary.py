"""A partition in a few numbers."""

import numpy as np
import pytest
import xarray as xr

from stvd.partition_summary import summarise

MM_PER_HOUR = 1 / 3600


def test_numbers_of_two_members() -> None:
    # two members, two frames, cells of weight 3/4 and 1/4; mm/h
    pr = np.array([[[0.0, 4.0]], [[2.0, 8.0]]])  # (member, time, x) of the first frame …
    pr = np.concatenate([pr, np.zeros_like(pr)], axis=1)[:, :, None]  # … and a dry second one
    field = xr.DataArray(pr * MM_PER_HOUR, dims=("member", "time", "y", "x"))
    area = xr.DataArray([[3.0, 1.0]], dims=("y", "x"))
    summary = summarise(field.chunk(time=1, member=1), area)
    assert summary.wettest == 0
    numbers = summary.numbers()
    # area means 1 and 3.5 in the first frame, 0 in the second: 4.5 / 4
    assert numbers["pr_mean_mmh"] == pytest.approx(1.125)
    assert numbers["pr_max_mmh"] == pytest.approx(8)
    # wet: 1/4 and all of the first frame, none of the second: (0.25 + 1) / 4
    assert numbers["wet_share"] == pytest.approx(0.3125)
    # variances 2 and 8, weighted 3.5, half the time: √1.75
    assert numbers["pr_spread_mmh"] == pytest.approx(1.75**0.5)


def test_one_member_has_no_spread() -> None:
    field = xr.DataArray(np.zeros((1, 2, 1, 2)), dims=("member", "time", "y", "x"))
    area = xr.DataArray([[1.0, 1.0]], dims=("y", "x"))
    assert np.isnan(summarise(field, area).numbers()["pr_spread_mmh"])
