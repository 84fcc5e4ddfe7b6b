"""The samples of one partition, on local disk until all of them are there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stvd.product.checksums import frame_checksums
from stvd.product.errors import ProductError
from stvd.product.target import Shard, Target


class Scratch:
    """A file that holds the samples of a partition block by block, and vanishes with its process.

    Windows arrive with all cells of a few frames; shards are written with all frames of a few
    cells. In between, memory holds neither: one window comes in, one shard goes out.

    Parameters
    ----------
    folder : where the file is; None: the system's folder for temporary files. It needs
        members × frames × cells × 4 bytes

    Raises
    ------
    ProductError
        If the disk has no room for it.
    """

    def __init__(self, target: Target, folder: Path | None) -> None:
        self._blocks = target.blocks
        partition = target.partition
        self.seen = np.zeros((len(partition.members), len(partition.frames)), bool)
        self.checksums = np.zeros((self.seen.shape[0], len(self._blocks), self.seen.shape[1]), "u4")
        self._frame_bytes = [
            4 * rows * columns for rows, columns in (b.shape for b in self._blocks)
        ]
        self._starts = self.seen.shape[1] * np.cumsum([0, *self._frame_bytes])
        self.nbytes = len(self.seen) * int(self._starts[-1])
        _assert_room(folder or Path(tempfile.gettempdir()), self.nbytes)
        self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, closed by close()

    def write(self, i: int, at: slice, pr: np.ndarray) -> None:
        """Keep frames `at` of member `i`, counted within the partition.

        `pr` has shape (time, [tile,] y, x) and type float32.
        """
        for j, block in enumerate(self._blocks):
            values = np.ascontiguousarray(pr[block.select(slice(None), slice(None))[1:]])
            self._file.seek(self._offset(i, j, at.start))
            self._file.write(values.data)
            self.checksums[i, j, at] = frame_checksums(values)
        self._file.flush()
        self.seen[i, at] = True

    def read(self, shard: Shard) -> np.ndarray:
        """The samples of one shard, shape (time, y, x)."""
        frames = shard.at.stop - shard.at.start
        values = np.empty((frames, *self._blocks[shard.j].shape), np.float32)
        offset = self._offset(shard.i, shard.j, shard.at.start)
        if os.preadv(self._file.fileno(), [values.data.cast("B")], offset) != values.nbytes:
            raise OSError("a scratch file of samples is shorter than what was written to it")
        return values

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def close(self) -> None:
        self._file.close()

    def _offset(self, i: int, j: int, k: int) -> int:
        return int(i * self._starts[-1] + self._starts[j] + k * self._frame_bytes[j])


def _assert_room(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ProductError(
            f"The partition needs {need / 2**30:.1f} GiB of scratch space in {folder}, "
            f"{free / 2**30:.1f} GiB are free. Name another scratch folder or take fewer members "
            "at a time."
        )
