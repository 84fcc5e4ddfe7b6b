"""Area means and correlation in time, against the scores and by hand, however the record is cut."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from rain_samples import area, axis, rain, record

from stvd.diagnostics.ensemble import area_mean
from stvd.diagnostics.in_time import LAGS, in_time
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score_ensemble

WEIGHTS = np.random.default_rng(1).uniform(1, 2, (6, 8))


def lasting(members: int = 2, frames: int = 40) -> xr.DataArray:
    """Rain of which a half is that of the frame before."""
    values = rain((members, frames, 6, 8))
    values[:, 1:] = (values[:, 1:] + values[:, :-1]) / 2
    return record(values)


def test_lag_one_is_that_of_the_scores() -> None:
    pr = lasting()
    found = in_time(pr, area(WEIGHTS), axis())
    config = ScoreConfig(scales=(1,), block_frames=8)
    scored = score_ensemble(
        pr, pr.isel(member=0), area(WEIGHTS), axis=axis(), config=config, replicates=0
    )
    lag1 = float(scored["lag1"].sel(estimate="value"))
    assert float(found["autocorrelation"].sel(lag=1)) == pytest.approx(lag1, rel=1e-9)
    assert found["lag"].values.tolist() == list(LAGS)


def test_cutting_changes_nothing_and_missing_values_take_no_part() -> None:
    pr = lasting()
    pr = pr.where(np.random.default_rng(2).random(pr.shape) > 0.1)
    kept = np.r_[0:11, 13:40]  # two frames are missing
    part = pr.isel(time=kept)
    direct = in_time(part, area(WEIGHTS), axis())
    cut = in_time(part.chunk(time=7, member=1, x=4), area(WEIGHTS), axis())
    xr.testing.assert_allclose(cut, direct, rtol=1e-12)
    xr.testing.assert_allclose(direct["area_mean"], area_mean(part, area(WEIGHTS)))
    a, b = pr.values[:, :-2], pr.values[:, 2:]
    whole = np.ones(40, bool)
    whole[[11, 12]] = False
    both = np.isfinite(a) & np.isfinite(b) & (whole[:-2] & whole[2:])[None, :, None, None]
    w = np.broadcast_to(WEIGHTS, a.shape)[both]
    mean = [np.average(v[both], weights=w) for v in (a, b)]
    x, y = a[both] - mean[0], b[both] - mean[1]
    expected = (w @ (x * y)) / np.sqrt((w @ x**2) * (w @ y**2))
    assert float(direct["autocorrelation"].sel(lag=2)) == pytest.approx(expected, rel=1e-9)


def test_a_record_without_members_and_constant_rain() -> None:
    truth = record(np.ones((3, 6, 8)))
    found = in_time(truth, area(WEIGHTS), axis())
    assert found["area_mean"].dims == ("time",)
    assert found["area_mean"].values == pytest.approx([1, 1, 1])
    assert found["autocorrelation"].isnull().all()
