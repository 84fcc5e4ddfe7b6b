"""States of pieces of a record: cut anywhere, merged, stored, they are the state of the whole."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rain_samples import MM_PER_DAY, MM_PER_HOUR, area, axis, rain, record

from stvd.diagnostics.accumulate import Reference, State, merge, state_of
from stvd.diagnostics.accumulate_days import QUANTUM, Run
from stvd.diagnostics.accumulate_record import accumulate, grouped, pieces, rate_factor
from stvd.diagnostics.accumulate_store import from_dataset, partition_states, to_dataset
from stvd.diagnostics.days import DayLattice
from stvd.lattice import TimeAxis

DIMS = ("member", "y", "x")


def state(
    values: np.ndarray, frames: range | np.ndarray, lattice: TimeAxis, **options: Any
) -> State:
    return state_of(values, np.asarray(frames), lattice, DIMS, **options)


def of_days(amounts: list[float], first: int = 0, **options: Any) -> Run:
    """The run of days of so many mm, one member and cell."""
    values = np.array(amounts)[:, None, None, None] * MM_PER_DAY
    frames = range(first, first + len(amounts))
    run = state(values, frames, axis(step=86_400), **options).run
    assert run is not None
    return run


def same(a: Any, b: Any) -> bool:
    """Equality to the last bit, through all fields."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if hasattr(a, "__dataclass_fields__") and not isinstance(a, TimeAxis):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


# --- by hand --------------------------------------------------------------------------------------


def test_a_run_by_hand() -> None:
    # Wet: days 0, 2, 3. Dry: 1, 4. Five days: 1 + 0.5 + 12 + 20 + 0 = 33.5 mm.
    run = of_days([1.0, 0.5, 12.0, 20.0, 0.0])
    assert run.total.item() * QUANTUM == pytest.approx(33.5)
    assert run.wet_total.item() * QUANTUM == pytest.approx(33.0)
    counts = (run.valid, run.wet_days, run.heavy_days, run.very_heavy_days)
    assert [c.item() for c in counts] == [5, 3, 2, 1]
    assert [s.item() for s in run.wet] == [1, 0, 2]
    assert [s.item() for s in run.dry] == [0, 1, 1]
    assert run.five.best.item() * QUANTUM == pytest.approx(33.5)
    assert run.max_day.item() * QUANTUM == pytest.approx(20.0)
    assert run.max_step.item() == pytest.approx(20 / 24)


def test_a_day_of_exactly_a_threshold_reaches_it_in_single_precision() -> None:
    for amount in (1.0, 10.0, 20.0):
        rates = np.full((8, 1, 1, 1), amount * MM_PER_DAY).astype(np.float32)
        run = state(rates, range(8), axis()).run
        assert run is not None
        counts = [run.wet_days.item(), run.heavy_days.item(), run.very_heavy_days.item()]
        assert counts == [1, int(amount >= 10), int(amount >= 20)]


def test_spells_and_five_days_go_on_across_an_edge() -> None:
    # Wet 2 | wet 3: a spell of 5. Five days: 4 + 5 | 6 + 7 + 8 = 30.
    joined = of_days([0.0, 4.0, 5.0]).join(of_days([6.0, 7.0, 8.0], first=3))
    assert joined.wet.best.item() == 5
    assert [joined.wet.first.item(), joined.wet.last.item()] == [0, 5]
    assert joined.five.best.item() * QUANTUM == pytest.approx(30.0)


def test_a_missing_day_between_ends_both() -> None:
    joined = of_days([4.0, 5.0]).join(of_days([6.0, 7.0, 8.0], first=3))
    assert joined.wet.best.item() == 3
    assert np.isnan(joined.five.best.item())
    assert joined.days == range(6)
    assert joined.present == 5


