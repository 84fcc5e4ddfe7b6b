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
    joins: Joins, shape: tuple[int, int, int], before: int, after: tuple[int, int]
) -> np.ndarray:
    """Number the cells of faces and of what surrounds them.

    Beyond a side without a neighbour its outermost cells are repeated. Beyond a corner, where three
    faces meet and a fourth is missing, the cells nearer to one adjacent face go on from it around
    the corner, up to the diagonal.

    Parameters
    ----------
    joins : of `find_joins`
    shape : (tile, y, x) of the faces
    before : cells added in the south and west
    after : cells added in the north and east

    Returns
    -------
    ndarray of int64, shape (tile, before + y + after, before + x + after), numbers in (tile·y·x)

    Raises
    ------
    ValueError
        If more cells are asked for than the adjacent face has.
    """
    tiles, ny, nx = shape
    if max(before, *after) > min(ny, nx):
        raise ValueError(
            f"a halo of {max(before, *after)} cells is wider than a face of {ny} × {nx}"
        )
    y, x = np.meshgrid(
        np.arange(-before, ny + after[0]), np.arange(-before, nx + after[1]), indexing="ij"
    )
    return np.stack([_number(joins, shape, tile, y, x) for tile in range(tiles)])


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
        if not beyond.any():
            continue
        row, column, join = y[beyond], x[beyond], joins.get((tile, side))
        if join is None:
            row, column = (
                (row.clip(0, ny - 1), column) if side.along_x else (row, column.clip(0, nx - 1))
            )
            number[beyond] = _number(joins, shape, tile, row, column)
            continue
        along, length = (column, nx) if side.along_x else (row, ny)
        along = length - 1 - along if join.backwards else along
        inwards = depth[side][beyond]
        if join.side in (Side.NORTH, Side.EAST):
            inwards = (ny if join.side.along_x else nx) - 1 - inwards
        position = (inwards, along) if join.side.along_x else (along, inwards)
        number[beyond] = _number(joins, shape, join.tile, *position)
    return number


@dataclass(frozen=True)
class HaloIndex:
    """Pieces of a field, each with a halo, all of one shape.

    Parameters
    ----------
    shape : (rows, columns) of the field, faces stacked along y
    index : Tensor of int64, shape (piece, y, x), the cell of the field at every place
    place : Tensor of int64, shape (n, cell), the places of the pieces that make a cell
    weight : Tensor, shape (n, cell), how much each counts; they add up to 1
    whole_x : a piece is as wide as the field
    """

    shape: tuple[int, int]
    index: Tensor
    place: Tensor
    weight: Tensor
    whole_x: bool

    @classmethod
    def of_domain(
        cls,
        shape: tuple[int, int],
        *,
        tile: int,
        halo: int,
        multiple: int = 1,
        periodic_x: bool = False,
        blend: int | None = None,
    ) -> HaloIndex:
        """Cut one domain into equal pieces; those at its ends reach further inwards.

        Parameters
        ----------
        shape : (y, x) of the domain, multiples of `multiple`
        tile : most cells along a side of a piece, without its halo
        halo : cells around it, a multiple of `multiple`
        multiple : places where pieces begin and end
        periodic_x : x is a circle
        blend : half the width of the band over which weights pass, `halo // 2` by default; 0 for none
        """
        ny, nx = shape
        y = _Cuts.of(ny, ends=(0, 0), tile=tile, halo=halo, multiple=multiple)
        split = -(-nx // tile) > 1
        wrap = min(halo, nx) if periodic_x and split else 0
        x = _Cuts.of(nx, ends=(wrap, wrap), tile=tile, halo=halo, multiple=multiple)
        number = np.arange(ny)[:, None] * nx + np.arange(-wrap, nx + wrap) % nx
        own = np.ones_like(number, dtype=bool)
        return cls._assemble(shape, number[None], own, y, x, halo // 2 if blend is None else blend)

    @classmethod
    def of_faces(
        cls,
        joins: Joins,
        shape: tuple[int, int, int],
        *,
        halo: int,
        tile: int | None = None,
        multiple: int = 1,
        blend: int | None = None,
    ) -> HaloIndex:
        """Surround every face by its neighbours, and cut it into pieces if it is large.

        Parameters
        ----------
        joins : of `find_joins`
        shape : (tile, y, x) of the faces
        halo, tile, multiple, blend : as of `of_domain`; a halo wider than a face is cut to its width
        """
        tiles, ny, nx = shape
        grow = [(-n) % multiple for n in (ny, nx)]  # the far halo makes the sides divisible
        halo = min(halo, (min(ny, nx) - max(grow)) // multiple * multiple)
        after = (halo + grow[0], halo + grow[1])
        number = extend_faces(joins, shape, halo, after)
        ends_y, ends_x = (halo, after[0]), (halo, after[1])
        y = _Cuts.of(ny, ends=ends_y, tile=tile or ny, halo=halo, multiple=multiple)
        x = _Cuts.of(nx, ends=ends_x, tile=tile or nx, halo=halo, multiple=multiple)
        # What stands beyond a corner or an end is seen, but does not count.
        own = np.zeros(number.shape, dtype=bool)
        inside_y, inside_x = slice(halo, halo + ny), slice(halo, halo + nx)
        own[:, inside_y, inside_x] = True
        for (t, side), _ in joins.items():
            rows = {Side.SOUTH: slice(halo), Side.NORTH: slice(halo + ny, None)}
            columns = {Side.WEST: slice(halo), Side.EAST: slice(halo + nx, None)}
            own[t, rows.get(side, inside_y), columns.get(side, inside_x)] = True
        return cls._assemble(
            (tiles * ny, nx), number, own, y, x, halo // 2 if blend is None else blend
        )

    @classmethod
    def _assemble(
        cls,
        shape: tuple[int, int],
        number: np.ndarray,
        own: np.ndarray,
        y: _Cuts,
        x: _Cuts,
        blend: int,
    ) -> HaloIndex:
        """From numbered faces, shape (tile, y, x) with their surroundings, to pieces."""
        own = np.broadcast_to(own, number.shape)
        indices, weights = [], []
        for face, counts in zip(number, own, strict=True):
            for i, rows in enumerate(y.windows):
                for j, columns in enumerate(x.windows):
                    indices.append(face[rows, columns])
                    weight = y.weight(i, blend)[:, None] * x.weight(j, blend)
                    weights.append(weight * counts[rows, columns])
        place, weight = _contributions(np.stack(indices), np.stack(weights), shape[0] * shape[1])
        return cls(
            shape=shape,
            index=torch.from_numpy(np.stack(indices)),
            place=torch.from_numpy(place),
            weight=torch.from_numpy(weight),
            whole_x=len(x.windows) == 1 and x.ends == (0, 0),
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
            self.whole_x,
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
    def of(cls, size: int, *, ends: tuple[int, int], tile: int, halo: int, multiple: int) -> _Cuts:
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
