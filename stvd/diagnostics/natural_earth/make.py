"""Make `lines.npz` from the shapefiles of Natural Earth: `python make.py FOLDER`.

FOLDER holds `ne_{110m,50m,10m}_{coastline,lakes,admin_0_boundary_lines_land}.shp` and the `.dbf` of
the last two, as naturalearthdata.com and many mirrors hand them out. Lines are simplified (Douglas
and Peucker), the smallest left out, and points stored as steps of 0.002 degree from one to the next.
Needs shapely, which stvd does not.
"""

from __future__ import annotations

import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely

STEP = 0.002  # degree, about 200 m
TOLERANCE = {"110m": 0.02, "50m": 0.02, "10m": 0.01}  # degree
SMALLEST = {"110m": 0.0, "50m": 0.1, "10m": 0.05}  # degree, extent of a line that is kept
HIGHEST_RANK = {"110m": 9, "50m": 4, "10m": 4}  # of lakes; 0 are the largest
LAND = "admin_0_boundary_lines_land"

Line = np.ndarray  # shape (points, 2): longitude, latitude


def shapes(path: Path) -> list[list[Line]]:
    """The parts of every record of a shapefile of lines or polygons."""
    raw, at, found = path.read_bytes(), 100, []
    while at < len(raw):
        size = 2 * struct.unpack(">2i", raw[at : at + 8])[1]
        record, at = raw[at + 8 : at + 8 + size], at + 8 + size
        parts, points = struct.unpack("<2i", record[36:44])
        ends = [*struct.unpack(f"<{parts}i", record[44 : 44 + 4 * parts]), points]
        xy = np.frombuffer(record, "<f8", 2 * points, 44 + 4 * parts).reshape(-1, 2)
        found.append([xy[a:b] for a, b in pairwise(ends)])
    return found


def attributes(path: Path) -> list[dict[str, str]]:
    """The records of a dBASE table, names in lower case."""
    raw = path.read_bytes()
    count, header, size = struct.unpack("<IHH", raw[4:12])
    at, place, fields = 32, 1, []
    while raw[at] != 0x0D:
        name = raw[at : at + 11].split(b"\0")[0].decode().lower()
        fields.append((name, place, raw[at + 16]))
        place, at = place + raw[at + 16], at + 32
    starts = range(header, header + count * size, size)
    return [
        {n: raw[s + p : s + p + w].decode("utf-8", "replace").strip() for n, p, w in fields}
        for s in starts
    ]


def level(folder: Path, name: str) -> dict[str, list[Line]]:
    """Coasts, lakes, borders and disputed borders of a level of detail."""
    borders: dict[str, list[Line]] = {"border": [], "disputed": []}
    lines = folder / f"ne_{name}_{LAND}.shp"
    for parts, about in zip(shapes(lines), attributes(lines.with_suffix(".dbf")), strict=True):
        agreed = about["featurecla"].startswith("International boundary")
        borders["border" if agreed else "disputed"] += parts
    lakes = folder / f"ne_{name}_lakes.shp"
    ranked = zip(shapes(lakes), attributes(lakes.with_suffix(".dbf")), strict=True)
    return {
        "coast": [p for parts in shapes(folder / f"ne_{name}_coastline.shp") for p in parts],
        "lake": [
            p for parts, a in ranked if float(a["scalerank"]) <= HIGHEST_RANK[name] for p in parts
        ],
        **borders,
    }


def joined(lines: list[Line]) -> list[Line]:
    """Lines that meet end to end as one."""
    merged = shapely.line_merge(shapely.MultiLineString(lines))
    return [shapely.get_coordinates(part) for part in shapely.get_parts(merged)]


def opened(line: Line) -> list[Line]:
    """A line without its pieces along the date line, where the map was cut and no coast is."""
    at_edge = np.abs(np.abs(line[:, 0]) - 180) < 1e-3
    cut = np.flatnonzero(at_edge[1:] & at_edge[:-1]) + 1
    return [p for p in np.split(line, cut) if len(p) > 1]


def packed(lines: list[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First points (n, 2) int32, points of each (n,) int32, steps between them (m, 2) int16."""
    steps = [np.round(line / STEP).astype(np.int32) for line in lines]
    steps = [s[np.r_[True, np.any(np.diff(s, axis=0) != 0, axis=1)]] for s in steps]
    steps = [s for s in steps if len(s) > 1]
    between = np.concatenate([np.diff(s, axis=0) for s in steps])
    assert np.abs(between).max() < 2**15
    first = np.array([s[0] for s in steps], np.int32)
    return first, np.array([len(s) for s in steps], np.int32), between.astype(np.int16)


def main(folder: Path) -> None:
    arrays: dict[str, Any] = {"step": np.array(STEP)}
    for name, tolerance in TOLERANCE.items():
        for kind, lines in level(folder, name).items():
            kept = [p for line in joined(lines) for p in opened(line)]
            if kind in ("coast", "lake"):
                kept = [p for p in kept if np.ptp(p, axis=0).max() > SMALLEST[name]]
            kept = [
                shapely.get_coordinates(
                    shapely.simplify(shapely.LineString(p), tolerance, preserve_topology=False)
                )
                for p in kept
            ]
            first, count, between = packed(kept)
            arrays |= {f"{name}_{kind}_first": first, f"{name}_{kind}_count": count}
            arrays[f"{name}_{kind}_between"] = np.ascontiguousarray(between.T)
            print(name, kind, len(count), int(count.sum()))
    np.savez_compressed(Path(__file__).with_name("lines.npz"), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
