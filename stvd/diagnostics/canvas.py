"""What every map shares: axes for any grid, coasts and borders without a network, shaded relief."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stvd.diagnostics import coastlines
from stvd.diagnostics.colours import FAINT, INK, Scale
from stvd.diagnostics.graticule import degrees_text, graticule
from stvd.diagnostics.plane import KM, Azimuthal, plane_of
from stvd.diagnostics.relief import draw_relief

LAND, SEA = "#f1efe9", "#fafbfc"
FINEST = 500  # points along an axis from which the outline of the land is drawn
# Colour, width and dashes of the lines of `coastlines.KINDS`.
LOOKS = {
    "coast": ("#3d3d3d", 0.7, "solid"),
    "lake": ("#5c5c5c", 0.35, "solid"),
    "border": ("#7a7a7a", 0.5, "solid"),
    "disputed": ("#7a7a7a", 0.5, "dotted"),
}


class Canvas:
    """Maps of one grid: what lies beneath the rain, and the lines above it.

    Parameters
    ----------
    like : field or dataset of the grid, with the coordinates that it has
    static : Dataset of the same cells; its `land_fraction` tints the land, its `orog` (m) shades it,
        and both draw the coast where the position of the grid is not known
    """

    def __init__(self, like: xr.DataArray | xr.Dataset, static: xr.Dataset | None = None) -> None:
        self.plane = plane_of(like)
        self.static = xr.Dataset() if static is None else static
        self.lines = self._lines()

    @property
    def wide(self) -> bool:
        """Whether the map is much wider than high, as a global one."""
        return self.plane.ratio < 1 / 1.6

    def draw(self, axes: Axes, values: xr.DataArray, scale: Scale) -> QuadMesh:
        """Colour the cells of a field ([tile,] y, x), in the units of `scale`, fine or coarse."""
        x, y, there = self.plane.arrange(values)
        return axes.pcolormesh(
            x, y, there, cmap=scale.colours, norm=scale.norm, shading="nearest", rasterized=True
        )

    def dress(self, axes: Axes, title: str, *, covered: bool = False) -> None:
        """Land, relief, coasts, borders, ticks, limits and a title; after the fields are drawn.

        Relief lies beneath the rain, and faintly above a field that leaves no cell blank (`covered`).
        """
        axes.set_facecolor(SEA)
        self._ground(axes, covered)
        for kind, lines in self.lines.items():
            colour, width, dashes = LOOKS[kind]
            width *= 0.7 if self.wide else 1.0
            axes.add_collection(
                LineCollection(lines, colors=colour, linewidths=width, linestyles=dashes, zorder=2),
                autolim=False,
            )
        west, east, south, north = self.plane.limits
        axes.set_xlim(west, east)
        axes.set_ylim(south, north)
        axes.set_aspect(self.plane.aspect)
        self._ticks(axes)
        for spine in axes.spines.values():
            spine.set_color(FAINT)
            spine.set_linewidth(0.6)
        axes.set_title(title, fontsize=10, color=INK, loc="left", pad=4)

    def dots(self, axes: Axes, where: xr.DataArray, across: int = 60) -> None:
        """Dots over the cells where a field ([tile,] y, x) is true, about `across` from side to side."""
        x, y, there = self.plane.arrange(where.astype(float))
        every = max(max(there.shape) // across, 1)
        x, y = np.broadcast_arrays(x, y[:, None]) if x.ndim == 1 else (x, y)
        part = (slice(every // 2, None, every),) * 2
        marked = there[part] == 1
        axes.plot(
            x[part][marked], y[part][marked], linestyle="", marker=".", markersize=1.6,
            markeredgewidth=0, color=INK, zorder=1.5,
        )  # fmt: skip

    def _ground(self, axes: Axes, covered: bool) -> None:
        """Tint of the land and shade of its slopes; its outline where no coast is known."""
        land = None
        if "land_fraction" in self.static:
            x, y, land = self.plane.arrange(self.static["land_fraction"])
            every = -(-max(land.shape) // FINEST)
            part = (slice(None, None, every),) * 2
            outline = (
                *((x[part], y[part]) if x.ndim > 1 else (x[::every], y[::every])),
                land[part],
            )
            if float(np.nanmin(land)) >= 0.5:
                axes.set_facecolor(LAND)
            elif float(np.nanmax(land)) > 0.5:
                axes.contourf(*outline, [0.5, 1.5], colors=[LAND], zorder=0)
                if not self.lines:
                    colour, width, _ = LOOKS["coast"]
                    axes.contour(*outline, [0.5], colors=colour, linewidths=width, zorder=2)
        if "orog" in self.static:
            x, y, height = self.plane.arrange(self.static["orog"])
            if land is not None:
                height = np.where(land >= 0.5, height, np.nan)
            draw_relief(axes, self.plane, x, y, height, above=covered)

    def _lines(self) -> dict[str, coastlines.Lines]:
        """Lines of each kind on the plane; none where positions are not known."""
        plane = self.plane
        west, east, south, north = plane.limits
        found = {}
        for kind in coastlines.KINDS:
            if isinstance(plane, Azimuthal):
                level = coastlines.level_of(np.rad2deg(max(east - west, north - south) / KM))
                lines = coastlines.near(level, kind, *plane.centre, plane.reach)
                found[kind] = [plane.project(line) for line in lines]
            elif plane.kind == "degrees":
                level = coastlines.level_of(max((east - west) / plane.aspect, north - south))
                found[kind] = coastlines.in_box(level, kind, west, east, south, north)
        return found

    def _ticks(self, axes: Axes) -> None:
        axes.tick_params(labelsize=7.5, length=2.5, color=FAINT, labelcolor=INK)
        if isinstance(self.plane, Azimuthal):
            graticule(axes, self.plane)
            return
        degrees = self.plane.kind == "degrees"
        west, east = self.plane.limits[:2]
        steps = [1, 1.5, 2, 3, 4.5, 6, 9, 10] if degrees and east - west > 60 else [1, 2, 5, 10]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=4, steps=steps))
        if degrees:
            axes.xaxis.set_major_formatter(FuncFormatter(_east_west))
            axes.yaxis.set_major_formatter(FuncFormatter(_north_south))
        else:
            unit = self.plane.kind
            axes.set_xlabel(f"x ({unit})", fontsize=8)
            axes.set_ylabel(f"y ({unit})", fontsize=8)


def _east_west(value: float, _: int) -> str:
    return degrees_text(value, "EW")


def _north_south(value: float, _: int) -> str:
    return degrees_text(value, "NS")
