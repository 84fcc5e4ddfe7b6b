"""Pieces of a field that see their neighbours: which cells surround each, and how they are joined.

A field on one or more faces is laid out with the faces stacked along y, shape (..., tile·y, x), so
that a cell is one number. A piece is a rectangle of cells with a halo: on a face it goes on over the
edge into the adjacent face, on a circle of longitude it goes around, at the end of a domain it
stops. Pieces are gathered by index, worked on one by one, and merged again with weights that pass
from one piece to the next over a band around the border between them.

Which faces are adjacent is read off the positions of their cells, in any numbering and orientation.
Nothing is rotated: vectors are geographic components (east, north), as the contract has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import product

import numpy as np
import torch
from torch import Tensor

from stvd.grid import unit_vectors


class Side(Enum):
    """A side of a face; rows ascend from the south, columns from the west."""

    SOUTH = "south"
    NORTH = "north"
    WEST = "west"
    EAST = "east"

    @property
    def along_x(self) -> bool:
        return self in (Side.SOUTH, Side.NORTH)


@dataclass(frozen=True)
class Join:
    """What lies beyond a side: a side of a face, along which cells count backwards or not."""

    tile: int
    side: Side
    backwards: bool


Joins = Mapping[tuple[int, Side], Join]


def find_joins(lat: np.ndarray, lon: np.ndarray) -> dict[tuple[int, Side], Join]:
    """Find the adjacent sides of faces by the positions of their cells.

    The cells of two sides lie opposite each other if their centres, carried outwards by half a cell,
    meet within half a cell all along.

    Parameters
    ----------
    lat, lon : ndarray, shape (tile, y, x), degrees, centres of the cells

    Returns
    -------
    dict from (tile, side) to what lies beyond; a side without a neighbour is absent
    """
    points = unit_vectors(lat, lon)
    borders = {(t, s): _border(points[t], s) for t in range(len(points)) for s in Side}
    joins = {}
    for here, ours in borders.items():
        reach = 0.5 * np.linalg.norm(np.diff(ours, axis=0), axis=-1).mean()
        for there, theirs in borders.items():
            if there == here or theirs.shape != ours.shape:
                continue
            for backwards in (False, True):
                opposite = theirs[::-1] if backwards else theirs
                if np.linalg.norm(ours - opposite, axis=-1).max() < reach:
                    joins[here] = Join(*there, backwards)
    return joins


def _border(face: np.ndarray, side: Side) -> np.ndarray:
    """Middles of the outer edges of the cells along a side, unit vectors, shape (cell, 3)."""
    rows = face if side.along_x else face.swapaxes(0, 1)
    if side in (Side.NORTH, Side.EAST):
        rows = rows[::-1]
    middle = 1.5 * rows[0] - 0.5 * rows[1]
    return np.asarray(middle / np.linalg.norm(middle, axis=-1, keepdims=True))


def extend_faces(
    joins: Joins,
    shape: tuple[int, int, int],
    y: tuple[int, int],
    x: tuple[int, int],
) -> np.ndarray:
    """Number the cells of faces and of what surrounds them.

    Beyond a side without a neighbour the face is mirrored. Beyond a corner, where three faces meet
    and a fourth is missing, the cells nearer to one adjacent face go on from it around the corner, up
    to the diagonal.

    Parameters
    ----------
    joins : of `find_joins`
    shape : (tile, y, x) of the faces
    y : cells added in the south and in the north
    x : cells added in the west and in the east

    Returns
    -------
    ndarray of int64, shape (tile, y + added, x + added), numbers in (tile·y·x)
    """
    tiles, ny, nx = shape
    rows, columns = np.arange(-y[0], ny + y[1]), np.arange(-x[0], nx + x[1])
    row, column = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([_number(joins, shape, tile, row, column) for tile in range(tiles)])


def _number(
    joins: Joins, shape: tuple[int, int, int], tile: int, y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Numbers of the cells at rows and columns of a face, those beyond its sides included."""
    _, ny, nx = shape
    depth = {Side.SOUTH: -1 - y, Side.NORTH: y - ny, Side.WEST: -1 - x, Side.EAST: x - nx}
    depth_y = np.maximum(depth[Side.SOUTH], depth[Side.NORTH])
    depth_x = np.maximum(depth[Side.WEST], depth[Side.EAST])
    number = (tile * ny + y) * nx + x
    for side in Side:
        # Beyond a corner the longer way is gone first: so fields go on smoothly up to the diagonal.
        first = depth_y > depth_x if side.along_x else depth_y <= depth_x
        beyond = (depth[side] >= 0) & first
        if beyond.any():
            join = joins.get((tile, side), Join(tile, side, False))  # a mirror is its own neighbour
            along = (x if side.along_x else y)[beyond]
            if join.backwards:
                along = (nx if side.along_x else ny) - 1 - along
            inwards = depth[side][beyond]
            if join.side in (Side.NORTH, Side.EAST):
                inwards = (ny if join.side.along_x else nx) - 1 - inwards
            place = (inwards, along) if join.side.along_x else (along, inwards)
            number[beyond] = _number(joins, shape, join.tile, *place)
    return number


