"""Scales: even to the eye, safe for colour-blind readers, in round steps."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colors

from stvd.diagnostics.colours import (
    DRY,
    RAIN,
    SIGNED,
    Scale,
    linear_scale,
    quantity_scale,
    rain_scale,
    signed_scale,
    units_text,
)

LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLIND = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def oklab(shades: tuple[str, ...], sight: str = "normal") -> np.ndarray:
    """OKLab (Ottosson, 2020) of sRGB colours as seen, shape (n, 3)."""
    srgb = np.array([colors.to_rgb(c) for c in shades])
    rgb = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(rgb @ np.array(BLIND[sight]).T, 0, 1)
    return np.cbrt(seen @ LMS.T) @ LAB.T


def test_rain_darkens_in_equal_steps() -> None:
    assert -np.diff(oklab(RAIN)[:, 0]) == pytest.approx(0.62 / 11, abs=0.005)


def test_drought_darkens_in_equal_steps() -> None:
    assert -np.diff(oklab(DRY)[:, 0]) == pytest.approx(0.59 / 8, abs=0.005)


def test_less_and_more_are_equally_dark() -> None:
    light = oklab(SIGNED)[:, 0]
    assert light == pytest.approx(light[::-1], abs=0.005)
    assert np.diff(light[:6]) == pytest.approx(0.51 / 5, abs=0.005)


@pytest.mark.parametrize("sight", BLIND)
@pytest.mark.parametrize("shades", [RAIN, DRY, SIGNED], ids=["rain", "dry", "signed"])
def test_neighbours_differ_whoever_looks(shades: tuple[str, ...], sight: str) -> None:
    # 0.02 in OKLab is about the least difference that is seen.
    assert np.linalg.norm(np.diff(oklab(shades, sight), axis=0), axis=1).min() > 0.035


@pytest.mark.parametrize("sight", BLIND)
def test_less_and_more_are_told_apart_whoever_looks(sight: str) -> None:
    seen = oklab(SIGNED, sight)
    assert np.linalg.norm(seen[:5] - seen[:6:-1], axis=1).min() > 0.08  # four times that


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (0.1, 3.0, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)),
        (0.1, 0.05, (0.1, 0.2, 0.5, 1.0)),
        (1.0, 100.0, (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)),
    ],
)
def test_rain_steps_by_1_2_5(low: float, high: float, levels: tuple[float, ...]) -> None:
    scale = rain_scale(low, high, "mm h⁻¹")
    assert scale.levels == levels
    assert scale.colours(scale.norm(low / 2))[3] == 0  # dry cells show the land beneath


def test_a_value_has_the_colour_of_its_step() -> None:
    scale = Scale((0.0, 1.0, 2.0), "mm", ("#000000", "#ffffff"), below="shade")
    # Four shades from black to white: below, two steps, above.
    seen = [scale.colours(scale.norm(v))[0] for v in (-1.0, 0.5, 1.5, 3.0)]
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=0.01)


def test_linear_scale_covers_what_it_shows() -> None:
    levels = linear_scale(0.0, 37.0, "days").levels
    assert levels[0] == 0
    assert levels[-2] < 37 <= levels[-1]
    assert np.diff(levels) == pytest.approx(np.diff(levels)[0])


def test_signed_scale_is_symmetric() -> None:
    scale = signed_scale(0.7, "mm")
    assert scale.levels == tuple(-v for v in reversed(scale.levels))
    assert 0.0 in scale.levels
    assert scale.levels[-1] >= 0.7
    low, high = scale.colours(scale.norm(-0.01)), scale.colours(scale.norm(0.01))
    assert low[0] > low[2]  # brown below zero
    assert high[0] < high[2]  # blue-green above


@pytest.mark.parametrize(
    ("name", "units", "values", "shades", "units_said"),
    [
        ("rx1day", "mm", [0.0, 80.0], RAIN, "mm"),
        ("sdii", "mm d-1", [2.0, 9.0], RAIN, "mm d⁻¹"),
        ("r10mm", "1", [0.0, 30.0], RAIN, "days"),
        ("cdd", "day", [3.0, 90.0], DRY, "days"),
        ("wet_day_fraction", "1", [0.1, 0.8], RAIN, ""),
        ("rx1day", "mm", [np.nan, np.nan], RAIN, "mm"),
    ],
)
def test_each_quantity_has_its_scale(
    name: str, units: str, values: list[float], shades: tuple[str, ...], units_said: str
) -> None:
    scale = quantity_scale(name, units, np.array(values))
    assert (scale.shades, scale.units) == (shades, units_said)
    assert not np.nanmax([*values, 0.0]) > scale.levels[-1] * 1.001


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ("mm", "mm"),
        ("kg m-2 s-1", "kg m⁻² s⁻¹"),
        ("(kg m-2 s-1)2", "(kg m⁻² s⁻¹)²"),
        ("mm (10 year)-1", "mm (10 year)⁻¹"),
        ("1", ""),
    ],
)
def test_units_as_printed(units: str, said: str) -> None:
    assert units_text(units) == said


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        # From the step nearest to the 2nd percentile to the first that covers nearly all.
        (np.linspace(500, 2500, 5001), (500, 700, 1000, 1500, 2000, 3000)),
        (np.geomspace(1, 1000, 5001), (2, 5, 10, 20, 50, 100, 200, 500, 1000)),
        (np.zeros(9), (0.1, 0.15, 0.2, 0.3)),
    ],
)
def test_amounts_fill_their_scale(values: np.ndarray, levels: tuple[float, ...]) -> None:
    assert quantity_scale("pr_total", "mm", values).levels[: len(levels)] == pytest.approx(levels)
    if values.any():
        assert len(quantity_scale("pr_total", "mm", values).levels) == len(levels)
