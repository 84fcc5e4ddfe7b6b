"""Every map has its coasts, borders, land, relief and edges, on any grid, with no network."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import xarray as xr
from map_samples import cubed_sphere, grid_of, png
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from stvd.diagnostics.canvas import LAND, Canvas
from stvd.diagnostics.coastlines import densified
from stvd.diagnostics.colours import rain_scale
from stvd.diagnostics.graticule import crossing, degrees_text
from stvd.diagnostics.pictures import image_of
from stvd.diagnostics.plane import Azimuthal, plane_of

SCALE = rain_scale(0.1, 10.0, "mm h⁻¹")


def drawn(grid: xr.Dataset, values: np.ndarray | None = None) -> tuple[Figure, Axes]:
    like = next(iter(grid.values()))
    filled = np.ones(like.shape) if values is None else values
    field = xr.DataArray(filled, dims=like.dims, coords=grid.coords)
    figure = Figure()
    axes = figure.subplots()
    canvas = Canvas(field, grid)
    canvas.draw(axes, field, SCALE)
    canvas.dress(axes, "a title")
    return figure, axes


def lines_of(axes: Axes) -> list[np.ndarray]:
    return [s for c in axes.collections if isinstance(c, LineCollection) for s in c.get_segments()]


@pytest.mark.parametrize("kind", ["global", "regional", "projected", "faces"])
def test_coasts_need_no_network(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a map went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    figure, axes = drawn(cubed_sphere() if kind == "faces" else grid_of(kind))
    assert sum(len(line) for line in lines_of(axes)) > 10
    assert png(figure).startswith(b"\x89PNG")


def test_a_coast_lies_where_it_is_on_the_map() -> None:
    # The strait of Gibraltar, 36.0°N 5.6°W, on a grid whose longitudes begin at 350°.
    _, axes = drawn(grid_of("regional", rows=8, columns=24))
    assert axes.get_xlim() == pytest.approx((349.75, 361.75))
    grid = grid_of("regional", rows=8, columns=24)
    south = grid.assign_coords(lat=("y", 34 + 0.5 * np.arange(8)))
    _, axes = drawn(south)
    points = np.concatenate(lines_of(axes))
    apart = np.hypot(points[:, 0] - (360 - 5.61), points[:, 1] - 36.0)  # Tarifa
    assert apart.min() < 0.05


def test_projected_borders_lie_where_the_grid_is() -> None:
    # Lake Geneva's north shore at Lausanne, on a grid of km about 46.3°N 6.6°E.
    y, x = np.mgrid[-20:20, -20:20] * 0.02
    coords = {"lat": (("y", "x"), 46.3 + y), "lon": (("y", "x"), 6.6 + 1.4 * x)}
    grid = xr.Dataset({"orog": (("y", "x"), np.zeros((40, 40)))}, coords=coords)
    _, axes = drawn(grid)
    points = np.concatenate([densified(line, 0.5) for line in lines_of(axes)])
    plane = plane_of(grid)
    assert isinstance(plane, Azimuthal)
    (shore,) = plane.project(np.array([[6.626, 46.506]]))
    assert np.hypot(*(points - shore).T).min() < 2  # km
    assert any("°E" in t.get_text() for t in axes.get_xticklabels())
    assert any("°N" in t.get_text() for t in axes.get_yticklabels())


@pytest.mark.parametrize("kind", ["kilometres", "cells"])
def test_without_degrees_the_land_draws_its_coast(kind: str) -> None:
    figure, axes = drawn(grid_of(kind))
    outline = next(c for c in axes.collections if c.get_zorder() == 2)
    (path,) = outline.get_paths()
    # Land is where hypot(y − 8, x − 12) < 6 cells.
    radius = np.hypot(path.vertices[:, 1] - 8, path.vertices[:, 0] - 12)
    assert radius.min() > 4.5
    assert radius.max() < 6.5
    assert axes.get_xlabel() == {"kilometres": "x (km)", "cells": "x (cells)"}[kind]
    assert png(figure)


def test_the_land_shows_where_it_is_dry() -> None:
    grid = grid_of("cells")
    dry, _ = drawn(grid, np.zeros((16, 24)))
    flat, _ = drawn(grid.drop_vars("orog"), np.zeros((16, 24)))
    image = _pixels(flat)
    tint = np.array([int(LAND[k : k + 2], 16) for k in (1, 3, 5)])
    assert (np.abs(image - tint).max(axis=-1) <= 1).mean() > 0.05
    assert len(np.unique(_pixels(dry).reshape(-1, 3), axis=0)) > 100  # shades of relief


def test_rain_covers_the_land() -> None:
    figure, axes = drawn(grid_of("cells"), np.full((16, 24), 1.5))
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    colour = np.round(255 * np.array(SCALE.colours(SCALE.norm(1.5))[:3]))
    image = _pixels(figure)
    inside = image[150:300, 200:300].reshape(-1, 3)
    assert (inside == colour).all(axis=1).mean() > 0.9
    assert mesh.get_zorder() > 0.5  # above the relief


def test_relief_shows_faintly_through_a_field_without_blanks() -> None:
    grid = grid_of("cells")
    field = xr.DataArray(np.full((16, 24), 1.5), dims=("y", "x"))
    seen = {}
    for covered in (False, True):
        figure = Figure()
        axes = figure.subplots()
        canvas = Canvas(field, grid)
        canvas.draw(axes, field, SCALE)
        canvas.dress(axes, "", covered=covered)
        seen[covered] = _pixels(figure)
    apart = np.abs(seen[True] - seen[False]).max(axis=-1)
    assert 10 < apart.max() < 60  # of 255: the colour of a step is still its own
    assert (apart > 5).mean() > 0.005


def test_land_everywhere_needs_no_outline() -> None:
    grid = grid_of("cells").assign(land_fraction=(("y", "x"), np.ones((16, 24))))
    _, axes = drawn(grid)
    assert axes.get_facecolor() != (1, 1, 1, 1)
    assert not [c for c in axes.collections if c.get_zorder() == 2]


def test_dots_stand_on_marked_cells_alone() -> None:
    grid = grid_of("cells")
    where = xr.DataArray(np.indices((16, 24))[1] >= 12, dims=("y", "x"))
    axes = Figure().subplots()
    Canvas(where, grid).dots(axes, where, across=8)
    (dots,) = axes.lines
    assert (np.asarray(dots.get_xdata()) >= 12).all()
    # Every third cell of 16 rows and of the 12 columns: rows 1, 4, …, 13, columns 13, 16, 19, 22.
    assert len(dots.get_xdata()) == 5 * 4


@pytest.mark.parametrize(
    ("value", "letters", "said"),
    [(190.0, "EW", "170°W"), (-45.5, "NS", "45.5°S"), (0, "EW", "0°"), (360, "EW", "0°"),
     (180, "EW", "180°"), (-180, "EW", "180°"), (7, "EW", "7°E")],
)  # fmt: skip
def test_degrees_as_on_an_edge(value: float, letters: str, said: str) -> None:
    assert degrees_text(value, letters) == said


def test_a_line_meets_an_edge() -> None:
    line = np.array([[0.0, 0.0], [2.0, 4.0], [3.0, 0.0]])
    assert crossing(line, 1.0, across=1) == 0.5
    assert crossing(line, 2.5, across=0) == 2.0
    assert crossing(line, 5.0, across=1) is None


def _pixels(figure: Figure) -> np.ndarray:
    return np.asarray(image_of(figure)).astype(int)
