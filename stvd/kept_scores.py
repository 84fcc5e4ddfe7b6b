"""What the scores need of a product, kept cell by cell, so that a new month is scored in a month's time.

The sums (`stvd.statistics`) of every cell of its lattice of partitions lie in a file of their own, for each
system, season, region and number of members. It is named by what was published there and by the values of input
and truth: where these are others, it is another file. A step into a cell is counted with the cell, from the last
frame of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from stvd.diagnostics.skill import Contest, Progress
from stvd.fingerprint import digest_dataset
from stvd.kept_files import cell_range, digest_of, published_in, write_whole
from stvd.product import LedgerEntry, ProductSpec
from stvd.spectrum_box import Box, Scored, count_scored
from stvd.statistics import Statistics, block_unit, merged

VERSION = 1
"""Changes when the same values would be counted to other sums."""


class _Cell(NamedTuple):
    """Frames of a contest that lie in a cell.

    number : of the cell
    start, stop : their places along time
    preceded : whether the frame before them is there
    """

    number: int
    start: int
    stop: int
    preceded: bool


@dataclass(frozen=True)
class KeptScores:
    """The folder of the sums of a product.

    Parameters
    ----------
    folder : where they are kept
    cell_frames : frames of a cell
    identity : of each cell, what identifies the values of product, input and truth
    used : files that were written or read
    """

    folder: Path
    cell_frames: int
    identity: Mapping[int, str]
    used: set[Path] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        folder: Path,
        spec: ProductSpec,
        ledger: Iterable[LedgerEntry],
        inputs: Mapping[int, object],
    ) -> KeptScores:
        """Of a product and, by cell, what identifies its input and truth."""
        entries = list(ledger)
        identity = {
            cell: digest_of([published_in(cell_range(cell, spec), entries), made_of])
            for cell, made_of in inputs.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, spec.cell_frames, identity)

    def gather(self, contest: Contest, progress: Progress | None = None) -> Statistics:
        """The sums of a contest, those of cells that are new counted now.

        They are counted in blocks of a day, or of half an hour, that make up those of the contest. A
        record of less than five of these is counted anew as it grows.
        """
        unit = block_unit(contest.axis.step_seconds)
        wanted = contest.config.block_frames
        block_frames = wanted if wanted % unit else unit
        config = contest.config.model_copy(update={"block_frames": block_frames})
        area = digest_dataset(contest.area.to_dataset(name="area"))
        about = [contest.system, contest.pr.sizes["member"], config.model_dump(), area]
        parts = []
        for cell, frames in self._cells(contest):
            before = self._before(frames) if cell.preceded else None
            file = self._file(contest, cell, [*about, frames, before])
            if not file.exists():
                part = contest.at(slice(cell.start - cell.preceded, cell.stop))
                counted = replace(part, config=config).count(preceded=cell.preceded)
                write_whole(counted.to_dataset(), file)
            kept = xr.load_dataset(file, engine="netcdf4")
            parts.append(Statistics.from_dataset(kept).coarsened(wanted))
            if progress is not None:
                progress(cell.stop, contest.pr.sizes["time"])
        return merged(parts)

    def box(self, contest: Contest) -> Box | None:
        """The cells whose spectrum is taken, by how often each is scored."""
        if contest.truth is None and contest.coarse is None:
            return None
        parts = []
        for cell, frames in self._cells(contest):
            file = self._file(contest, cell, ["scored", frames])
            if not file.exists():
                part = contest.at(slice(cell.start, cell.stop))
                write_whole(count_scored(part.pr, part.truth, part.coarse).to_dataset(), file)
            parts.append(Scored.from_dataset(xr.load_dataset(file, engine="netcdf4")))
        return reduce(add, parts).box()

    def clear(self) -> None:
        """Remove what was not used."""
        for other in set(self.folder.glob("scores_*.nc")) - self.used:
            other.unlink()

    def _cells(self, contest: Contest) -> Iterator[tuple[_Cell, list[int]]]:
        """The cells of a contest, and the absolute frames of each."""
        frames = contest.axis.locate(contest.pr["time"])
        cells = frames // self.cell_frames
        starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), cells.size], strict=True):
            preceded = bool(start and frames[start - 1] == frames[start] - 1)
            yield _Cell(int(cells[start]), start, stop, preceded), frames[start:stop].tolist()

    def _before(self, frames: list[int]) -> str:
        return self.identity[(frames[0] - 1) // self.cell_frames]

    def _file(self, contest: Contest, cell: _Cell, about: list[object]) -> Path:
        cells = contest.cells
        where = None if cells is None else digest_of(np.packbits(cells.values).tolist())
        made_of = [VERSION, self.identity[cell.number], where, *about]
        file = self.folder / f"scores_{cell.number:06d}_{digest_of(made_of)}.nc"
        self.used.add(file)
        return file