def circle(tiles: int) -> dict[tuple[int, Side], Join]:
    """The joins of tiles whose x is a whole circle of longitude."""
    ends = {Side.WEST: Side.EAST, Side.EAST: Side.WEST}
    return {(t, here): Join(t, there, False) for t in range(tiles) for here, there in ends.items()}


@dataclass(frozen=True)
class HaloIndex:
    """Pieces of a field, each with a halo, all of one shape.

    Parameters
    ----------
    shape : (rows, columns) of the field, faces stacked along y
    index : Tensor of int64, shape (piece, y, x), the cell of the field at every place
    place : Tensor of int64, shape (n, cell), the places of the pieces that make a cell
    weight : Tensor, shape (n, cell), how much each counts; they add up to 1
    wrap_x : pieces are whole circles in x
    """

    shape: tuple[int, int]
    index: Tensor
    place: Tensor
    weight: Tensor
    wrap_x: bool

    @classmethod
    def of(
        cls,
        shape: tuple[int, int, int],
        joins: Joins,
        *,
        halo: int,
        tile: int | None = None,
        multiple: int = 1,
        periodic_x: bool = False,
        blend: int | None = None,
    ) -> HaloIndex:
        """Cut faces into equal pieces, with what lies around each.

        A piece at a side without a neighbour ends there, and reaches further inwards instead; so the
        network sees the end of a domain as it does in one piece.

        Parameters
        ----------
        shape : (tile, y, x) of the faces
        joins : of `find_joins`
        halo : cells around a piece, a multiple of `multiple`; at most as many as a face is wide
        tile : most cells along a side of a piece, without its halo; None for whole faces
        multiple : both sides of a piece are a multiple of this: faces that are not grow at their far
            sides
        periodic_x : x is a circle. Pieces go around it, or, where they hold it whole, are circles
        blend : half the width of the band over which weights pass from piece to piece, `halo // 2`
            by default; 0 for none
        """
        tiles, ny, nx = shape
        wrap_x = periodic_x and nx <= (tile or nx)
        if periodic_x and not wrap_x:
            joins = {**joins, **circle(tiles)}
        halo = min(halo, max(min(ny, nx) // multiple, 1) * multiple)
        grow_y, grow_x = (-ny) % multiple, (-nx) % multiple
        around_y = halo if any(side.along_x for _, side in joins) else 0
        around_x = halo if any(not side.along_x for _, side in joins) else 0
        y = _Cuts.of(ny, (around_y, around_y + grow_y), tile or ny, halo, multiple)
        x = _Cuts.of(nx, (around_x, around_x + grow_x), tile or nx, halo, multiple)
        number = extend_faces(joins, shape, y.ends, x.ends)
        # What stands beyond a corner or a mirror is seen, but does not count.
        inside_y, inside_x = slice(around_y, around_y + ny), slice(around_x, around_x + nx)
        counts = np.zeros(number.shape, dtype=bool)
        counts[:, inside_y, inside_x] = True
        for t, side in joins:
            rows = {Side.SOUTH: slice(around_y), Side.NORTH: slice(around_y + ny, None)}
            columns = {Side.WEST: slice(around_x), Side.EAST: slice(around_x + nx, None)}
            counts[t, rows.get(side, inside_y), columns.get(side, inside_x)] = True

        blend = halo // 2 if blend is None else blend
        share = [
            y.weight(i, blend)[:, None] * x.weight(j, blend)
            for i, j in product(range(len(y.windows)), range(len(x.windows)))
        ]
        cuts = list(product(y.windows, x.windows))
        index = np.stack([face[cut] for face in number for cut in cuts])
        weight = np.stack(
            [w * face[cut] for face in counts for w, cut in zip(share, cuts, strict=True)]
        )
        place, weight = _contributions(index, weight, tiles * ny * nx)
        return cls(
            shape=(tiles * ny, nx),
            index=torch.from_numpy(index),
            place=torch.from_numpy(place),
            weight=torch.from_numpy(weight),
            wrap_x=wrap_x,
        )

    @property
    def pieces(self) -> int:
        return len(self.index)

    @property
    def piece_shape(self) -> tuple[int, int]:
        return self.index.shape[1], self.index.shape[2]

    def to(self, device: str | torch.device) -> HaloIndex:
        return HaloIndex(
            self.shape,
            self.index.to(device),
            self.place.to(device),
            self.weight.to(device),
            self.wrap_x,
        )

    def gather(self, field: Tensor, piece: int | slice = slice(None)) -> Tensor:
        """Take pieces out of a field, shape (..., rows, columns), to (..., [piece,] y, x)."""
        return field.flatten(-2)[..., self.index[piece]]

    def merge(self, pieces: Tensor) -> Tensor:
        """Join pieces, shape (..., piece, y, x), to a field (..., rows, columns).

        A sum over the few pieces that share a cell, always in the same order.
        """
        flat = pieces.flatten(-3)
        total = flat[..., self.place[0]] * self.weight[0]
        for place, weight in zip(self.place[1:], self.weight[1:], strict=True):
            total = total + flat[..., place] * weight
        return total.unflatten(-1, self.shape)


@dataclass(frozen=True)
class _Cuts:
    """One axis of `size` cells, with `ends` more beyond it, cut into windows of equal length.

    Places are counted from the first cell beyond the near end.
    """

    size: int
    ends: tuple[int, int]
    step: int
    windows: tuple[slice, ...]

    @classmethod
    def of(cls, size: int, ends: tuple[int, int], tile: int, halo: int, multiple: int) -> _Cuts:
        count = -(-size // tile)
        step = -(-size // (count * multiple)) * multiple
        whole = ends[0] + size + ends[1]
        length = min(step + 2 * halo, whole)
        starts = (first + ends[0] - halo for first in range(0, size, step))
        kept = (min(max(start, 0), whole - length) for start in starts)
        return cls(size, ends, step, tuple(slice(k, k + length) for k in kept))

    def weight(self, number: int, blend: int) -> np.ndarray:
        """Weight of a window at each of its places: 1 inside, falling over 2·`blend` at a border."""
        window = self.windows[number]
        place = np.arange(window.start, window.stop) + 0.5
        first = self.ends[0] + number * self.step
        last = min(first + self.step, self.ends[0] + self.size)
        near = _ramp(place - first, blend) if number or self.ends[0] else np.ones_like(place)
        end = number == len(self.windows) - 1 and not self.ends[1]
        far = np.ones_like(place) if end else _ramp(last - place, blend)
        return near * far


def cut_edges(size: int, tile: int | None, multiple: int) -> tuple[int, ...]:
    """Cells of an axis at which a piece begins that is not the first, as `HaloIndex.of` cuts it."""
    step = _Cuts.of(size, (0, 0), tile or size, 0, multiple).step
    return tuple(range(step, size, step))


def _ramp(distance: np.ndarray, blend: int) -> np.ndarray:
    """0 outside, 1 inside of a border at distance 0, linear over 2·`blend` cells around it."""
    if not blend:
        return (distance > 0).astype(float)
    return np.clip(0.5 + distance / (2 * blend), 0, 1)


def _contributions(
    index: np.ndarray, weight: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """For every cell the places in the pieces that hold it and their shares, shape (n, cell)."""
    places = np.flatnonzero(weight > 0)
    owner = index.reshape(-1)[places]
    order = np.argsort(owner, kind="stable")
    places, owner = places[order], owner[order]
    count = np.bincount(owner, minlength=cells)
    rank = np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    place = np.zeros((count.max(), cells), dtype=np.int64)
    share = np.zeros((count.max(), cells), dtype=np.float64)
    place[rank, owner], share[rank, owner] = places, weight.reshape(-1)[places]
    return place, (share / share.sum(axis=0)).astype(np.float32)
