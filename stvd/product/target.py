"""Where one partition goes: the product, its declaration, and the shards to fill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from stvd.partition import Partition
from stvd.product.layout import Block, blocks
from stvd.product.spec import ProductSpec
from stvd.product.storage import Location


class Shard(NamedTuple):
    """One stored object of the precipitation.

    `i`, `j` and `at` are its member, block and frames counted within the partition; `key` is its
    index into the stored array.
    """

    i: int
    j: int
    at: slice
    key: tuple[int | slice, ...]
    place: tuple[int, ...]

    @property
    def name(self) -> str:
        """Key of the shard in the store, e.g. `pr/c/0/3/1/0`."""
        return "pr/c/" + "/".join(map(str, self.place))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A partition and the part of a product that it fills.

    Parameters
    ----------
    shape : ([tile,] y, x) of the grid
    """

    location: Location
    spec: ProductSpec
    partition: Partition
    shape: tuple[int, ...]

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks of cells that one shard each holds."""
        *tiles, rows, columns = self.shape
        return blocks(tiles[0] if tiles else None, rows, columns, self._shard)

    @property
    def cell(self) -> int:
        """Which cell of the stored time axis it is."""
        return self.spec.cell(self.partition)

    @property
    def index(self) -> slice:
        """The frames along the stored time axis."""
        stored = self.spec.index(self.partition.frames)
        return slice(stored.start, stored.stop)

    @property
    def members(self) -> slice:
        return slice(self.partition.members.start, self.partition.members.stop)

    @property
    def uri(self) -> str:
        return self.location.uri

    def shards(self) -> Iterator[Shard]:
        """Every shard of the partition, by member, block and time."""
        step, rows, columns = self._shard
        for i, member in enumerate(self.partition.members):
            for j, block in enumerate(self.blocks):
                tile = () if block.tile is None else (block.tile,)
                for first in range(self.index.start, self.index.stop, step):
                    at = first - self.index.start
                    yield Shard(
                        i,
                        j,
                        slice(at, at + step),
                        block.select(member, slice(first, first + step)),
                        (
                            member,
                            first // step,
                            *tile,
                            block.y.start // rows,
                            block.x.start // columns,
                        ),
                    )

    @property
    def _shard(self) -> tuple[int, int, int]:
        assert self.spec.shards is not None, "the layout of a stored product is decided"
        return self.spec.shards