def test_halves_of_a_day_make_a_whole_one() -> None:
    # 6-hour steps of 4, 8 | 0, 12 mm/day: 6 mm, at most 0.5 mm/h; neither half alone has a day.
    lattice = axis(step=21_600)
    rates = np.array([4.0, 8.0, 0.0, 12.0])[:, None, None, None] * MM_PER_DAY
    morning, evening = state(rates[:2], range(2), lattice), state(rates[2:], range(2, 4), lattice)
    assert morning.run is None
    assert (morning.count, morning.dropped) == (2, 2)
    whole = merge(morning, evening)
    assert whole.run is not None
    assert (whole.present, whole.dropped, whole.head, whole.tail) == (1, 0, None, None)
    assert whole.run.total.item() * QUANTUM == pytest.approx(6.0)
    assert whole.run.max_step.item() == pytest.approx(0.5)
    assert whole.run.hours.ravel() * QUANTUM == pytest.approx([1.0, 2.0, 0.0, 3.0])


def test_a_part_of_a_day_that_is_never_completed_is_dropped() -> None:
    lattice = axis(step=43_200)
    one = np.full((1, 1, 1, 1), MM_PER_DAY)
    parts = [state(np.repeat(one, 2, 0), range(2), lattice), state(one, [2], lattice),
             state(np.repeat(one, 2, 0), range(4, 6), lattice)]  # fmt: skip
    whole = reduce(merge, parts)
    assert (whole.present, whole.dropped, whole.head, whole.tail) == (2, 1, None, None)
    assert whole.run is not None
    assert whole.run.wet.best.item() == 1  # day 1 is missing


def test_a_day_with_a_missing_step_adds_nothing_in_its_cell() -> None:
    rates = np.full((16, 1, 1, 2), MM_PER_DAY)
    rates[3, 0, 0, 1] = np.nan
    run = state(rates, range(16), axis()).run
    assert run is not None
    assert run.valid.ravel().tolist() == [2, 1]
    assert run.total.ravel() * QUANTUM == pytest.approx([2.0, 1.0])
    assert run.hours.sum(axis=0).ravel() * QUANTUM == pytest.approx([2.0, 1.0])
    assert run.max_step.ravel() == pytest.approx([1 / 24, 1 / 24])


@pytest.mark.parametrize(
    ("step", "bins"), [(300, 24), (3600, 24), (2700, 16), (10_800, 8), (86_400, 1)]
)
def test_parts_of_the_day_are_hours_or_longer_steps(step: int, bins: int) -> None:
    lattice = DayLattice.of(axis(step=step))
    assert lattice.bins == bins
    amounts = np.arange(float(lattice.steps))
    binned = lattice.binned(amounts)
    assert binned.shape == (bins,)
    assert binned[0] == amounts[: lattice.steps_per_bin].sum()


# --- any cutting ----------------------------------------------------------------------------------


@st.composite
def cut_records(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, TimeAxis, list[int]]:
    """Rates with missing frames and values, and where to cut them."""
    step = draw(st.sampled_from([21_600, 28_800, 86_400, 1800]))
    lattice = axis("2001-01-30", step, draw(st.sampled_from(["standard", "noleap", "360_day"])))
    first, count = draw(st.integers(-5, 60)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    keep = rng.random(count) >= draw(st.sampled_from([0.0, 0.02, 0.3]))
    keep[rng.integers(count)] = True
    frames = (first + np.arange(count))[keep]
    values = rain((len(frames), 2, 1, 2), seed=int(rng.integers(1000))).astype(np.float32)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.02]))] = np.nan
    cuts = draw(st.lists(st.integers(1, max(1, len(frames) - 1)), max_size=5, unique=True))
    return values, frames, lattice, sorted(c for c in cuts if c < len(frames))


@settings(max_examples=80, deadline=None)
@given(cut_records(), st.randoms(use_true_random=False))
def test_any_cutting_gives_the_state_of_the_whole(cut: tuple, random: Any) -> None:
    values, frames, lattice, cuts = cut
    reference = Reference(("p95", "p99"), np.array([[[[5.0, 8.0]]], [[[9.0, 20.0]]]]))
    options = {"reference": reference}
    whole = state(values, frames, lattice, **options)
    edges = [0, *cuts, len(frames)]
    parts = [state(values[a:b], frames[a:b], lattice, **options)
             for a, b in pairwise(edges)]  # fmt: skip
    while len(parts) > 1:  # in any order of neighbours
        k = random.randrange(len(parts) - 1)
        parts[k : k + 2] = [merge(parts[k], parts[k + 1])]
    assert same(parts[0], whole)


