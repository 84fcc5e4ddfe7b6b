"""Meridians and parallels of a projected map, and degrees as they stand on its edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from stvd.diagnostics.plane import Azimuthal

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30)  # degrees
POINTS = 201  # of a line


def graticule(axes: Axes, plane: Azimuthal) -> None:
    """Draw the lines, and their degrees where they cross the lower and the left edge."""
    west, east, south, north = plane.limits
    lines = []
    for letters, edge, across, low, high in (
        ("EW", south, 1, west, east),
        ("NS", west, 0, south, north),
    ):
        places, names = [], []
        for degree, line in _circles(plane, letters):
            lines.append(line)
            place = crossing(line, edge, across)
            if place is not None and low <= place <= high:
                places.append(place)
                names.append(degrees_text(degree, letters))
        (axes.set_xticks if letters == "EW" else axes.set_yticks)(places, names)
    axes.add_collection(
        LineCollection(lines, colors="#9a9a9a", linewidths=0.35, linestyles="dotted", zorder=1.8),
        autolim=False,
    )


def _circles(plane: Azimuthal, letters: str) -> Iterator[tuple[float, np.ndarray]]:
    """The meridians (`EW`) or parallels (`NS`) of a map, about eight, and their lines on the plane."""
    lat, lon = plane.centre
    highest = min(abs(lat) + plane.reach, 90.0)
    around = min(plane.reach / max(np.cos(np.deg2rad(highest)), 0.02), 180.0)
    along = np.linspace(-1.0, 1.0, POINTS)
    middle, extent = (lon, around) if letters == "EW" else (lat, plane.reach)
    step = next((s for s in STEPS if extent / s < 4), STEPS[-1])
    for count in range(int(np.ceil((middle - extent) / step)), int((middle + extent) // step) + 1):
        degree, fixed = count * step, np.full(POINTS, count * step)
        if letters == "EW":
            points = np.stack([fixed, np.clip(lat + plane.reach * along, -90, 90)], axis=1)
        elif abs(degree) < 90:
            points = np.stack([lon + around * along, fixed], axis=1)
        else:
            continue
        yield degree, plane.project(points)


def crossing(line: np.ndarray, edge: float, across: int) -> float | None:
    """Where a line (n, 2) first reaches the value `edge` of the coordinate `across`: the other one.

    >>> crossing(np.array([[0.0, 0.0], [2.0, 4.0]]), 1.0, 1)
    0.5
    """
    side = np.sign(line[:, across] - edge)
    at = np.flatnonzero(side[1:] != side[:-1])
    if at.size == 0:
        return None
    a, b = line[at[0]], line[at[0] + 1]
    share = (edge - a[across]) / (b[across] - a[across])
    return float(a[1 - across] + share * (b[1 - across] - a[1 - across]))


def degrees_text(value: float, letters: str) -> str:
    """A latitude or longitude as on a map's edge; longitudes beyond 180° are turned back.

    >>> degrees_text(190.0, "EW"), degrees_text(-45.5, "NS"), degrees_text(180.0, "EW")
    ('170°W', '45.5°S', '180°')
    """
    value = round(float(value), 6)
    if letters == "EW":
        value = (value + 180.0) % 360.0 - 180.0
    if value in (0.0, -180.0):
        return f"{abs(value):g}°"
    return f"{abs(value):g}°{letters[0] if value > 0 else letters[1]}"
