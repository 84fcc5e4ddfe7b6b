"""Which records a model is trained on and which are held out, by what they contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stvd.fingerprint import digest_dataset
from stvd.source import Source


class SplitRecord(BaseModel):
    """One record of a split.

    Parameters
    ----------
    source : name in the catalog, or the file
    digest : SHA-256 of the coarse fields that the model reads
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    role: Literal["training", "validation"]
    period: str
    frames: int
    step_seconds: int
    variables: tuple[str, ...]
    licence: str
    digest: str


def split(
    training: Sequence[Source], validation: Sequence[Source], variables: Sequence[str]
) -> list[SplitRecord]:
    """Describe the records of a split; their coarse fields are read once, in bounded memory.

    Parameters
    ----------
    variables : coarse variables of the model

    Raises
    ------
    ValueError
        If a record lacks a variable, or the same fields are trained on and held out.
    """
    records = [_describe(source, "training", variables) for source in training]
    records += [_describe(source, "validation", variables) for source in validation]
    trained = {r.digest: r.source for r in records if r.role == "training"}
    for record in records:
        if record.role == "validation" and record.digest in trained:
            raise ValueError(
                f"{record.source} is held out and holds the same fields as {trained[record.digest]}, "
                "which is trained on: name another record"
            )
    return records


def _describe(
    source: Source, role: Literal["training", "validation"], variables: Sequence[str]
) -> SplitRecord:
    info, axis = source.info, source.axis
    if missing := [v for v in variables if v not in info.variables]:
        raise ValueError(f"{source.name} has no {', '.join(missing)}, which the recipe asks for")
    fields = source.coarse(info.frames)[list(variables)]
    return SplitRecord(
        source=source.reference,
        role=role,
        period=str(axis.period(info.frames)),
        frames=len(info.frames),
        step_seconds=axis.step_seconds,
        variables=tuple(variables),
        licence=info.licence,
        digest=digest_dataset(fields),
    )
