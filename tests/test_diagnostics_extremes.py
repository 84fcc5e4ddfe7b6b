"""Indices of extremes by hand and by direct loops."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from rain_samples import axis, rain, record

from stvd.diagnostics.extremes import (
    etccdi,
    step_text,
    subdaily_maximum,
)


def daily(values: list[float] | np.ndarray, calendar: str = "standard") -> xr.DataArray:
    """Days of one member and cell, mm d-1."""
    field = np.asarray(values, float)[None, :, None, None]
    return record(field, axis(step=86_400, calendar=calendar)).assign_attrs(units="mm d-1")


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
    ],
)
def test_indices_by_hand(name: str, expected: float) -> None:
    assert etccdi(daily(DAYS))[name].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_indices_equal_direct_loops(calendar: str) -> None:
    length = 360 if calendar == "360_day" else 365
    values = rain((2, length, 1, 3), seed=3) * 86_400 / 8
    field = record(values, axis(step=86_400, calendar=calendar))
    found = etccdi(field.chunk(time=50, member=1))
    for m in range(2):
        for x in range(3):
            d = values[m, :, 0, x]
            at = {n: float(v[m, 0, x]) for n, v in found.items()}
            assert at["rx1day"] == pytest.approx(d.max())
            assert at["rx5day"] == pytest.approx(max(d[k : k + 5].sum() for k in range(len(d) - 4)))
            assert at["r10mm"] == (d >= 10).sum()
            assert at["r20mm"] == (d >= 20).sum()
            assert at["prcptot"] == pytest.approx(d[d >= 1].sum())
            assert at["sdii"] == pytest.approx(d[d >= 1].mean())
            assert at["cdd"] == longest_run(d < 1)
            assert at["cwd"] == longest_run(d >= 1)


def test_a_missing_day_ends_spells_and_five_day_sums() -> None:
    # 6 wet days with the third missing: runs of 2 and 3; no five days in a row.
    found = etccdi(daily([5.0, 5.0, np.nan, 5.0, 5.0, 5.0]))
    assert found["cwd"].item() == 3
    assert np.isnan(found["rx5day"].item())
    assert found["prcptot"].item() == pytest.approx(25.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_days_have_every_index_but_rx5day(count: int) -> None:
    found = etccdi(daily([2.0, 11.0, 0.0, 4.0][:count]))
    assert "rx5day" not in found
    assert found["rx1day"].item() == (2.0 if count == 1 else 11.0)
    assert found["cwd"].item() == min(count, 2)
    assert found["cdd"].item() == (1.0 if count > 2 else 0.0)


def test_the_last_days_of_a_year_stay_in_it() -> None:
    field = record(np.array([2.0, 3.0])[None, :, None, None], axis("2001-12-30", 86_400))
    assert etccdi(field)["prcptot"].item() == pytest.approx(5.0)


def test_r95p_is_the_rain_of_very_wet_days() -> None:
    # Above 11 mm: 12 + 20 + 25; ETCCDI's R95p is R95pTOT × PRCPTOT, here 57/71 × 71.
    reference = xr.DataArray([[11.0]], dims=("y", "x"))
    found = etccdi(daily(DAYS), reference)
    assert found["r95p"].item() == pytest.approx(57.0)
    assert "r95p" not in etccdi(daily(DAYS))


def test_r95p_equals_xclim() -> None:
    import xclim
    from xclim.indicators import icclim

    # xclim's fraction takes wet days above 1 mm and not at it, so no day here has exactly 1 mm.
    field = daily([1.1 if d == 1.0 else d for d in DAYS])
    field = field.assign_attrs(cell_methods="time: mean", standard_name="precipitation_flux")
    reference = xr.DataArray([[11.0]], dims=("y", "x"), attrs={"units": "mm d-1"})
    with xclim.set_options(check_missing="skip", cf_compliance="log"):
        share = icclim.R95pTOT(pr=field, pr_per=reference, freq="YS")
    found = etccdi(field, reference)
    assert float(share.squeeze()) * found["prcptot"].item() == pytest.approx(found["r95p"].item())


def test_no_wet_day_has_no_intensity() -> None:
    found = etccdi(daily([0.0, 0.5, 0.0, 0.0, 0.0]))
    assert np.isnan(found["sdii"].item())
    assert found["prcptot"].item() == 0.0
    assert found["cdd"].item() == 5


def test_units_and_names_of_indices() -> None:
    found = etccdi(daily(DAYS))
    units = {n: v.attrs["units"] for n, v in found.items()}
    assert units == {
        "rx1day": "mm", "rx5day": "mm", "r10mm": "1", "r20mm": "1", "sdii": "mm d-1",
        "cdd": "day", "cwd": "day", "prcptot": "mm",
    }  # fmt: skip
    assert all(v.attrs["standard_name"] and v.attrs["cell_methods"] for v in found.values())


def test_largest_step_by_hand() -> None:
    field = record(np.array([1.0, 7.0, 2.0])[None, :, None, None])
    found = subdaily_maximum(field, 10_800)
    assert found.item() == 7.0
    assert found.attrs["units"] == "mm h-1"
    assert found.attrs["long_name"] == "largest rate of a 3-hour step"


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
