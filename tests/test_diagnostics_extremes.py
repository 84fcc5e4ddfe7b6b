"""Indices of extremes by hand, by direct loops and by xclim."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from direct_indices import direct_days, direct_indices, direct_shares
from rain_samples import MM_PER_DAY, area, axis, rain, record

from stvd.diagnostics.accumulate_record import accumulate
from stvd.diagnostics.extremes import INDICES, etccdi, index_attributes, step_attributes, step_text
from stvd.diagnostics.tables import tables

REFERENCE = xr.Dataset({"p95": 11.0, "p99": 22.0})


def indices(
    amounts: list[float] | np.ndarray,
    calendar: str = "standard",
    reference: xr.Dataset | None = None,
) -> dict[str, float]:
    """Indices of days of so many mm, one member and cell."""
    field = np.asarray(amounts, float)[None, :, None, None] * MM_PER_DAY
    lattice = axis(step=86_400, calendar=calendar)
    (state,) = accumulate(record(field, lattice), lattice, reference=reference)
    assert state.run is not None
    return {n: v.item() for n, v in etccdi(state.run, state.reference.names).items()}


def longest_run(days: np.ndarray) -> int:
    best = run = 0
    for day in days:
        run = run + 1 if day else 0
        best = max(best, run)
    return best


# Ten days, mm. Wet (>= 1): days 0, 1, 4, 5, 6, 9.
DAYS = [12.0, 1.0, 0.5, 0.0, 3.0, 20.0, 10.0, 0.2, 0.9, 25.0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rx1day", 25.0),
        ("rx5day", 56.1),  # days 5 to 9: 20 + 10 + 0.2 + 0.9 + 25
        ("r10mm", 4.0),  # 12, 20, 10, 25
        ("r20mm", 2.0),  # 20, 25
        ("prcptot", 71.0),  # 12 + 1 + 3 + 20 + 10 + 25
        ("sdii", 71.0 / 6),
        ("cdd", 2.0),  # days 2, 3; and 7, 8
        ("cwd", 3.0),  # days 4, 5, 6
        ("r95p", 57.0),  # above 11: 12 + 20 + 25
        ("r99p", 25.0),  # above 22
        ("r95ptot", 57.0 / 71),
        ("r99ptot", 25.0 / 71),
    ],
)
def test_indices_by_hand(name: str, expected: float) -> None:
    assert indices(DAYS, reference=REFERENCE)[name] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_indices_equal_direct_loops(calendar: str) -> None:
    length = 360 if calendar == "360_day" else 365
    lattice = axis(step=86_400, calendar=calendar)
    values = rain((2, length, 1, 3), seed=3) / 8
    made = tables(record(values, lattice), area(np.ones((1, 3))), lattice, cycles=False)
    assert made.annual is not None
    assert made.period_to_date is None
    for m in range(2):
        for x in range(3):
            d = values[m, :, 0, x] / MM_PER_DAY
            at = {n: float(made.annual[n][0, m, 0, x]) for n in INDICES}
            assert at["rx1day"] == pytest.approx(d.max())
            assert at["rx5day"] == pytest.approx(max(d[k : k + 5].sum() for k in range(len(d) - 4)))
            assert at["r10mm"] == (d >= 10).sum()
            assert at["r20mm"] == (d >= 20).sum()
            assert at["prcptot"] == pytest.approx(d[d >= 1].sum())
            assert at["sdii"] == pytest.approx(d[d >= 1].mean())
            assert at["cdd"] == longest_run(d < 1)
            assert at["cwd"] == longest_run(d >= 1)


@pytest.mark.parametrize(
    ("calendar", "units", "per_day"),
    [
        ("standard", "kg m-2 s-1", 86_400.0),
        ("noleap", "mm/day", 1.0),
        ("360_day", "mm/h", 24.0),
    ],
)
def test_indices_equal_those_of_xclim(calendar: str, units: str, per_day: float) -> None:
    lattice = axis("2001-01-01", 43_200, calendar)
    count = 720 if calendar == "360_day" else 730
    values = rain((2, count, 2, 2), seed=5) * 86_400 / 4 / per_day
    values[:, :, 1, 1] = np.nan  # a masked cell
    values[0, 101, 0, 0] = np.nan  # half a day
    values[1, 200:220, 0, 1] = np.nan  # ten days
    pr = record(values, lattice).assign_attrs(units=units)
    limits = xr.Dataset(
        {n: (("y", "x"), np.full((2, 2), v), {"units": "mm d-1"})
         for n, v in (("p95", 15.0), ("p99", 30.0))}
    )  # fmt: skip
    lazy = pr.chunk(time=77, member=1)
    made = tables(lazy, area(np.ones((2, 2))), lattice, reference=limits, cycles=False)
    assert made.annual is not None
    found = made.annual.isel(time=0)
    daily = direct_days(pr, per_day)
    expected = direct_indices(daily).merge(direct_shares(daily, limits))
    assert set(expected) == {*INDICES, "r95ptot", "r99ptot"}
    there = np.array([[True, True], [True, False]])
    for name, values_ in expected.items():
        exact = values_.transpose("member", "y", "x").values[:, there]
        np.testing.assert_allclose(
            found[name].values[:, there], exact, rtol=2e-6, err_msg=str(name)
        )
        assert found[name].isel(y=1, x=1).isnull().all()
    for n in (95, 99):  # of ETCCDI, in mm, R95p = R95pTOT × PRCPTOT
        product = expected[f"r{n}ptot"] * expected["prcptot"]
        exact = product.transpose("member", "y", "x").values[:, there]
        np.testing.assert_allclose(found[f"r{n}p"].values[:, there], exact, rtol=2e-6)


def test_a_missing_day_ends_spells_and_five_day_sums() -> None:
    # 6 wet days with the third missing: runs of 2 and 3; no five days in a row.
    found = indices([5.0, 5.0, np.nan, 5.0, 5.0, 5.0])
    assert found["cwd"] == 3
    assert np.isnan(found["rx5day"])
    assert found["prcptot"] == pytest.approx(25.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_days_have_every_index_but_rx5day(count: int) -> None:
    found = indices([2.0, 11.0, 0.0, 4.0][:count])
    assert "rx5day" not in found
    assert found["rx1day"] == pytest.approx(2.0 if count == 1 else 11.0)
    assert found["cwd"] == min(count, 2)
    assert found["cdd"] == (1.0 if count > 2 else 0.0)


def test_the_last_days_of_a_year_stay_in_it() -> None:
    lattice = axis("2001-12-30", 86_400)
    field = record(np.array([2.0, 3.0, 4.0])[None, :, None, None] * MM_PER_DAY, lattice)
    made = tables(field, area([[1.0]]), lattice)
    assert made.period_to_date is not None
    assert made.period_to_date["prcptot"].values.ravel() == pytest.approx([5.0, 4.0])
    assert made.period_to_date["cwd"].values.ravel().tolist() == [2.0, 1.0]


def test_very_wet_days_need_a_reference() -> None:
    assert not {"r95p", "r99p", "r95ptot", "r99ptot"} & indices(DAYS).keys()
    one = xr.DataArray(11.0)
    assert indices(DAYS, reference=one)["r95p"] == pytest.approx(57.0)  # type: ignore[arg-type]


def test_no_wet_day_has_no_intensity() -> None:
    found = indices([0.0, 0.5, 0.0, 0.0, 0.0], reference=REFERENCE)
    assert np.isnan(found["sdii"])
    assert found["prcptot"] == 0.0
    assert found["r95p"] == 0.0
    assert np.isnan(found["r95ptot"])
    assert found["cdd"] == 5


def test_units_and_names_of_indices() -> None:
    found = {name: index_attributes(name) for name in indices(DAYS, reference=REFERENCE)}
    assert {n: a["units"] for n, a in found.items()} == {
        "rx1day": "mm", "rx5day": "mm", "r10mm": "1", "r20mm": "1", "sdii": "mm d-1",
        "cdd": "day", "cwd": "day", "prcptot": "mm",
        "r95p": "mm", "r95ptot": "1", "r99p": "mm", "r99ptot": "1",
    }  # fmt: skip
    assert all(a["long_name"] and a["cell_methods"] for a in found.values())
    assert all(a["standard_name"] for n, a in found.items() if not n.endswith("ptot"))


def test_largest_step_says_its_length() -> None:
    attrs = step_attributes(10_800)
    assert attrs["units"] == "mm h-1"
    assert attrs["long_name"] == "largest rate of a 3-hour step"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10_800, "3-hour"),
        (300, "5-minute"),
        (86_400, "1-day"),
        (5400, "90-minute"),
        (45, "45-second"),
    ],
)
def test_steps_in_words(seconds: int, text: str) -> None:
    assert step_text(seconds) == text
