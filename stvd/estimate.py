"""What a plan will cost, by what the partitions of a product have cost so far."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from pydantic import BaseModel, ConfigDict

from stvd.partition import Partition, Planned
from stvd.product import LedgerEntry

LEARNT_FROM = 100
"""Partitions that are looked at, the latest ones."""


class Rate(BaseModel):
    """What a frame of one member has cost, in the median of a product's latest partitions.

    Parameters
    ----------
    partitions : that it was learnt from
    device : on which they were sampled
    seconds : of the device
    nbytes : as stored
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int
    device: str
    seconds: float
    nbytes: float

    @classmethod
    def learnt(cls, ledger: Iterable[LedgerEntry]) -> Rate | None:
        """From partitions of the device that was used last; None where nothing is published."""
        latest = sorted(ledger, key=lambda entry: entry.written_at)
        if not latest:
            return None
        device = latest[-1].provenance.get("device")
        alike = [e for e in latest if e.provenance.get("device") == device][-LEARNT_FROM:]
        return cls(
            partitions=len(alike),
            device=str(device or "an unknown device"),
            seconds=median(e.seconds / _samples(e) for e in alike),
            nbytes=median(e.stored_bytes / _samples(e) for e in alike),
        )


class Estimate(BaseModel):
    """What a plan will cost.

    Parameters
    ----------
    partitions : to run
    rate : None where the product has no history; then nothing else is known
    seconds : of the device, by partition id
    nbytes : as stored, by partition id
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int
    rate: Rate | None
    seconds: dict[str, float] = {}
    nbytes: dict[str, float] = {}

    @classmethod
    def of(cls, planned: Iterable[Planned], ledger: Iterable[LedgerEntry]) -> Estimate:
        """The cost of those of a plan that run."""
        wanted = [item.partition for item in planned if item.runs]
        rate = Rate.learnt(ledger)
        if rate is None:
            return cls(partitions=len(wanted), rate=None)
        return cls(
            partitions=len(wanted),
            rate=rate,
            seconds={p.id: rate.seconds * _samples(p) for p in wanted},
            nbytes={p.id: rate.nbytes * _samples(p) for p in wanted},
        )

    @property
    def device_hours(self) -> float:
        return sum(self.seconds.values()) / 3600

    def finish(self, begin: datetime, at_once: int = 1) -> datetime:
        """When the last partition will be there, with `at_once` of them sampled side by side."""
        return begin + timedelta(hours=self.device_hours / at_once)

    def sentence(self, begin: datetime, at_once: int = 1) -> str:
        """The estimate in words."""
        if not self.partitions:
            return "nothing to run"
        if self.rate is None:
            return (
                f"{self.partitions} to run; the product holds nothing yet to learn their cost from"
            )
        side = f", {at_once} at once" if at_once > 1 else ""
        return (
            f"{self.partitions} to run: about {self.device_hours:.2g} device-hours on "
            f"{self.rate.device} and {size(sum(self.nbytes.values()))}, done about "
            f"{self.finish(begin, at_once):%Y-%m-%d %H:%M} UTC if begun now{side} "
            f"(learnt from {self.rate.partitions} partitions)"
        )


def size(nbytes: float) -> str:
    """A number of bytes for a reader, e.g. `1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"


def _samples(of: Partition | LedgerEntry) -> int:
    return len(of.frames) * len(of.members)
