"""How a product is made: from which source, with which model, and which partitions it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stvd.estimate import Estimate
from stvd.lattice import TimeAxis, WindowLattice, WindowRule
from stvd.partition import Mode, Partition, Planned, plan
from stvd.product import (
    LedgerEntry,
    Product,
    ProductMismatch,
    ProductNotFound,
    ProductSpec,
    StorageOptions,
)
from stvd.product.spec import differences
from stvd.quality import QualityPolicy
from stvd.sampling import Solver
from stvd.source import Source

MONTH_SECONDS = 30 * 86_400


class Production(BaseModel):
    """How one product is made.

    Parameters
    ----------
    product : URI of the product, a folder or `s3://bucket/prefix`
    source : the coarse record
    checkpoint : folder of the model
    model_version : `models:/name/version` where the model comes from a registry
    members : of the ensemble
    seed : of the noise
    solver, steps, inflation, noise_correlation, conserve : how a sample is drawn
        (`stvd.sampling.SamplerConfig`)
    windows : `overlapping` or `independent` (`stvd.lattice.WindowLattice`); None takes what the product
        has, `overlapping` for a new one
    cell_frames : frames of a partition; None takes about a month. A product keeps its own
    open_end : sample the last cell of a record also where the input after it is not there, with which
        its last windows would overlap; else it waits
    keepbits : mantissa bits kept when storing; None keeps all
    device : `auto`, `cpu`, `cuda` or `mps`
    quality : which faults of the input stop a partition
    storage : how to reach an object store; never credentials
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    source: Source
    checkpoint: str
    model_version: str | None = None
    members: int = Field(4, ge=1, le=1000)
    seed: int = Field(0, ge=0)
    solver: Solver = "dpmpp2m"
    steps: int = Field(8, ge=1, le=1000)
    inflation: float = Field(1.02, ge=1, le=1.1)
    noise_correlation: float | None = Field(None, ge=0, lt=1)
    conserve: bool = True
    windows: WindowRule | None = None
    cell_frames: int | None = Field(None, ge=1)
    open_end: bool = True
    keepbits: int | None = Field(None, ge=1, le=23)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    quality: QualityPolicy = QualityPolicy()
    storage: StorageOptions = StorageOptions()

    @property
    def name(self) -> str:
        """Name of the product."""
        return self.product.rstrip("/").rsplit("/", 1)[-1]

    @property
    def axis(self) -> TimeAxis:
        return self.source.axis

    def open(self) -> Product | None:
        """The product, or None if there is none yet."""
        try:
            return Product.open(self.product, storage=self.storage)
        except ProductNotFound:
            return None

    @cached_property
    def spec(self) -> ProductSpec:
        """What the product promises: cells as it began with, the rest as said here."""
        product = self.open()
        stands = product.spec if product else None
        lattice = WindowLattice(
            length=stands.window if stands else self.window(),
            rule=self.windows or (stands.windows if stands else "overlapping"),
        )
        return ProductSpec(
            name=self.name,
            source=self.source.name,
            members=self.members,
            axis=self.axis,
            window=lattice.length,
            windows=lattice.rule,
            cell_frames=stands.cell_frames if stands else self._cell(lattice),
            factor=self.source.info.factor,
            keepbits=self.keepbits,
            licence=self.source.info.licence,
        )

    def plan(
        self,
        *,
        start: str | None = None,
        end: str | None = None,
        mode: Mode = "missing",
        fingerprint_of: Callable[[Partition], str] | None = None,
        changed: Callable[[LedgerEntry], str] | None = None,
        recheck: int | None = None,
    ) -> list[Planned]:
        """What to do to have the frames between two dates published (`stvd.partition.plan`).

        Parameters
        ----------
        recheck : ask `fingerprint_of` of so many published partitions only, the last ones in time:
            to tell one, its input is read; None asks of all

        Raises
        ------
        ProductMismatch
            If the product stands with another declaration.
        """
        self.require_same()
        ledger = self.ledger()
        if fingerprint_of is not None and recheck is not None:
            fingerprint_of = _of_the_last(recheck, ledger, fingerprint_of)
        return plan(
            self.axis,
            self.source.info.frames,
            self.source.requested(start, end),
            source=self.source.name,
            cell_frames=self.spec.cell_frames,
            members=range(self.members),
            reads=None if self.open_end else self._needed,
            ledger=ledger,
            fingerprint_of=fingerprint_of,
            changed=changed,
            mode=mode,
        )

    def require_same(self) -> None:
        """Raise `ProductMismatch` if the product stands and is declared otherwise than here."""
        product = self.open()
        if product and (found := differences(product.spec, self.spec)):
            raise ProductMismatch(self.product, found)

    def ledger(self) -> dict[str, LedgerEntry]:
        """What is published, by partition id."""
        product = self.open()
        return product.ledger() if product else {}

    def estimate(self, planned: Iterable[Planned]) -> Estimate:
        """What a plan will cost, by what the product has cost so far."""
        return Estimate.of(planned, self.ledger().values())

    def prepare(self, planned: Iterable[Planned]) -> None:
        """Make the product, if there is none, and its time axis long enough for a plan.

        Done once before partitions run side by side, it spares them a race.

        Raises
        ------
        ProductMismatch
            If another product is there.
        Busy
            If another writer was faster; again, then.
        """
        frames = [item.partition.frames for item in planned if item.runs]
        if frames:
            product = Product.create_or_open(
                self.product, self.spec, self.source.grid(), storage=self.storage
            )
            product.reserve(range(min(f.start for f in frames), max(f.stop for f in frames)))

    def reads(self, partition: Partition) -> range:
        """The frames of input that decide the numbers of a partition, as far as there are any."""
        own, record = partition.frames, self.source.info.frames
        needed = self._needed(own)
        return range(
            min(own.start, max(needed.start, record.start)),
            max(own.stop, min(needed.stop, record.stop)),
        )

    def _needed(self, frames: range) -> range:
        return self.spec.lattice.reads(frames, self.steps)

    def open_ended(self, partition: Partition) -> bool:
        """Whether the record ends before the input with which the windows of a partition overlap."""
        needed = self._needed(partition.frames)
        return needed.stop > self.source.info.frames.stop

    def window(self) -> int:
        """Frames that the model samples jointly."""
        # torch takes seconds to import, and a product that stands does without
        from stvd.checkpoint import Card

        return Card.read(self.checkpoint).model.window

    def _cell(self, lattice: WindowLattice) -> int:
        """Frames of a partition: what is asked for, or whole windows of about a month."""
        if self.cell_frames and lattice.overlap:
            return self.cell_frames
        wanted = self.cell_frames or MONTH_SECONDS / self.axis.step_seconds
        return max(1, round(wanted / lattice.cycle)) * lattice.cycle


