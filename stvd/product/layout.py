"""How a product is cut into chunks inside shards, and its shards into what is written at once."""

from __future__ import annotations

from itertools import product as combinations
from math import ceil, log
from typing import NamedTuple

CHUNK_FRAMES = 240
SHARD_FRAMES = 720
CHUNK_VALUES = 240 * 24 * 24
"""Values in a chunk: a point's series and a map then both read in about 20 ms."""
CHUNK_CELLS = (24, 96)
CHUNKS_ACROSS_SHARD = 4

Shape3 = tuple[int, int, int]


class Block(NamedTuple):
    """The cells of one shard: a tile (None on a grid without tiles), rows and columns."""

    tile: int | None
    y: slice
    x: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.stop - self.y.start, self.x.stop - self.x.start

    def select(self, member: int | slice, frames: slice) -> tuple[int | slice, ...]:
        """Index of this block into an array (member, time, [tile,] y, x)."""
        tile = () if self.tile is None else (self.tile,)
        return (member, frames, *tile, self.y, self.x)


def default_layout(cell_frames: int, rows: int, columns: int) -> tuple[Shape3, Shape3]:
    """Chunks and shards (time, y, x) for a grid and a cell of time.

    A cell is a whole number of shards, a shard a whole number of chunks. A chunk holds about
    `CHUNK_VALUES` values, shorter ones in time being wider in space.
    """
    shard_frames = _divisor_near(cell_frames, SHARD_FRAMES)
    chunk_frames = _divisor_near(shard_frames, CHUNK_FRAMES)
    narrowest, widest = CHUNK_CELLS
    side = round((CHUNK_VALUES / chunk_frames) ** 0.5 / 8) * 8
    side = min(max(side, narrowest), widest)
    chunk_y, chunk_x = min(side, rows), min(side, columns)
    shard_y = chunk_y * min(CHUNKS_ACROSS_SHARD, ceil(rows / chunk_y))
    shard_x = chunk_x * min(CHUNKS_ACROSS_SHARD, ceil(columns / chunk_x))
    return (chunk_frames, chunk_y, chunk_x), (shard_frames, shard_y, shard_x)


def _divisor_near(number: int, target: int) -> int:
    """The divisor of `number` whose ratio to `target` is nearest to 1."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: abs(log(d / target)))


def blocks(tiles: int | None, rows: int, columns: int, shards: Shape3) -> list[Block]:
    """The blocks of a grid, one for each shard of a frame."""
    faces: list[int | None] = [None] if tiles is None else list(range(tiles))
    return [
        Block(tile, y, x)
        for tile, y, x in combinations(faces, _cut(rows, shards[1]), _cut(columns, shards[2]))
    ]


def _cut(length: int, step: int) -> list[slice]:
    return [slice(k, min(k + step, length)) for k in range(0, length, step)]
