"""Coasts, lakes and borders for maps with no network: lines of Natural Earth that lie beside this file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np

from stvd.grid import unit_vectors

Level = Literal["110m", "50m", "10m"]
KINDS = ("coast", "lake", "border", "disputed")
Lines = list[np.ndarray]  # each of shape (points, 2): longitude and latitude, degrees


def level_of(extent: float) -> Level:
    """How much detail a map of so many degrees can show."""
    if extent > 60:
        return "110m"
    return "50m" if extent > 10 else "10m"


@cache
def lines(level: Level, kind: str) -> tuple[np.ndarray, ...]:
    """All lines of a kind, each of shape (points, 2): longitude in −180…180, latitude, degrees.

    Source: Natural Earth 4 and 5, public domain; simplified to about 2 km (1:110m, 1:50m) and 1 km (1:10m).

    Parameters
    ----------
    level : scale of the map that they were drawn for
    kind : `coast`, `lake`, `border` or `disputed`
    """
    name = f"{level}_{kind}"
    with files("stvd.diagnostics").joinpath("natural_earth/lines.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        step = float(stored["step"])
        first, count = stored[f"{name}_first"], stored[f"{name}_count"]
        between = stored[f"{name}_between"].T.astype(np.int32)
    steps = np.split(between, np.cumsum(count - 1)[:-1])
    return tuple(
        step * np.cumsum(np.concatenate([f[None], s]), axis=0)
        for f, s in zip(first, steps, strict=True)
    )


def in_box(level: Level, kind: str, west: float, east: float, south: float, north: float) -> Lines:
    """The lines that touch a box, at the longitudes of the box, which may lie beyond ±180°."""
    found = []
    for line in lines(level, kind):
        low, high = line.min(axis=0), line.max(axis=0)
        if high[1] < south or low[1] > north:
            continue
        for turn in (-360.0, 0.0, 360.0):
            if high[0] + turn >= west and low[0] + turn <= east:
                found.append(line + np.array([turn, 0.0]))
    return found


def near(level: Level, kind: str, lat: float, lon: float, angle: float) -> Lines:
    """The pieces of lines within `angle` degrees of a point, with points at most a degree apart."""
    centre = unit_vectors(np.array(lat), np.array(lon))
    limit = np.cos(np.deg2rad(min(angle, 180.0)))
    found: Lines = []
    for line in lines(level, kind):
        dense = densified(line)
        inside = unit_vectors(dense[:, 1], dense[:, 0]) @ centre >= limit
        if inside.all():
            found.append(dense)
        elif inside.any():
            cuts = np.flatnonzero(np.diff(inside)) + 1
            pieces = zip(np.split(dense, cuts), np.split(inside, cuts), strict=True)
            found += [p for p, i in pieces if i[0] and len(p) > 1]
    return found


def densified(line: np.ndarray, most: float = 1.0) -> np.ndarray:
    """A line with points added, so that none is more than `most` degrees from the next."""
    parts = np.maximum(np.ceil(np.abs(np.diff(line, axis=0)).max(axis=1) / most), 1).astype(int)
    if (parts == 1).all():
        return line
    place = np.concatenate([[0.0], *(k + np.arange(1, n + 1) / n for k, n in enumerate(parts))])
    whole = np.arange(len(line))
    return np.stack([np.interp(place, whole, line[:, k]) for k in (0, 1)], axis=1)
