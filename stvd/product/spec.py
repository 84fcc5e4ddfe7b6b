"""What a product is: everything that is fixed when it is created."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stvd.lattice import TimeAxis, WindowLattice, WindowRule
from stvd.partition import Partition
from stvd.product.layout import Shape3, default_layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ProductSpec(BaseModel):
    """The declaration of a product.

    Parameters
    ----------
    name : letters, digits, `.`, `_` and `-`
    source : name of the coarse record in its catalog
    members : size of the ensemble
    axis : time lattice of the source
    window : frames sampled together
    windows : whether windows overlap (`stvd.lattice.WindowLattice`)
    cell_frames : frames of a partition; of independent windows a whole number
    factor : fine cells along one side of a coarse cell
    first_frame : the earliest frame the product can hold, at the start of a cell
    keepbits : mantissa bits kept in stored values, 1 to 23; None keeps all
    chunks, shards : values along (time, y, x) read and written at once; None lets the grid and the
        cell decide
    title, institution, licence, references, comment : as in the CF conventions
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    members: int = Field(ge=1, le=1000)
    axis: TimeAxis
    window: int = Field(ge=1)
    windows: WindowRule = "independent"
    cell_frames: int = Field(ge=1)
    factor: int = Field(ge=1)
    first_frame: int = Field(default=0, ge=0)
    keepbits: int | None = Field(default=None, ge=1, le=23)
    chunks: Shape3 | None = None
    shards: Shape3 | None = None
    title: str = ""
    institution: str = ""
    licence: str = ""
    references: str = ""
    comment: str = ""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if NAME.fullmatch(name) is None:
            raise ValueError(f"the name {name!r} may hold letters, digits, '.', '_' and '-' only")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> ProductSpec:
        if self.axis.step_seconds % 2:
            raise ValueError(
                f"step_seconds {self.axis.step_seconds} is odd: the middle of a frame must be a "
                "whole second"
            )
        multiples = [("first_frame", "cell_frames")]
        if not self.lattice.overlap:
            multiples.append(("cell_frames", "window"))
        for name, unit in multiples:
            value, divisor = getattr(self, name), getattr(self, unit)
            if value % divisor:
                raise ValueError(f"{name} {value} is not a multiple of {unit} {divisor}")
        if (self.chunks is None) != (self.shards is None):
            raise ValueError("give both chunks and shards, or neither")
        if self.chunks is not None and self.shards is not None:
            if self.cell_frames % self.shards[0]:
                raise ValueError(
                    f"cell_frames {self.cell_frames} is not a whole number of shards of "
                    f"{self.shards[0]} frames"
                )
            if any(s % c or c < 1 for s, c in zip(self.shards, self.chunks, strict=True)):
                raise ValueError(
                    f"shards {self.shards} are not whole numbers of chunks {self.chunks}"
                )
        return self

    @property
    def lattice(self) -> WindowLattice:
        """Where windows lie in time."""
        return WindowLattice(length=self.window, rule=self.windows)

    def laid_out(self, rows: int, columns: int) -> ProductSpec:
        """This product with its chunks and shards decided."""
        if self.chunks is not None:
            return self
        chunks, shards = default_layout(self.cell_frames, rows, columns)
        return self.model_copy(update={"chunks": chunks, "shards": shards})

    def index(self, frames: range) -> range:
        """Where absolute frames are along the stored time axis."""
        return range(frames.start - self.first_frame, frames.stop - self.first_frame)

    def cell(self, partition: Partition) -> int:
        """Which cell of the stored time axis a partition fills.

        Raises
        ------
        ValueError
            If it is not a partition of this product: other source, no whole cell, other members.
        """
        frames, members = partition.frames, partition.members
        if partition.source != self.source:
            raise ValueError(
                f"partition {partition.id} is of source {partition.source!r}, "
                f"the product {self.name} of {self.source!r}"
            )
        if frames.start % self.cell_frames or len(frames) != self.cell_frames:
            raise ValueError(
                f"frames {frames.start}-{frames.stop} are not one cell of {self.cell_frames} "
                f"frames that starts at a multiple of {self.cell_frames}"
            )
        if frames.start < self.first_frame:
            raise ValueError(
                f"frames {frames.start}-{frames.stop} lie before frame {self.first_frame}, "
                f"the first that the product {self.name} can hold"
            )
        if members.stop > self.members:
            raise ValueError(
                f"members {members.start}-{members.stop} are not among the {self.members} "
                f"of the product {self.name}"
            )
        return (frames.start - self.first_frame) // self.cell_frames


def differences(stored: ProductSpec, asked: ProductSpec) -> dict[str, tuple[object, object]]:
    """Fields that differ, with both values; chunks and shards only where asked for."""
    here, there = _flat(stored.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    undecided = {"chunks", "shards"} if asked.chunks is None else set()
    return {
        name: (here[name], there[name])
        for name in here
        if name not in undecided and here[name] != there[name]
    }


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
