"""Maps of places: where regions lie, and where and how large the largest events were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from stvd.diagnostics.canvas import Canvas
from stvd.diagnostics.coastlines import densified
from stvd.diagnostics.colours import INK, amount_scale, units_text
from stvd.diagnostics.maps import sheet
from stvd.diagnostics.plane import Azimuthal
from stvd.diagnostics.region_files import Region

MOST = 12  # events that are marked
HALO = [withStroke(linewidth=2, foreground="white")]
MARK = "#D55E00"


def region_map(
    field: xr.DataArray,
    regions: Sequence[Region],
    *,
    grid: xr.Dataset | None = None,
    title: str = "",
) -> Figure:
    """The outlines and names of regions over a field ([tile,] y, x) with `units` and `long_name`."""
    canvas = Canvas(field, grid)
    figure = _beneath(field, canvas, title)
    axes = figure.axes[0]
    for region in regions:
        rings = [
            densified(np.asarray(ring.coords)[:, :2])
            for part in shapely.get_parts(region.geometry)
            for ring in (part.exterior, *part.interiors)
        ]
        lines = [turned for ring in rings for turned in _turns(canvas, ring)]
        axes.add_collection(
            LineCollection(lines, colors=MARK, linewidths=1.3, zorder=3), autolim=False
        )
        at = region.geometry.representative_point()
        for x, y in (t[0] for t in _turns(canvas, np.array([[at.x, at.y]]))):
            axes.annotate(region.name, (x, y), fontsize=8, color=INK, ha="center", zorder=4,
                          path_effects=HALO, annotation_clip=True)  # fmt: skip
    return figure


def event_map(
    field: xr.DataArray, events: pd.DataFrame, *, grid: xr.Dataset | None = None, title: str = ""
) -> Figure:
    """The peaks of the largest events, numbered by rank, circles as large as their water.

    Parameters
    ----------
    field : DataArray, shape ([tile,] y, x), drawn beneath, with `units` and `long_name`
    events : of `events.largest_events`
    """
    canvas = Canvas(field, grid)
    figure = _beneath(field, canvas, title)
    axes = figure.axes[0]
    first = events.head(MOST)
    most = float(first["volume_km3"].max())
    for row in first.to_dict("records"):
        for x, y in _peak(canvas, row):
            size = 30 + 250 * row["volume_km3"] / most if most > 0 else 30
            axes.scatter(
                [x],
                [y],
                s=size,
                facecolor="none",
                edgecolor=MARK,
                linewidth=1.4,
                zorder=3,
                clip_on=False,
            )
            axes.annotate(str(row["rank"]), (x, y), fontsize=8, color=INK, ha="center",
                          va="center", zorder=4, path_effects=HALO)  # fmt: skip
    return figure


def _beneath(field: xr.DataArray, canvas: Canvas, title: str) -> Figure:
    units = units_text(str(field.attrs["units"]))
    what = str(field.attrs["long_name"])
    scale = amount_scale(field.values, units)
    return sheet({"": field}, canvas, scale, what, title=title, width=6.4)


def _turns(canvas: Canvas, lonlat: np.ndarray) -> list[np.ndarray]:
    """Points (n, 2) of longitude and latitude on the plane, on every turn that the map shows."""
    plane = canvas.plane
    if isinstance(plane, Azimuthal):
        return [plane.project(lonlat)]
    if plane.kind != "degrees":
        return []
    west, east = plane.limits[:2]
    turned = (lonlat + np.array([turn, 0.0]) for turn in (-360.0, 0.0, 360.0))
    return [t for t in turned if t[:, 0].max() >= west and t[:, 0].min() <= east]


def _peak(canvas: Canvas, event: dict[str, float]) -> list[tuple[float, float]]:
    """Where the peak of an event lies on the plane."""
    if canvas.plane.kind in ("degrees", "azimuthal"):
        point = np.array([[event["lon"], event["lat"]]])
        return [tuple(t[0]) for t in _turns(canvas, point)]
    return [(float(canvas.plane.x[int(event["x"])]), float(canvas.plane.y[int(event["y"])]))]
