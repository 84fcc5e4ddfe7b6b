"""Coasts and borders lie where they are on earth, and come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from stvd.diagnostics.coastlines import KINDS, Level, densified, in_box, level_of, lines, near
from stvd.grid import unit_vectors

LEVELS: tuple[Level, ...] = ("110m", "50m", "10m")


def distance(level: Level, kind: str, lat: float, lon: float) -> float:
    """From a place to the nearest point of the lines, km."""
    there = np.concatenate(
        [densified(line, 0.01) for line in in_box(level, kind, lon - 1, lon + 1, lat - 1, lat + 1)]
    )
    apart = np.linalg.norm(
        unit_vectors(there[:, 1], there[:, 0]) - unit_vectors(np.array(lat), np.array(lon)), axis=1
    )
    return float(6371 * apart.min())


@pytest.mark.parametrize(
    ("place", "kind", "lat", "lon"),
    [
        ("Cabo da Roca", "coast", 38.781, -9.500),
        ("Cape Agulhas", "coast", -34.833, 20.000),
        ("Cape Byron", "coast", -28.634, 153.638),
        ("Point Reyes", "coast", 37.996, -123.022),
        ("Basel, where three countries meet", "border", 47.590, 7.589),
        ("the 49th parallel", "border", 49.0, -110.0),
        ("Lausanne, on its lake", "lake", 46.506, 6.626),
    ],
)  # fmt: skip
def test_known_places_lie_on_lines(place: str, kind: str, lat: float, lon: float) -> None:
    assert distance("10m", kind, lat, lon) < 3


@pytest.mark.parametrize(("level", "most"), [("50m", 8.0), ("110m", 30.0)])
def test_coarser_lines_are_near(level: Level, most: float) -> None:
    assert distance(level, "coast", 38.781, -9.500) < most


@pytest.mark.parametrize("level", LEVELS)
def test_lines_are_of_this_earth_and_not_cut_at_the_date_line(level: Level) -> None:
    for kind in KINDS:
        points = np.concatenate(lines(level, kind))
        assert np.abs(points[:, 0]).max() <= 180
        assert np.abs(points[:, 1]).max() < 90
    for line in lines(level, "coast"):
        edge = np.abs(line[:, 0]) > 179.998
        assert not (edge[1:] & edge[:-1]).any()
        assert np.abs(np.diff(line, axis=0)).max() < 12


def test_a_box_beyond_the_date_line_has_the_coasts_there() -> None:
    found = in_box("110m", "coast", 170.0, 200.0, 50.0, 72.0)  # Chukotka and western Alaska
    lon = np.concatenate(found)[:, 0]
    assert ((lon > 185) & (lon < 200)).any()
    assert not [line for line in found if line[:, 0].max() < 170 or line[:, 0].min() > 200]


def test_near_leaves_out_what_is_far() -> None:
    found = np.concatenate(near("110m", "coast", 0.0, 0.0, 20.0))
    towards = unit_vectors(found[:, 1], found[:, 0]) @ unit_vectors(np.array(0.0), np.array(0.0))
    assert np.rad2deg(np.arccos(towards.min())) <= 20


def test_densified_points_lie_on_the_line() -> None:
    made = densified(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 0.5]]))
    assert made.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 0.5]]


@pytest.mark.parametrize(("extent", "level"), [(360, "110m"), (30, "50m"), (5, "10m")])
def test_detail_suits_the_extent(extent: float, level: str) -> None:
    assert level_of(extent) == level


def test_the_file_is_small_and_its_licence_beside_it() -> None:
    folder = files("stvd.diagnostics").joinpath("natural_earth")
    assert len(folder.joinpath("lines.npz").read_bytes()) < 1_000_000
    assert "public domain" in folder.joinpath("README.md").read_text().replace("**", "")
