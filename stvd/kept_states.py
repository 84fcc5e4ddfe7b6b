"""What has been counted of a product, kept cell by cell, so that a new month costs a month.

The states (`stvd.diagnostics.accumulate`) of every cell of its lattice of partitions lie in a file of
their own, named by what was published there: a cell that was replaced, or counted by another version of
the states, has another name. The folder is a cache: removed, it is counted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from stvd.diagnostics.accumulate_store import VERSION, partition_states
from stvd.diagnostics.percentiles import wet_day_percentiles
from stvd.fingerprint import digest_dataset
from stvd.kept_files import cell_range, digest_of, published_in, write_whole
from stvd.netcdf_lock import NETCDF
from stvd.product import LedgerEntry, ProductSpec


@dataclass(frozen=True)
class KeptStates:
    """States in files, in order of time; each is open only while it is looked at.

    The library of NetCDF holds what was read of a file until it is closed: open together, the files of a
    long record would stand in memory as a whole.
    """

    files: Sequence[Path]

    def __iter__(self) -> Iterator[xr.Dataset]:
        for file in self.files:
            with NETCDF:
                opened = xr.open_dataset(file, engine="netcdf4", decode_coords="all", lock=NETCDF)
            with opened:
                yield opened


def kept_states(
    published: xr.Dataset,
    spec: ProductSpec,
    ledger: Iterable[LedgerEntry],
    folder: Path,
    *,
    reference: xr.Dataset | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> KeptStates:
    """The states of what a product holds, those of cells that are new counted now.

    Parameters
    ----------
    published : Dataset with `pr`, as `stvd.product.open_product` gives it
    spec, ledger : of the product at the same snapshot
    folder : where states are kept; files of cells that stand no longer are removed
    reference : percentiles of wet days, as of `kept_percentiles`; others, and all is counted anew
    progress : called with (cells done, cells in all)

    Returns
    -------
    KeptStates, for `stvd.diagnostics.tables.tables_of_states`
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = spec.axis.locate(published["time"])
    cells = numbers // spec.cell_frames
    entries = list(ledger)
    present = np.unique(cells).tolist()
    by = None if reference is None else digest_dataset(reference)
    files = []
    for done, cell in enumerate(present):
        inside = np.flatnonzero(cells == cell)
        frames = numbers[inside]
        file = folder / f"{_name(cell, frames, entries, spec, by)}.nc"
        if not file.exists():
            pr = published["pr"].isel(time=slice(int(inside[0]), int(inside[-1]) + 1))
            write_whole(partition_states(pr, spec.axis, reference=reference), file)
        files.append(file)
        if progress:
            progress(done + 1, len(present))
    for other in set(folder.glob("[0-9]*.nc")) - set(files):
        other.unlink()
    return KeptStates(files)


def kept_percentiles(
    published: xr.Dataset,
    spec: ProductSpec,
    ledger: Iterable[LedgerEntry],
    folder: Path,
    *,
    first: int,
    last: int,
) -> xr.Dataset:
    """The 95th and 99th percentile of wet days of some years of a product, computed once.

    Parameters
    ----------
    published, spec, ledger : of that product, as in `kept_states`
    folder : where they are kept
    first, last : years, both included

    Raises
    ------
    ValueError
        If nothing is published of these years.
    """
    years = published["time"].dt.year.values
    places = np.flatnonzero((years >= first) & (years <= last))
    if not places.size:
        raise ValueError(
            f"nothing is published of the reference period {first}-{last}: {spec.name} has the years "
            f"{years.min()}-{years.max()}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    part = published.isel(time=slice(int(places[0]), int(places[-1]) + 1))
    frames = spec.axis.locate(part["time"])
    made_of = [
        VERSION, spec.name, frames.tolist(),
        sorted([e.partition, e.fingerprint, e.content] for e in ledger
               if e.frames.start <= frames[-1] and e.frames.stop > frames[0]),
    ]  # fmt: skip
    file = folder / f"percentiles_{digest_of(made_of)}.nc"
    if not file.exists():
        write_whole(wet_day_percentiles(part["pr"], spec.axis), file)
    for other in set(folder.glob("percentiles_*.nc")) - {file}:
        other.unlink()
    return xr.load_dataset(file, engine="netcdf4", decode_coords="all")


def _name(
    cell: int, frames: np.ndarray, entries: list[LedgerEntry], spec: ProductSpec, by: str | None
) -> str:
    here = cell_range(cell, spec)
    made_of = [
        VERSION,
        frames.tolist(),
        published_in(here, entries),
        *([] if by is None else [by]),
    ]
    return f"{here.start:08d}-{here.stop:08d}_{digest_of(made_of)}"
