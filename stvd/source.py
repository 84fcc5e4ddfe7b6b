"""A coarse record with its fine grid and, where there is one, its truth, by name."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import xarray as xr
from pydantic import BaseModel, ConfigDict, ValidationError

from stvd.allowlist import check_path
from stvd.catalog import SourceInfo, describe, list_sources, open_source
from stvd.lattice import Period, TimeAxis


class Source(BaseModel):
    """A coarse record of a catalog.

    Parameters
    ----------
    name : entry of the catalog
    catalog : path or URL of the Intake catalog, or a data file
    data_root : replaces the catalog's own root of data
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    catalog: str
    data_root: str | None = None

    @classmethod
    def find(cls, reference: str, catalogs: Path, data_root: str | None = None) -> Source:
        """The source that is meant: a data file, or an entry of `catalogs` (a file or a folder).

        Raises
        ------
        ValueError
            If no catalog has it, and the message lists what there is; or a path holds '..'.
        """
        check_path(reference, "source")
        if "/" in reference or Path(reference).suffix in (".nc", ".zarr"):
            return cls(name=list_sources(reference)[0], catalog=reference, data_root=data_root)
        known: dict[str, list[str]] = {}
        for file in catalog_files(catalogs):
            known[str(file)] = list_sources(file)
            if reference in known[str(file)]:
                return cls(name=reference, catalog=str(file), data_root=data_root)
        listed = "; ".join(f"{catalog}: {', '.join(names)}" for catalog, names in known.items())
        raise ValueError(
            f"no catalog has a source {reference!r}. There are, in {listed or catalogs}"
        )

    @property
    def reference(self) -> str:
        """The source as a user names it: an entry of a catalog, or a data file."""
        return self.name if self.catalog.endswith((".yaml", ".yml")) else self.catalog

    @cached_property
    def info(self) -> SourceInfo:
        """The record as it is now; its coordinates are read once."""
        info = describe(self.name, catalog=self.catalog, root=self.data_root)
        if info.role != "coarse":
            raise ValueError(
                f"{self.name} holds {info.role} fields: name the coarse record it belongs to"
            )
        return info

    @property
    def axis(self) -> TimeAxis:
        assert self.info.axis is not None  # only a grid has none
        return self.info.axis

    def coarse(self, frames: range) -> xr.Dataset:
        """The input fields of `frames`, lazily."""
        return self._open(self.name, self.axis.period(frames))

    def grid(self) -> xr.Dataset:
        """The fine grid."""
        if self.info.grid is None:
            raise ValueError(
                f"{self.name} names no fine grid: add grid: to its entry in {self.catalog}"
            )
        return self._open(self.info.grid)

    def truth(self, frames: range) -> xr.Dataset | None:
        """The fine `pr` that really fell in `frames`, lazily, where there is any."""
        if self.info.truth is None:
            return None
        return self._open(self.info.truth, self.axis.period(frames))

    def requested(self, start: str | None, end: str | None) -> range | None:
        """The frames between two dates, each by default an end of the record; None for all."""
        if start is None and end is None:
            return None
        record = self.axis.period(self.info.frames)
        calendar = self.axis.calendar
        try:
            wanted = Period(start=start or record.start, end=end or record.end, calendar=calendar)
        except ValidationError as error:
            said = "; ".join(str(e["msg"]).removeprefix("Value error, ") for e in error.errors())
            raise ValueError(said) from None
        return self.axis.frames(wanted)

    def _open(self, name: str, period: Period | None = None) -> xr.Dataset:
        return open_source(name, period, catalog=self.catalog, root=self.data_root)


def catalog_files(catalogs: Path) -> list[Path]:
    """The catalogs in a folder, or the one that is named."""
    return sorted(catalogs.glob("*.yaml")) if catalogs.is_dir() else [catalogs]