def test_chunks_in_time_do_not_matter() -> None:
    lattice = axis("2001-01-20T12:00", 10_800)
    pr = record(rain((2, 300, 3, 4)).astype(np.float32), lattice)
    whole = accumulate(pr, lattice)
    assert [DayLattice.of(lattice).month(s.run.days[0]) for s in whole if s.run] == [
        (2001, 1), (2001, 2),
    ]  # fmt: skip
    for length in (7, 100):
        parts = accumulate(pr.chunk(time=length, member=1, x=2), lattice)
        assert all(same(a, b) for a, b in zip(parts, whole, strict=True))


def test_the_histogram_adds() -> None:
    lattice = axis()
    values, weights = rain((40, 2, 1, 3)), np.array([[1.0, 2.0, 3.0]])
    whole = state(values, range(40), lattice, area=weights)
    parts = [state(values[k : k + 10], range(k, k + 10), lattice, area=weights)
             for k in range(0, 40, 10)]  # fmt: skip
    merged = reduce(merge, parts).histogram
    assert merged is not None
    assert whole.histogram is not None
    np.testing.assert_allclose(merged, whole.histogram, rtol=1e-12)
    assert merged.sum(axis=-1) == pytest.approx([40 * 6.0] * 2)


# --- kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["memory", "netcdf"])
def test_states_come_back_as_they_were(kept: str, tmp_path: Path) -> None:
    lattice = axis("2001-01-25T12:00", 21_600, "noleap")
    pr = record(rain((2, 61, 2, 3)).astype(np.float32), lattice)
    limits = xr.DataArray(np.full((2, 3), 4.0), dims=("y", "x"))
    given_ = xr.Dataset({"p95": limits, "p99": 2 * limits})
    states = accumulate(pr, lattice, reference=given_, area=area(np.ones((2, 3))))
    dataset = to_dataset(states, like=pr)
    if kept == "netcdf":
        dataset.to_netcdf(tmp_path / "states.nc")
        dataset = xr.open_dataset(tmp_path / "states.nc")
    back = from_dataset(dataset)
    assert len(back) == 2
    assert all(same(a, b) for a, b in zip(back, states, strict=True))
    assert float(dataset["total"].sum()) == pytest.approx(
        float(sum(s.run.total.sum() for s in states if s.run)) * QUANTUM
    )


def test_a_piece_of_kept_states_is_that_of_the_field() -> None:
    pr = record(rain((2, 40, 2, 3)))
    dataset = to_dataset(accumulate(pr, axis()))
    (part,) = from_dataset(dataset, {"member": slice(1, 2), "x": slice(0, 2)})
    (expected,) = accumulate(pr.isel(member=[1], x=slice(0, 2)), axis())
    assert same(part, expected)


