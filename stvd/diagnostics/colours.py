"""Scales of colour for precipitation: steps, shades even to the eye, one bar for maps that share them.

All ramps run in equal steps of OKLab lightness, so that they are told apart by lightness alone: safe for
colour-blind readers and in grey print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, FAINT, MISSING = "#222222", "#8a8a8a", "#d9d9d9"
# Lightness 0.94 to 0.32, cyan through blue to purple.
RAIN = (
    "#cef4f1", "#ace5e8", "#8ad4e4", "#6bc2e1", "#51aedf", "#4398dc",
    "#4e7dd9", "#5f5fce", "#6c40b8", "#722492", "#710067", "#62003a",
)  # fmt: skip
# Lightness 0.95 to 0.36, straw to brown: what grows with drought.
DRY = (
    "#f7f0ca", "#e9d59d", "#dcb973", "#d09d4c", "#c1812b", "#ae6710", "#994f03", "#803906", "#662609",
)  # fmt: skip
# Lightness 0.42 to 0.93 and back: brown for less rain, blue-green for more.
SIGNED = (
    "#733c1a", "#9a551a", "#ba7530", "#d09a5f", "#e4c090", "#fae5c3",
    "#c7f2ee", "#94d4d7", "#60b5c4", "#2e95b1", "#0f7398", "#0d5279",
)  # fmt: skip

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """A colour for each step between `levels`.

    Parameters
    ----------
    levels : edges of the steps, ascending
    units : what the levels are in, as printed
    shades : the ramp that colours are taken from
    below : values below the first level: left `blank`, coloured (`shade`), or there are `none`
    above : whether there can be values above the last level
    """

    levels: tuple[float, ...]
    units: str
    shades: tuple[str, ...] = RAIN
    below: Literal["blank", "shade", "none"] = "blank"
    above: bool = True

    @property
    def colours(self) -> Colormap:
        low, steps = int(self.below == "shade"), len(self.levels) - 1
        count = low + steps + int(self.above)
        shades = LinearSegmentedColormap.from_list("ramp", self.shades)(np.linspace(0, 1, count))
        under = (1.0, 1.0, 1.0, 0.0) if self.below == "blank" else shades[0]
        return ListedColormap(shades[low : low + steps]).with_extremes(
            under=under, over=shades[-1], bad=MISSING
        )

    @property
    def norm(self) -> BoundaryNorm:
        return BoundaryNorm(list(self.levels), ncolors=len(self.levels) - 1)

    @property
    def extend(self) -> Literal["both", "min", "max", "neither"]:
        if self.below == "none":
            return "max" if self.above else "neither"
        return "both" if self.above else "min"

    def bar(self, figure: Figure, axes: list[Axes], what: str, *, small: bool = False) -> Colorbar:
        """A horizontal bar below the axes, every step labelled, with what it shows and its units."""
        keys = ScalarMappable(norm=self.norm, cmap=self.colours)
        size: dict[str, Any] = {"fraction": 0.04, "pad": 0.02, "aspect": 55, "shrink": 0.7}
        if small:
            size = {"fraction": 0.05, "pad": 0.03, "aspect": 30, "shrink": 1.0}
        bar = figure.colorbar(
            keys, ax=axes, orientation="horizontal", extend=self.extend, ticks=list(self.levels),
            spacing="uniform", **size,
        )  # fmt: skip
        bar.ax.set_xticklabels([f"{level:g}" for level in self.levels], fontsize=7 if small else 8)
        said = f"{what} ({self.units})" if self.units else what
        across = axes[0].get_position().width if small else 1.0
        letters = round((18 if small else 13) * across * figure.get_figwidth())
        bar.set_label(fill(said, letters), fontsize=8 if small else 9, color=INK)
        bar.outline.set_linewidth(0.4)
        return bar


def rain_scale(low: float, high: float, units: str) -> Scale:
    """Steps of 1, 2, 5, 10, … from `low` (a 1, 2 or 5) to the first that covers `high`."""
    return _log_scale(low, high, units, (1, 2, 5))


def amount_scale(values: np.ndarray, units: str) -> Scale:
    """Steps of equal ratio that cover all but the lowest and highest of many amounts or rates.

    From the value that one in 50 is below, but at most 500 times less than the highest, to that which
    one in 2000 exceeds; finer steps (1, 1.5, 2, 3, 5, 7, 10, …) where those are within a factor of 30.
    """
    there = values[np.isfinite(values)]
    top = float(np.quantile(there, 0.9995)) if there.size else 1.0
    low = float(np.quantile(there, 0.02)) if there.size else 0.1
    low = max(low, top / 500, 0.1)
    scale = _log_scale(low, top, units, (1, 1.5, 2, 3, 5, 7) if top < 30 * low else (1, 2, 5))
    return replace(scale, below="shade")


def _log_scale(low: float, high: float, units: str, mantissas: tuple[float, ...]) -> Scale:
    steps = [m * 10.0**e for e in range(-3, 6) for m in mantissas]
    first = min(range(len(steps)), key=lambda i: abs(np.log(steps[i] / low)))
    last = next((i for i, s in enumerate(steps) if s >= high), len(steps) - 1)
    levels = steps[first : max(last, first + 3) + 1]
    return Scale(tuple(round(s, 6) for s in levels), units)


def linear_scale(
    low: float, high: float, units: str, shades: tuple[str, ...] = RAIN, *, above: bool = True
) -> Scale:
    """About six round, equal steps from `low` to the first that covers `high`."""
    levels = _round_steps(low, max(high, low + 1e-6), 7)
    return Scale(tuple(levels), units, shades, below="none", above=above)


def signed_scale(extent: float, units: str) -> Scale:
    """Equal steps from −`extent` to `extent`, rounded up, paler towards zero."""
    upper = _round_steps(0.0, max(extent, 1e-6), 5)
    return Scale((*(-v for v in upper[:0:-1]), *upper), units, SIGNED, below="shade")


def quantity_scale(name: str, units: str, values: np.ndarray) -> Scale:
    """The scale that suits a quantity of the annual tables.

    Steps of 1, 2, 5 for amounts and rates, equal steps for days and shares; brown where more
    means drier. One cell in 2000 may lie above the scale.
    """
    top = float(np.nanquantile(values, 0.9995)) if np.isfinite(values).any() else 1.0
    if name.endswith(("_fraction", "95ptot", "99ptot")):
        return linear_scale(0.0, top, "", above=top < 1)
    if units in ("day", "1"):
        return linear_scale(0.0, max(top, 3.0), "days", DRY if name == "cdd" else RAIN)
    return amount_scale(values, units_text(units))


def units_text(units: str) -> str:
    """Units as printed: `mm d-1` becomes `mm d⁻¹`; those of a pure number are left out.

    >>> units_text("kg m-2 s-1"), units_text("(kg m-2 s-1)2"), units_text("1")
    ('kg m⁻² s⁻¹', '(kg m⁻² s⁻¹)²', '')
    """
    if units == "1":
        return ""
    return re.sub(r"(?<=[a-zA-Z)])-?\d+", lambda m: m.group().translate(SUPERSCRIPTS), units)


def _round_steps(low: float, high: float, count: int) -> list[float]:
    ticks = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{t:.10g}") for t in ticks if t > low - 1e-9 * abs(high)]
