"""Whole days, months, years and periods to date on any calendar, against arithmetic by hand."""

from __future__ import annotations

import tracemalloc

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rain_samples import MM_PER_DAY, area, axis, rain, record, times

from stvd.diagnostics import accumulate_record
from stvd.diagnostics.accumulate import State
from stvd.diagnostics.accumulate_record import accumulate
from stvd.diagnostics.accumulate_store import to_dataset
from stvd.diagnostics.annual import diurnal_cycle, frame_totals, totals
from stvd.diagnostics.days import DayLattice, daily_means
from stvd.diagnostics.percentiles import wet_day_percentiles
from stvd.diagnostics.periods import rows
from stvd.diagnostics.tables import area_mean, area_table, tables, tables_of_states
from stvd.intensity import quantile
from stvd.lattice import TimeAxis


def days_of(rate: float, days: int, calendar: str, epoch: str = "2001-01-01") -> tuple:
    """A steady rain, mm per day, in 12-hour steps, one cell, one member."""
    lattice = axis(epoch, 43_200, calendar)
    values = np.full((1, 2 * days, 1, 1), rate * MM_PER_DAY)
    return record(values, lattice), lattice


def state_of_days(amounts: list[float]) -> State:
    lattice = axis(step=86_400)
    (state,) = accumulate(
        record(np.array(amounts)[None, :, None, None] * MM_PER_DAY, lattice), lattice
    )
    return state


# --- whole days -----------------------------------------------------------------------------------


def test_partial_days_at_both_ends_are_dropped() -> None:
    # 12-hour steps from noon on: ½, 1, 1, ½ days.
    lattice = axis("2001-01-01T12:00", 43_200)
    rates = np.arange(6.0)[None, :, None, None] * MM_PER_DAY
    days = daily_means(record(rates, lattice), lattice)
    assert days is not None
    assert days.values.ravel() == pytest.approx([1.5, 3.5])  # (1 + 2)/2, (3 + 4)/2
    assert str(days["time"].values[0]) == "2001-01-02T12:00:00.000000000"


def test_a_day_with_a_gap_is_missing_and_its_neighbours_stay() -> None:
    lattice = axis(step=43_200)
    frames = [0, 1, 2, 4, 5, 6, 7]  # day 1 lacks its second half
    rates = np.array(frames, float)[None, :, None, None] * MM_PER_DAY
    days = daily_means(record(rates, lattice, frames), lattice)
    assert days is not None
    assert days.values.ravel() == pytest.approx([0.5, np.nan, 4.5, 6.5], nan_ok=True)


def test_a_record_without_a_whole_day() -> None:
    lattice = axis("2015-05-15T15:45", 300)
    pr = record(rain((1, 40, 2, 2)), lattice)
    assert daily_means(pr, lattice) is None
    with pytest.raises(ValueError, match="no whole day"):
        wet_day_percentiles(pr, lattice)


@pytest.mark.parametrize(
    ("epoch", "step", "message"),
    [
        ("2001-01-01", 50_000, "not a whole number of steps of 50000 s"),
        ("2001-01-01T01:00", 10_800, "straddle midnight"),
    ],
    ids=["odd step", "odd start"],
)
def test_steps_that_make_no_days_are_refused(epoch: str, step: int, message: str) -> None:
    lattice = axis(epoch, step)
    with pytest.raises(ValueError, match=message):
        tables(record(rain((1, 30, 1, 1)), lattice), area([[1.0]]), lattice)