def test_states_of_a_partition_by_piece_and_thread_are_the_same() -> None:
    lattice = axis("2001-01-25T12:00", 21_600)
    pr = record(rain((3, 61, 2, 3)), lattice).assign_coords(lat=("y", [1.0, 2.0]))
    weights = area([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    limits = xr.DataArray([4.0, 6.0], dims="y")
    expected = to_dataset(accumulate(pr, lattice, reference=limits, area=weights), like=pr)
    lazy = pr.chunk(time=7, member=1, x=2)
    for threads in (None, 2):
        made = partition_states(lazy, lattice, reference=limits, area=weights, threads=threads)
        xr.testing.assert_identical(made.drop_vars("histogram"), expected.drop_vars("histogram"))
        xr.testing.assert_allclose(made["histogram"], expected["histogram"], rtol=1e-12)


def test_states_of_another_version_are_refused() -> None:
    dataset = to_dataset(accumulate(record(rain((1, 8, 1, 1))), axis()))
    with pytest.raises(ValueError, match="states of version 0 and not 1"):
        from_dataset(dataset.assign_attrs(state_version=0))


# --- refused --------------------------------------------------------------------------------------


def test_states_that_do_not_follow_each_other_are_refused() -> None:
    a = state(rain((8, 1, 1, 1)), range(8), axis())
    b = state(rain((8, 1, 1, 1)), range(8, 16), axis())
    with pytest.raises(ValueError, match="frames 8-16 and 0-8 overlap or are not in order"):
        merge(b, a)
    with pytest.raises(ValueError, match="different lattices of time"):
        merge(a, replace(b, axis=axis("1999-01-01")))
    limits = Reference(("p95",), np.ones((1, 1, 1, 1)))
    with pytest.raises(ValueError, match=r"different percentiles .*\('p95',\)"):
        merge(a, replace(b, reference=limits))
    other = replace(limits, values=2 * limits.values)
    with pytest.raises(ValueError, match="percentiles of different values"):
        merge(replace(a, reference=limits), replace(b, reference=other))


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("kg m-2 s-1", 1.0),
        ("mm/day", 1 / 86_400),
        ("mm d-1", 1 / 86_400),
        ("mm h-1", 1 / 3600),
        ("mm/h", 1 / 3600),
        ("m s-1", 1000.0),
    ],
)
def test_units_of_rates(units: str, factor: float) -> None:
    field = xr.DataArray(0.0, attrs={"units": units})
    assert rate_factor(field) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("units", ["mm", "K", "", "rain"])
def test_other_units_are_refused_by_name(units: str) -> None:
    with pytest.raises(ValueError, match=f"pr is in '{units}', which is no rate"):
        rate_factor(xr.DataArray(0.0, attrs={"units": units}))
    with pytest.raises(ValueError, match="pr has no units"):
        rate_factor(xr.DataArray(0.0))


def test_references_that_do_not_fit_are_refused() -> None:
    pr = record(rain((1, 8, 2, 2)))
    wide = xr.DataArray(np.ones((2, 3)), dims=("y", "x"))
    with pytest.raises(ValueError, match="pr and the reference p95 differ along x"):
        accumulate(pr, axis(), reference=wide)
    with pytest.raises(ValueError, match=r"holds \['p90'\]"):
        accumulate(pr, axis(), reference=xr.Dataset({"p90": wide}))
    with pytest.raises(ValueError, match="reference p95 is in 'K'"):
        accumulate(pr, axis(), reference=wide.isel(x=slice(2)).assign_attrs(units="K"))


def test_rates_in_mm_per_hour_have_the_state_of_the_same_rain() -> None:
    pr = record(np.full((1, 8, 1, 1), 2 * MM_PER_HOUR))
    (one,) = accumulate(pr, axis())
    (other,) = accumulate((pr / MM_PER_HOUR).assign_attrs(units="mm/h"), axis())
    assert one.run is not None
    assert other.run is not None
    assert one.run.total.item() * QUANTUM == pytest.approx(48.0)
    assert other.run.total.item() == pytest.approx(one.run.total.item(), rel=1e-9)
    assert other.run.max_step.item() == pytest.approx(2.0)


# --- pieces ---------------------------------------------------------------------------------------


def test_chunks_are_grouped_whole() -> None:
    assert grouped([3, 3, 3, 1], 6) == [slice(0, 6), slice(6, 10)]
    assert grouped([9, 2], 4) == [slice(0, 9), slice(9, 11)]


@pytest.mark.parametrize("cells", [1, 10, 10**6])
@pytest.mark.parametrize("lazy", [False, True])
def test_pieces_cover_the_field_once(cells: int, lazy: bool) -> None:
    pr = record(rain((3, 4, 2, 5, 7)))
    pr = pr.chunk(member=1, y=2, x=4) if lazy else pr
    counted = np.zeros([pr.sizes[d] for d in ("member", "tile", "y", "x")], int)
    for piece in pieces(pr, cells):
        counted[tuple(piece[d] for d in ("member", "tile", "y", "x"))] += 1
    assert (counted == 1).all()
    assert len(pieces(pr, 10**6)) == 1
