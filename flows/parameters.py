"""The parameters that flows share, and what stands for one that was left out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.settings import Settings
from stvd.production import Production, checkpoint_for
from stvd.quality import QualityPolicy
from stvd.source import Source

Members = Annotated[int, Field(ge=1, le=1000)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Seed = Annotated[int, Field(ge=0)]
CellFrames = Annotated[int, Field(ge=1)]
Solver = Literal["dpmpp2m", "ddim"]
Windows = Literal["bridged", "independent"]
Date = Annotated[
    str,
    Field(
        pattern=r"^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2})?)?)?)?$",
        examples=["2001-02-03", "2001-02-03T06:00"],
    ),
]
"""A date on the calendar of the record, which may have a 30 February."""


def production(
    *,
    source: str,
    product: str | None,
    checkpoint: str | None,
    members: int,
    seed: int = 0,
    steps: int = 10,
    solver: Solver = "dpmpp2m",
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: int | None = None,
    open_end: bool = True,
    settings: Settings | None = None,
) -> Production:
    """What a flow's parameters and the settings of this process together mean."""
    settings = settings or Settings()
    record = find_source(source, settings)
    return Production(
        product=settings.product_uri(product or record.name),
        source=record,
        checkpoint=find_checkpoint(checkpoint, record, settings),
        members=members,
        seed=seed,
        solver=solver,
        steps=steps,
        conserve=conserve,
        windows=windows,
        cell_frames=cell_frames,
        open_end=open_end,
        device=settings.device,
        quality=QualityPolicy(**settings.quality),
        storage=settings.storage,
    )


def find_source(reference: str, settings: Settings) -> Source:
    """The source of a name or data file, in the catalogs of the settings."""
    return Source.find(reference, settings.catalog, settings.data_root)


def find_checkpoint(checkpoint: str | None, source: Source, settings: Settings) -> str:
    """The folder of a checkpoint by name or path; left out, the one that suits the source best."""
    if checkpoint is not None:
        return checkpoint if "/" in checkpoint else str(settings.checkpoints / checkpoint)
    return str(checkpoint_for(source, settings.checkpoints))