def test_repeated_times_are_refused() -> None:
    pr = record(rain((1, 8, 1, 1)), axis(), frames=[0, 1, 2, 3, 3, 4, 5, 6])
    with pytest.raises(ValueError, match="do not ascend, or repeat"):
        tables(pr, area([[1.0]]), axis())


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 30),
    st.integers(8, 60),
    st.sampled_from(["standard", "noleap", "360_day"]),
    st.integers(1, 20),
)
def test_daily_means_are_those_of_their_steps(
    first: int, count: int, calendar: str, chunk: int
) -> None:
    lattice = axis("2003-12-20", 10_800, calendar)
    pr = record(rain((1, count, 1, 2), seed=count), lattice, range(first, first + count))
    days = daily_means(pr.chunk(time=chunk), lattice)
    edges = range(-(-first // 8) * 8, (first + count) // 8 * 8, 8)
    if not len(edges):
        assert days is None
        return
    assert days is not None
    expected = [pr.values[:, k - first : k - first + 8].mean(axis=1) * 86_400 for k in edges]
    assert days.values.swapaxes(0, 1) == pytest.approx(np.array(expected))


# --- years ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calendar", "epoch", "length"),
    [
        ("standard", "2000-01-01", 366),
        ("standard", "2001-01-01", 365),
        ("noleap", "2000-01-01", 365),
        ("360_day", "2000-01-01", 360),
    ],
)
def test_a_year_is_complete_with_all_its_days_only(calendar: str, epoch: str, length: int) -> None:
    for count, kind in ((length, "annual"), (length - 1, "period_to_date")):
        pr, lattice = days_of(1.0, count, calendar, epoch)
        found, dropped = rows(accumulate(pr, lattice))
        ((span, _),) = found[kind]
        assert span.complete is (kind == "annual")
        assert (span.count, dropped) == (count, 0)
        assert len(found["monthly"]) == 12 - (kind != "annual")


def test_a_year_with_a_hole_is_not_complete() -> None:
    lattice = axis("2001-01-01", 86_400, "noleap")
    frames = [k for k in range(365) if k != 100]
    found, _ = rows(accumulate(record(rain((1, 364, 1, 1)), lattice, frames), lattice))
    ((span, _),) = found["period_to_date"]
    assert not span.complete
    assert span.count == 364
    assert [s.month for s, _ in found["monthly"]] == [1, 2, 3, *range(5, 13)]


@pytest.mark.parametrize(
    ("calendar", "february"), [("standard", 29), ("noleap", 28), ("360_day", 30)]
)
def test_lengths_of_months(calendar: str, february: int) -> None:
    lattice = DayLattice.of(axis("2000-01-01", 86_400, calendar))
    assert lattice.length(2000, 2) == february
    assert lattice.length(2000, 12) == (30 if calendar == "360_day" else 31)


# --- quantities -----------------------------------------------------------------------------------


def test_totals_by_hand() -> None:
    # Days of 0, 0.9, 1, 8.1 mm and one missing: 10 mm in all, 2.5 a day, 2 of 4 wet (>= 1 mm).
    run = state_of_days([0.0, 0.9, 1.0, 8.1, np.nan]).run
    assert run is not None
    found = totals(run)
    assert found["pr_total"].item() == pytest.approx(10.0)
    assert found["pr_mean"].item() == pytest.approx(2.5)
    assert found["wet_day_fraction"].item() == pytest.approx(0.5)


def test_a_cell_that_is_always_missing_has_no_totals() -> None:
    run = state_of_days([np.nan, np.nan]).run
    assert run is not None
    assert all(np.isnan(v.item()) for v in totals(run).values())


def test_totals_of_frames_by_hand() -> None:
    # Three steps of 5 minutes with 12, 24, 0 mm/h: 1 + 2 + 0 mm; mean 12 mm/h = 288 mm/day.
    lattice = axis(step=300)
    pr = record(np.array([12.0, 24.0, 0.0])[None, :, None, None] / 3600, lattice)
    (state,) = accumulate(pr, lattice)
    found = frame_totals(state.fragments, 300)
    assert found["pr_total"].item() == pytest.approx(3.0)
    assert found["pr_mean"].item() == pytest.approx(288.0)
    assert found["rx1step"].item() == pytest.approx(24.0)


def test_diurnal_cycle_by_hand() -> None:
    # 6-hour steps; two days of (4, 8, 0, 12) and (0, 0, 4, 0) mm/day.
    lattice = axis(step=21_600)
    rates = np.array([4.0, 8.0, 0.0, 12.0, 0.0, 0.0, 4.0, 0.0])[None, :, None, None]
    (state,) = accumulate(record(rates * MM_PER_DAY, lattice), lattice)
    assert state.run is not None
    assert diurnal_cycle(state.run).ravel() == pytest.approx([2.0, 4.0, 2.0, 6.0])


def test_area_mean_by_hand() -> None:
    # (3·1 + 1·5)/4 = 2; a cell without a value takes no part: 1.
    field = xr.DataArray([[1.0, 5.0]], dims=("y", "x"))
    assert area_mean(field, area([[3.0, 1.0]])).item() == pytest.approx(2.0)
    assert area_mean(field.where(field < 3), area([[3.0, 1.0]])).item() == pytest.approx(1.0)


def test_percentiles_are_those_of_wet_days() -> None:
    # Wet days of two members: 1, 2, …, 21 mm; 95% of the way from 1 to 21 is 20 mm.
    lattice = axis(step=86_400)
    amounts = np.full((2, 12, 1, 2), 0.5)
    amounts[0, :, 0, 0], amounts[1, :9, 0, 0] = np.arange(1, 13), np.arange(13, 22)
    found = wet_day_percentiles(record(amounts * MM_PER_DAY, lattice), lattice)
    assert found["p95"].values.ravel() == pytest.approx([20.0, np.nan], nan_ok=True)
    assert found["p99"][0, 0].item() == pytest.approx(20.8)
    hourly = record(amounts / 24, lattice).assign_attrs(units="mm/h").chunk(time=5, x=1)
    xr.testing.assert_allclose(wet_day_percentiles(hourly, lattice), found)


# --- tables ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_years() -> tuple:
    """11 days of 2000, all of 2001 and 5 days of 2002 on noleap: 2 members with 1 and 3 mm/day."""
    lattice = axis("2000-12-21", 43_200, "noleap")
    count = 2 * (11 + 365 + 5) + 1  # and half a day
    rates = np.array([1.0, 3.0])[:, None, None, None] * np.ones((2, count, 2, 2)) * MM_PER_DAY
    pr = record(rates.astype(np.float32), lattice).chunk(time=100)
    return tables(pr, area([[1.0, 2.0], [3.0, 4.0]]), lattice), lattice


def test_only_complete_years_are_annual(two_years: tuple) -> None:
    made, _ = two_years
    assert made.annual["year"].values.tolist() == [2001]
    assert made.annual["complete"].values.tolist() == [1]
    assert made.period_to_date["year"].values.tolist() == [2000, 2002]
    assert made.period_to_date["complete"].values.tolist() == [0, 0]
    assert made.period_to_date["days"].values.tolist() == [11, 5]
    assert any("1 frames of days that are not wholly covered" in note for note in made.notes)
    assert any(note.startswith("2002 is not complete (5 days") for note in made.notes)


def test_bounds_of_years_and_periods(two_years: tuple) -> None:
    made, _ = two_years
    bounds = [[str(t)[:10] for t in b] for b in made.period_to_date["time_bnds"].values]
    assert bounds == [["2000-12-21", "2001-01-01"], ["2002-01-01", "2002-01-06"]]
    assert [str(t)[:10] for t in made.annual["time_bnds"].values[0]] == ["2001-01-01", "2002-01-01"]


def test_ensemble_statistics_by_hand(two_years: tuple) -> None:
    # Members 365 and 1095 mm: mean 730, spread 365·√2; 10% quantile 365 + 0.1·730 = 438.
    annual = two_years[0].annual
    assert annual["pr_total"].isel(time=0, y=0, x=0).values == pytest.approx([365.0, 1095.0])
    assert float(annual["pr_total_mean"][0, 0, 0]) == pytest.approx(730.0)
    assert float(annual["pr_total_std"][0, 0, 0]) == pytest.approx(365 * 2**0.5)
    low = annual["pr_total_quantile"].sel(quantile=0.1).squeeze("time")[0, 0]
    assert float(low) == pytest.approx(438.0)
    assert annual["pr_total_area"].values.tolist() == [pytest.approx([365.0, 1095.0])]
    assert annual["cwd"].isel(time=0, y=0, x=0).values.tolist() == [365.0, 365.0]


def test_every_variable_says_what_it_is(two_years: tuple) -> None:
    annual = two_years[0].annual
    for name, variable in annual.data_vars.items():
        missing = {"units", "long_name", "cell_methods"} - variable.attrs.keys()
        assert not missing, (name, missing)
    assert annual["pr_total"].attrs["standard_name"] == "lwe_thickness_of_precipitation_amount"
    assert annual["time"].attrs["bounds"] == "time_bnds"


def test_table_for_reading(two_years: tuple) -> None:
    rows = area_table(two_years[0].annual).set_index("quantity")
    total = rows.loc["pr_total"]
    assert (total["start"], total["end"]) == ("2001-01-01T00:00:00", "2002-01-01T00:00:00")
    assert bool(total["complete"])
    assert (total["mean"], total["min"], total["max"]) == pytest.approx((730.0, 365.0, 1095.0))


def test_netcdf_copy_reads_back(two_years: tuple, tmp_path) -> None:
    made, _ = two_years
    made.period_to_date.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", decode_coords="all") as back:
        assert back["time"].dt.calendar == "noleap"
        assert back["cdd"].dtype.kind == "f"  # a spell in days, not a time difference
        xr.testing.assert_allclose(back["pr_total"], made.period_to_date["pr_total"])


def test_a_few_hours_have_totals_and_maxima_only() -> None:
    lattice = axis("2015-05-15T15:45", 300)
    made = tables(record(rain((2, 40, 2, 3)), lattice), area(np.ones((2, 3))), lattice)
    assert made.annual is None
    assert made.period_to_date is not None
    names = {n for n in made.period_to_date.data_vars if "_" not in str(n).removeprefix("pr_")}
    assert names == {"pr_total", "pr_mean", "rx1step"}
    assert "no whole day: totals and 5-minute maxima only" in made.notes[0]
    start, end = made.period_to_date["time_bnds"].values[0]
    assert str(start)[:16] == "2015-05-15T15:45"
    assert str(end)[:16] == "2015-05-15T19:05"


def test_one_member_has_no_spread() -> None:
    lattice = axis("2001-01-01", 86_400)
    made = tables(record(rain((1, 3, 1, 1)), lattice), area([[1.0]]), lattice)
    assert made.period_to_date is not None
    assert "pr_total_mean" in made.period_to_date
    assert "pr_total_std" not in made.period_to_date
    assert times(lattice, range(3)).size == made.period_to_date["days"].item()


# --- months, hours, intensity, kept states --------------------------------------------------------


def ten_weeks(**chunks: int) -> tuple[xr.DataArray, xr.DataArray, TimeAxis]:
    """From 20 December at noon to the end of February, two members, 6-hourly, with missing values."""
    lattice = axis("2000-12-20T12:00", 21_600, "noleap")
    values = rain((2, 2 + 4 * 70, 2, 3), seed=4).astype(np.float32)
    values[0, 30, 1, 2] = np.nan
    pr = record(values, lattice).assign_coords(lat=("y", [10.0, 20.0]))
    return pr.chunk(chunks) if chunks else pr, area([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), lattice


def test_only_complete_months_are_monthly() -> None:
    pr, weights, lattice = ten_weeks()
    made = tables(pr, weights, lattice)
    assert made.monthly is not None
    assert made.monthly["month"].values.tolist() == [1, 2]
    assert made.monthly["days"].values.tolist() == [31, 28]
    bounds = [[str(t)[:10] for t in b] for b in made.monthly["time_bnds"].values]
    assert bounds == [["2001-01-01", "2001-02-01"], ["2001-02-01", "2001-03-01"]]
    january = pr.isel(time=slice(2 + 4 * 11, 2 + 4 * 42)).astype(np.float64)
    found = made.monthly.isel(time=0)
    np.testing.assert_allclose(found["pr_total"], january.sum("time") * 21_600, rtol=1e-6)
    np.testing.assert_allclose(found["rx1step"], january.max("time") * 3600, rtol=1e-6)
    assert {"pr_mean", "wet_day_fraction", "rx1day", "pr_total_std"} <= set(made.monthly)
    assert "lat" in made.monthly.coords


def test_the_diurnal_cycle_of_a_year_averages_to_its_mean() -> None:
    pr, lattice = days_of(2.0, 365, "noleap")
    pr[:, ::2] = 0.0  # rain in the afternoon only
    made = tables(pr, area([[1.0]]), lattice)
    assert made.diurnal is not None
    assert made.diurnal["pr_mean"].dims == ("time", "hour", "member", "y", "x")
    assert made.diurnal["pr_mean"].values.ravel() == pytest.approx([0.0, 2.0])
    assert made.diurnal["hour"].values.tolist() == [6.0, 18.0]
    assert made.diurnal["hour_bnds"].values.tolist() == [[0.0, 12.0], [12.0, 24.0]]
    assert tables(pr, area([[1.0]]), lattice, cycles=False).diurnal is None


def test_intensity_is_a_share_of_area_and_time() -> None:
    pr, weights, lattice = ten_weeks(time=40, member=1, x=2)
    made = tables(pr, weights, lattice, intensity=True)
    assert made.intensity is not None
    histogram = made.intensity["histogram"]
    assert histogram.dims == ("time", "member", "bin")
    np.testing.assert_allclose(histogram.sum("bin"), 1.0)
    in_2001 = pr.isel(time=pr["time"].dt.year.values == 2001).isel(member=1)
    flat = np.broadcast_to(weights.values, in_2001.shape).ravel()
    values = in_2001.values.ravel()
    order = np.argsort(values)
    at = np.searchsorted(np.cumsum(flat[order]), 0.9 * flat.sum())
    found = float(quantile(histogram.isel(time=1, member=1).values, 0.9))
    assert found == pytest.approx(values[order][at], rel=0.01)
    assert tables(pr, weights, lattice).intensity is None


@pytest.mark.parametrize("chunks", [{}, {"time": 37, "member": 1, "x": 2}], ids=["memory", "lazy"])
@pytest.mark.parametrize("threads", [None, 2])
def test_chunks_and_threads_change_nothing(chunks: dict[str, int], threads: int | None) -> None:
    expected = tables(*ten_weeks())
    made = tables(*ten_weeks(**chunks), threads=threads)
    for kind in ("period_to_date", "monthly"):
        xr.testing.assert_identical(getattr(made, kind), getattr(expected, kind))
    assert made.notes == expected.notes


@pytest.mark.parametrize("length", [1, 50, 90, 1000], ids=lambda n: f"{n} frames")
def test_kept_states_of_parts_give_the_tables_of_the_record(length: int) -> None:
    pr, weights, lattice = ten_weeks()
    count = pr.sizes["time"] if length > 1 else 5
    pr = pr.isel(time=slice(0, count))
    limits = xr.Dataset({"p95": weights.drop_attrs() * 2, "p99": weights.drop_attrs() * 4})
    expected = tables(pr, weights, lattice, reference=limits, intensity=True)
    parts = [pr.isel(time=slice(k, k + length)) for k in range(0, count, length)]
    kept = [
        to_dataset(accumulate(p, lattice, reference=limits, area=weights), like=p) for p in parts
    ]
    made = tables_of_states(kept, weights)
    for kind in ("period_to_date", "monthly"):
        if getattr(expected, kind) is None:
            assert getattr(made, kind) is None
        else:
            xr.testing.assert_identical(getattr(made, kind), getattr(expected, kind))
    assert made.intensity is not None
    assert expected.intensity is not None
    xr.testing.assert_allclose(made.intensity, expected.intensity, rtol=1e-12)
    assert made.notes == expected.notes


def test_states_of_other_grids_are_refused() -> None:
    pr, weights, lattice = ten_weeks()
    kept = to_dataset(accumulate(pr, lattice), like=pr)
    with pytest.raises(ValueError, match="states and area differ along x"):
        tables_of_states([kept], weights.isel(x=slice(0, 2)))


def test_an_area_of_other_cells_is_refused() -> None:
    pr, weights, lattice = ten_weeks()
    with pytest.raises(ValueError, match="pr and area differ along x"):
        tables(pr, weights.isel(x=slice(0, 2)), lattice)


# --- memory ---------------------------------------------------------------------------------------


def peak_megabytes(years: int) -> float:
    """What tables of so many years of 64 × 64 cells, 12 MB each, allocate at most."""
    lattice = axis("2001-01-01", 43_200, "noleap")
    count = 730 * years
    values = dask.array.ones((1, count, 64, 64), np.float32, chunks=(1, 60, 64, 64)) * 1e-5
    pr = xr.DataArray(
        values,
        dims=("member", "time", "y", "x"),
        coords={"time": times(lattice, range(count))},
        attrs={"units": "kg m-2 s-1"},
    )
    tracemalloc.start()
    try:
        made = tables(pr, area(np.ones((64, 64))), lattice, cycles=False, threads=1)
        assert made.annual is not None
        assert made.annual.sizes["time"] == years
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_more_years_take_no_more_memory_than_their_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulate_record, "SLAB_VALUES", 60 * 64 * 64)
    peak_megabytes(1)  # imports on first use
    three, six = peak_megabytes(3), peak_megabytes(6)
    assert three < 14
    assert six < three + 2  # of 36 MB more: 0.6 seen, of tables
