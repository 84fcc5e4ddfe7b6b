"""What every map shares: the rain scale, map axes for any grid, coast lines without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stvd.grid import is_periodic

INK, FAINT, COAST = "#222222", "#8a8a8a", "#4d4d4d"
LAND, SEA = "#f1efe9", "#fafbfc"
# Light to dark in equal steps of OKLab lightness (0.94 to 0.32), cyan through blue to purple: even
# to the eye, told apart by lightness alone, and so safe for colour-blind readers and in grey print.
RAIN = (
    "#cef4f1", "#ace5e8", "#8ad4e4", "#6bc2e1", "#51aedf", "#4398dc",
    "#4e7dd9", "#5f5fce", "#6c40b8", "#722492", "#710067", "#62003a",
)  # fmt: skip


@dataclass(frozen=True)
class RainScale:
    """Colours in steps of 1, 2, 5, 10, … between `levels`; less than the first is left blank."""

    levels: tuple[float, ...]
    units: str

    @property
    def colours(self) -> Colormap:
        shades = LinearSegmentedColormap.from_list("rain", RAIN)(
            np.linspace(0.0, 1.0, len(self.levels))
        )
        blank = (1.0, 1.0, 1.0, 0.0)
        return ListedColormap(shades[:-1]).with_extremes(
            under=blank, over=shades[-1], bad="#d9d9d9"
        )

    @property
    def norm(self) -> BoundaryNorm:
        return BoundaryNorm(list(self.levels), ncolors=len(self.levels) - 1)


def rain_scale(low: float, high: float, units: str) -> RainScale:
    """A scale from `low` (a 1, 2 or 5) to the first such step that covers `high`."""
    steps = [m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5)]
    first = min(range(len(steps)), key=lambda i: abs(np.log(steps[i] / low)))
    last = next((i for i, s in enumerate(steps) if s >= high), len(steps) - 1)
    levels = steps[first : max(last, first + 3) + 1]
    return RainScale(tuple(round(s, 6) for s in levels), units)


@dataclass(frozen=True)
class MapGrid:
    """Positions of cell centres as they are drawn; `order` sorts the columns from west to east."""

    x: np.ndarray
    y: np.ndarray
    order: np.ndarray
    kind: str  # "degrees", "km" or "cells"

    @property
    def aspect(self) -> float | Literal["equal"]:
        if self.kind != "degrees" or (np.ptp(self.y) > 120):
            return "equal"
        return float(1 / np.cos(np.deg2rad(np.mean(self.y))))

    @property
    def wide(self) -> bool:
        """Whether the map is much wider than high, as a global one."""
        stretch = 1.0 if self.aspect == "equal" else float(self.aspect)
        return float(np.ptp(self.x)) > 1.6 * stretch * float(np.ptp(self.y))


def map_grid(field: xr.DataArray | xr.Dataset) -> MapGrid:
    """Where the cells of a field (y, x) are: in degrees, in km of the projection, or counted."""
    columns = np.arange(field.sizes["x"])
    if "lat" in field.coords and "lon" in field.coords:
        lat, lon = field["lat"].values, field["lon"].values
        if lon.ndim > 1:
            return MapGrid(lon, lat, columns, "degrees")
        if is_periodic(lon):
            lon = (lon + 180.0) % 360.0 - 180.0
            columns = np.argsort(lon)
        return MapGrid(lon[columns], lat, columns, "degrees")
    if all(d in field.coords and field[d].attrs.get("units") == "m" for d in ("y", "x")):
        return MapGrid(field["x"].values / 1e3, field["y"].values / 1e3, columns, "km")
    return MapGrid(columns.astype(float), np.arange(field.sizes["y"]) + 0.0, columns, "cells")


def draw_field(axes: Axes, field: xr.DataArray, scale: RainScale) -> QuadMesh:
    """Colour the cells of a field, shape (y, x), in the units of `scale`."""
    grid = map_grid(field)
    mesh = axes.pcolormesh(
        grid.x,
        grid.y,
        field.transpose("y", "x").values[:, grid.order],
        cmap=scale.colours,
        norm=scale.norm,
        shading="nearest",
        rasterized=True,
    )
    return mesh


def dress(axes: Axes, like: xr.DataArray, static: xr.Dataset | None, title: str) -> None:
    """Coast line, relief, degree or kilometre ticks, limits of the grid of `like`, and a title."""
    grid = map_grid(like)
    axes.set_facecolor(SEA)
    if static is not None and "land_fraction" in static:
        share = static["land_fraction"].transpose("y", "x").values[:, grid.order]
        axes.contourf(grid.x, grid.y, share, [0.5, 1.5], colors=[LAND], zorder=0)
    lines = {"land_fraction": ([0.5], COAST, 0.7), "orog": ([1000.0, 2000.0], FAINT, 0.35)}
    for name, (levels, colour, width) in lines.items():
        if static is None or name not in static:
            continue
        values = static[name].transpose("y", "x").values[:, grid.order]
        levels = [v for v in levels if values.min() < v < values.max()]
        if levels and not (name == "orog" and grid.wide):
            axes.contour(grid.x, grid.y, values, levels, colors=colour, linewidths=width)
    axes.set_aspect(grid.aspect)
    axes.set_xlim(*_limits(grid.x))
    axes.set_ylim(*_limits(grid.y))
    if grid.kind == "degrees":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _degrees(v, "E", "W")))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _degrees(v, "N", "S")))
    else:
        axes.set_xlabel("x (km)" if grid.kind == "km" else "x (cells)", fontsize=8)
        axes.set_ylabel("y (km)" if grid.kind == "km" else "y (cells)", fontsize=8)
    turn = grid.kind == "degrees" and np.ptp(grid.x) > 60
    steps = [1, 1.5, 2, 3, 4.5, 6, 9, 10] if turn else [1, 2, 5, 10]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, steps=steps))
    axes.tick_params(labelsize=7.5, length=2.5, color=FAINT, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.6)
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=4)


def colour_bar(
    figure: Figure, mesh: QuadMesh, axes: list[Axes], scale: RainScale, what: str
) -> None:
    """A horizontal bar below the maps, with every step labelled."""
    bar = figure.colorbar(
        mesh, ax=axes, orientation="horizontal", extend="both", fraction=0.04, pad=0.02,
        aspect=55, shrink=0.7, ticks=list(scale.levels), spacing="uniform",
    )  # fmt: skip
    bar.ax.set_xticklabels([f"{level:g}" for level in scale.levels], fontsize=8)
    bar.set_label(f"{what} ({scale.units})", fontsize=9, color=INK)
    bar.outline.set_linewidth(0.4)


def _limits(centres: np.ndarray) -> tuple[float, float]:
    along = centres if centres.ndim == 1 else np.array([centres.min(), centres.max()])
    half = (along[-1] - along[0]) / max(along.size - 1, 1) / 2 if centres.ndim == 1 else 0.0
    return float(along[0] - half), float(along[-1] + half)


def _degrees(value: float, positive: str, negative: str) -> str:
    if np.isclose(value, 0):
        return "0°"
    return f"{abs(value):g}°{positive if value > 0 else negative}"