def _of_the_last(
    count: int, ledger: Mapping[str, LedgerEntry], fingerprint_of: Callable[[Partition], str]
) -> Callable[[Partition], str]:
    """`fingerprint_of` for the last partitions of a ledger, what it says itself for the others."""
    last = {*list(ledger)[-count:]} if count else set()
    return lambda p: fingerprint_of(p) if p.id in last else ledger[p.id].fingerprint


def checkpoint_for(source: Source, folder: Path) -> Path:
    """Of the checkpoints in `folder`, the one that fits a source and uses most of its variables.

    Raises
    ------
    ValueError
        If none fits; the message says why not, one by one.
    """
    info, statics = source.info, {str(name) for name in source.grid().data_vars}
    fitting: dict[Path, int] = {}
    reasons = []
    for file in sorted(folder.glob("*/checkpoint.json")):
        card = json.loads(file.read_text())
        channels, contract = card["channels"], card["grid"]
        missing = {*channels["predictors"]} - {*info.variables}
        missing |= {*channels["statics"]} - statics
        low, high = contract["step_seconds"]
        if missing:
            reasons.append(f"{file.parent.name} needs {', '.join(sorted(missing))}")
        elif not low <= source.axis.step_seconds <= high or contract["factor"] != info.factor:
            reasons.append(
                f"{file.parent.name} is for frames of {low} to {high} s at factor "
                f"{contract['factor']}, not {source.axis.step_seconds} s at factor {info.factor}"
            )
        else:
            fitting[file.parent] = len(channels["predictors"]) + len(channels["statics"])
    if not fitting:
        why = "; ".join(reasons) or f"{folder} holds none"
        raise ValueError(
            f"no checkpoint fits {source.name}: {why}. Train one with `stvd train`, or name one "
            "that you know to serve"
        )
    return max(fitting, key=lambda path: fitting[path])
