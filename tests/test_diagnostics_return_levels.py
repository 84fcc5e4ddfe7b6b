"""Return levels, intervals, fits and periods from known distributions, by scipy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr
from scipy.stats import genextreme, goodness_of_fit, gumbel_r

from stvd.diagnostics.exceedance import exceedance_area
from stvd.diagnostics.gev import anderson_darling, exceedance_rate, gev_parameters, gev_quantile
from stvd.diagnostics.gev_bootstrap import SHAPES, ladder, member_correlation
from stvd.diagnostics.return_levels import (
    TooFewMaxima,
    return_level_interval,
    return_levels,
)
from stvd.diagnostics.return_periods import fit_p_value, return_period

TRUTH = (-0.1, 40.0, 10.0)  # c, loc, scale: rx1day of a wet place, mm


def maxima(members: int, years: int, cells: int = 4, *, alike: float = 0.0) -> xr.DataArray:
    """Annual maxima from TRUTH, the normal scores of members of a year correlated by `alike`."""
    rng = np.random.default_rng(2)
    scores = np.sqrt(alike) * rng.standard_normal((1, years, 2, cells // 2))
    scores = scores + np.sqrt(1 - alike) * rng.standard_normal((members, years, 2, cells // 2))
    return xr.DataArray(
        genextreme.ppf(ndtr(scores), *TRUTH),
        dims=("member", "time", "y", "x"), name="rx1day",
        attrs={"units": "mm", "long_name": "largest 1-day precipitation"},
    )  # fmt: skip


# --- the distribution -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2], ids=["heavy", "Gumbel", "bounded"])
def test_gev_parameters_are_recovered(shape: float) -> None:
    sample = genextreme.rvs(shape, 50.0, 12.0, size=100_000, random_state=1)
    c, loc, scale = gev_parameters(sample[:, None])[:, 0]
    assert c == pytest.approx(shape, abs=0.01)
    assert loc == pytest.approx(50.0, rel=0.01)
    assert scale == pytest.approx(12.0, rel=0.02)


def test_gumbel_by_its_l_moments() -> None:
    # l1 = loc + 0.5772 scale, l2 = scale ln 2, t3 = ln(9/8)/ln 2 = 0.1699: a sample that has them
    # exactly does not exist, but quantiles at (i − ½)/n come close.
    n = 100_000
    sample = 10 - 4 * np.log(-np.log((np.arange(n) + 0.5) / n))
    c, loc, scale = gev_parameters(sample[:, None])[:, 0]
    assert (c, loc, scale) == pytest.approx((0.0, 10.0, 4.0), abs=0.01)


def test_levels_come_near_those_of_maximum_likelihood() -> None:
    sample = genextreme.rvs(*TRUTH, size=2000, random_state=4)
    levels = gev_quantile(gev_parameters(sample[:, None]), np.array([0.9, 0.99]))[0]
    assert levels == pytest.approx(genextreme.ppf([0.9, 0.99], *genextreme.fit(sample)), rel=0.03)


@pytest.mark.parametrize("shape", [-0.3, 1e-6, 0.4])
def test_quantiles_and_rates_equal_scipy(shape: float) -> None:
    parameters = np.array([shape, 5.0, 2.0])
    chance = np.array([0.01, 0.5, 0.999])
    assert gev_quantile(parameters, chance) == pytest.approx(genextreme.ppf(chance, *parameters))
    values = np.array([-50.0, 4.0, 9.0, 60.0])  # beyond either end of the support too
    expected = genextreme.cdf(values, *parameters)
    assert np.exp(-exceedance_rate(values, parameters)) == pytest.approx(expected, abs=1e-12)


def test_equal_maxima_have_no_gev_whatever_rounding_says() -> None:
    assert np.isnan(gev_parameters(np.full((30, 1), 0.1, np.float32))).all()


def test_distance_equals_scipy() -> None:
    sample = gumbel_r.rvs(10.0, 3.0, size=40, random_state=3)
    known = {"loc": 10.0, "scale": 3.0}
    theirs = goodness_of_fit(
        gumbel_r, sample, known_params=known, statistic="ad", n_mc_samples=9, rng=1
    )
    parameters = np.array([[1e-7], [10.0], [3.0]])
    assert anderson_darling(sample[:, None], parameters)[0] == pytest.approx(theirs.statistic)


# --- return levels --------------------------------------------------------------------------------


def test_return_levels_pool_members_and_years() -> None:
    found = return_levels(maxima(50, 40), [10, 100])
    assert found.dims == ("y", "x", "return_period")
    exact = genextreme.ppf([0.9, 0.99], *TRUTH)
    for cell in found.values.reshape(-1, 2):
        assert cell == pytest.approx(exact, rel=0.1)
    assert found.attrs["units"] == "mm"
    assert found.attrs["comment"] == "GEV of 2000 maxima"


def test_return_levels_are_lazy() -> None:
    field = maxima(5, 4)
    lazy = return_levels(field.chunk(member=1, y=1))
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), return_levels(field))


def test_periods_beyond_twice_the_pooled_years_are_marked() -> None:
    found = return_levels(maxima(2, 10), [2, 40, 50])
    assert found["extrapolated"].values.tolist() == [0, 0, 1]


def test_fewer_than_ten_maxima_are_never_extrapolated() -> None:
    with pytest.raises(
        TooFewMaxima, match=r"rx1day need at least 10 .* there are 9 \(3 member × 3 time"
    ):
        return_levels(maxima(3, 3))


def test_cells_that_never_rain_have_no_return_level() -> None:
    found = return_levels(xr.zeros_like(maxima(4, 4)))
    assert np.isnan(found.values).all()


def test_a_missing_maximum_leaves_its_cell_alone() -> None:
    field = maxima(4, 4)
    field[0, 0, 0, 0] = np.nan
    missing = np.isnan(return_levels(field).isel(return_period=0).values)
    assert missing.tolist() == [[True, False], [False, False]]


def test_a_return_period_is_longer_than_a_year() -> None:
    with pytest.raises(ValueError, match="longer than one year"):
        return_levels(maxima(4, 4), [1])


# --- intervals ------------------------------------------------------------------------------------


def coverage(found: xr.DataArray, chance: np.ndarray) -> np.ndarray:
    truth = xr.DataArray(genextreme.ppf(chance, *TRUTH), dims="return_period")
    inside = (found.isel(quantile=0) <= truth) & (truth <= found.isel(quantile=1))
    return inside.mean(("y", "x")).values


@pytest.mark.parametrize(("members", "alike"), [(1, 0.0), (8, 0.6)], ids=["years", "alike"])
def test_parametric_interval_holds_the_truth_as_often_as_it_says(
    members: int, alike: float
) -> None:
    found = return_level_interval(maxima(members, 40, 400, alike=alike), [10, 100], level=0.9)
    assert coverage(found, np.array([0.9, 0.99])) == pytest.approx(0.9, abs=0.05)


def test_correlated_members_taken_as_independent_are_too_sure() -> None:
    alike = return_level_interval(maxima(8, 40, 40, alike=0.6), [10])
    alone = return_level_interval(maxima(8, 40, 40, alike=0.0), [10])
    width = [float(i.diff("quantile").median()) for i in (alike, alone)]
    assert width[0] > 1.8 * width[1]  # √(1 + 7 · 0.6) = 2.3 for the mean


def test_interval_equals_a_direct_bootstrap_of_the_cell() -> None:
    field = maxima(1, 30)
    found = return_level_interval(field, [1.5, 50], level=0.8, replicates=4000)
    fitted = gev_parameters(field.values[0, :, 0, 0][:, None])[:, 0]
    samples = genextreme.rvs(*fitted, size=(30, 4000), random_state=9)
    chance = np.array([1 / 3, 0.98])
    truth = genextreme.ppf(chance, *fitted)
    parameters = gev_parameters(samples)
    levels = gev_quantile(parameters, chance)
    factor = (truth[1] - parameters[1]) / (levels[:, 1] - parameters[1])
    bounds = fitted[1] + (truth[1] - fitted[1]) * np.quantile(factor, [0.1, 0.9])
    assert found[0, 0, :, 1].values == pytest.approx(bounds, rel=0.03)
    near = (truth[0] - levels[:, 0]) / parameters[2]
    bounds = truth[0] + fitted[2] * np.quantile(near, [0.1, 0.9])
    assert found[0, 0, :, 0].values == pytest.approx(bounds, rel=0.03)


def test_resampling_takes_years_with_all_their_members() -> None:
    # Two years, one dry and one wet: a replicate is both, or one of them twice.
    field = maxima(6, 2, 2)
    field[:, 1] += 100.0
    found = return_level_interval(field, [2], method="resampled", level=1.0, replicates=200)
    pooled = field.values[..., 0, 0]
    draws = [np.concatenate([pooled[:, a], pooled[:, b]]) for a, b in ((0, 0), (0, 1), (1, 1))]
    levels = [gev_quantile(gev_parameters(d[:, None]), np.array([0.5]))[0, 0] for d in draws]
    assert found[0, 0, :, 0].values == pytest.approx([min(levels), max(levels)])
    assert "resampled years" in found.attrs["comment"]


def test_resampling_takes_members_of_one_year() -> None:
    found = return_level_interval(maxima(20, 1).isel(time=0), [10], method="resampled")
    level = return_levels(maxima(20, 1).isel(time=0), [10])
    assert bool((found.isel(quantile=0) < level).all() & (level < found.isel(quantile=1)).all())
    assert "members of one year" in found.attrs["comment"]


def test_the_same_seed_gives_the_same_interval_lazily_too() -> None:
    field = maxima(4, 5)
    for method in ("parametric", "resampled"):
        a = return_level_interval(field, [10], method=method, replicates=50)
        b = return_level_interval(field.chunk(y=1), [10], method=method, replicates=50)
        assert b.chunks is not None
        xr.testing.assert_allclose(a, b.compute())


def test_correlation_of_members_is_found() -> None:
    def found(years: int, alike: float) -> float:
        field = maxima(6, years, 400, alike=alike)
        return member_correlation(field.values.reshape(6, years, -1).T)

    assert found(30, 0.5) == pytest.approx(0.5, abs=0.07)
    assert found(30, 0.0) == pytest.approx(0.0, abs=0.05)
    assert found(3, 0.5) == pytest.approx(0.5, abs=0.1)  # of raw scores it is 0.38
    assert member_correlation(np.ones((4, 1, 9))) == 0.0


def test_every_shape_has_a_rung() -> None:
    # t3 of a sample lies between −1 and 1, and c with it between −0.978 and 3.31.
    assert SHAPES[0] == pytest.approx(-0.95)
    assert SHAPES[-1] > 3.3
    assert np.isfinite(ladder(10, 1, 0.0, 20).distances).all()


# --- fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_p_values_of_gev_samples_are_even(alike: float) -> None:
    p = fit_p_value(maxima(5, 12, 400, alike=alike)).values.ravel()
    assert [np.mean(p < q) for q in (0.1, 0.5, 0.9)] == pytest.approx([0.1, 0.5, 0.9], abs=0.08)


def test_p_value_equals_a_direct_bootstrap() -> None:
    sample = np.sort(np.random.default_rng(5).normal(size=40))  # not a GEV, nor far from one
    field = xr.DataArray(sample[None], dims=("member", "time"), name="rx1day")
    fitted = gev_parameters(sample[:, None])
    samples = genextreme.rvs(*fitted[:, 0], size=(40, 4000), random_state=9)
    far = anderson_darling(samples, gev_parameters(samples))
    direct = np.mean(far >= anderson_darling(sample[:, None], fitted))
    assert fit_p_value(field, replicates=4000).item() == pytest.approx(direct, abs=0.03)


def test_two_climates_in_one_pool_are_no_gev() -> None:
    field = maxima(1, 60)
    field = field + xr.DataArray(np.repeat([0.0, 200.0], 30), dims="time")
    assert (fit_p_value(field) < 0.01).all()


# --- return periods -------------------------------------------------------------------------------


def test_return_period_of_a_known_event() -> None:
    event = genextreme.ppf(0.95, *TRUTH)  # once in 20 years
    found = return_period(maxima(20, 50, 40), event, replicates=100)
    assert (found["return_period_flag"] <= 2).all()
    assert float(found["return_period"].median()) == pytest.approx(20.0, rel=0.1)
    assert found["return_period"].attrs["units"] == "year"


def test_return_period_inverts_return_levels() -> None:
    field = maxima(4, 10)
    level = return_levels(field, [5, 30])
    found = return_period(field, level, significance=0.0)["return_period"]
    assert found.sel(return_period=30).values == pytest.approx(30.0)
    assert found.sel(return_period=5).values == pytest.approx(5.0)


def test_events_beyond_the_record_are_flagged_and_cut() -> None:
    found = return_period(maxima(2, 10), 1e4, significance=0.0)
    assert (found["return_period"] == 40.0).all()  # twice 20 pooled years
    assert (found["return_period_flag"] == 1).all()


def test_no_period_without_a_fit() -> None:
    field = maxima(1, 60)
    field[:, :, 0, 0] = 3.0  # all equal
    field[:, 30:, 0, 1] += 200.0  # two climates
    found = return_period(field, 50.0)
    assert found["return_period_flag"][0].values.tolist() == [3, 2]
    assert np.isnan(found["return_period"][0].values).all()
    assert np.isfinite(found["return_period"][1].values).all()


def test_an_event_per_member_keeps_its_dimension() -> None:
    field = maxima(3, 10)
    event = field.isel(time=0, drop=True)
    found = return_period(field, event)["return_period"]
    assert set(found.dims) == {"member", "y", "x"}
    xr.testing.assert_allclose(
        found.isel(member=1), return_period(field, event.isel(member=1))["return_period"]
    )


# --- exceedance area ------------------------------------------------------------------------------


def test_exceedance_area_by_hand() -> None:
    area = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("y", "x"))
    field = xr.DataArray(
        [[[5.0, 1.0], [2.0, 9.0]], [[np.nan, 7.0], [2.0, 2.0]]],
        dims=("member", "y", "x"), attrs={"units": "mm h-1"},
    )  # fmt: skip
    # Member 0: above 2 are 5 and 9, areas 1 + 4 of 10. Member 1: above 2 is 7, 2 of 9.
    found = exceedance_area(field, area, [2.0, 8.0])
    assert found.values == pytest.approx(np.array([[0.5, 0.4], [2 / 9, 0.0]]))
    xr.testing.assert_allclose(
        exceedance_area(field.chunk(member=1), area, [2.0, 8.0]).compute(), found
    )
    assert np.isnan(exceedance_area(field * np.nan, area, [2.0])).all()
