"""The parameters that flows share, and what stands for one that was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flows.settings import Settings
from stvd.allowlist import check_path
from stvd.checkpoint import Card
from stvd.production import Production, checkpoint_for
from stvd.quality import QualityPolicy
from stvd.sampling import SamplerConfig, Solver
from stvd.source import Source

Amount = Annotated[float, Field(gt=0)]
Years = Annotated[str, Field(pattern=r"^\d{4}-\d{4}$")]
Members = Annotated[int, Field(ge=1, le=1000)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Seed = Annotated[int, Field(ge=0)]
CellFrames = Annotated[int, Field(ge=1)]
Windows = Literal["overlapping", "independent"]
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
    steps: int | None = None,
    solver: Solver | None = None,
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: int | None = None,
    open_end: bool = True,
    settings: Settings | None = None,
) -> Production:
    """What a flow's parameters and the settings of this process together mean."""
    settings = settings or Settings()
    record = find_source(source, settings)
    folder, model_version = find_checkpoint(checkpoint, record, settings)
    card = Card.read(folder)
    sampler = SamplerConfig.of(card.sampler, solver=solver, steps=steps)
    card.require_sampler(sampler)
    return Production(
        product=settings.product_uri(product or record.name),
        source=record,
        checkpoint=str(folder),
        model_version=model_version,
        members=members,
        seed=seed,
        solver=sampler.solver,
        steps=sampler.steps,
        inflation=sampler.inflation,
        noise_correlation=sampler.noise_correlation,
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


def find_checkpoint(
    checkpoint: str | None, source: Source, settings: Settings
) -> tuple[Path, str | None]:
    """As `locate_checkpoint`; left out, the checkpoint that suits the source best."""
    if checkpoint is None:
        return checkpoint_for(source, settings.checkpoints), None
    return locate_checkpoint(checkpoint, settings)


def locate_checkpoint(checkpoint: str, settings: Settings) -> tuple[Path, str | None]:
    """The folder of a checkpoint, and the registered version that it is, if it is one.

    Parameters
    ----------
    checkpoint : a name among those of the project, a folder, or an address in the registry,
        `models:/NAME@ALIAS` or `models:/NAME/NUMBER`, which is fetched and compared with its digest
    """
    if checkpoint.startswith("models:/"):
        from tasks.registry import fetch, resolve  # MLflow takes seconds to import

        version = resolve(checkpoint)
        return fetch(version, settings.models), version.uri
    check_path(checkpoint, "checkpoint")
    named = settings.checkpoints / checkpoint
    if "/" in checkpoint or (not named.exists() and Path(checkpoint).exists()):
        return Path(checkpoint), None
    return named, None
