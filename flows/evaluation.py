"""What `stvd evaluate` does: find the record and the model, score, write, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.listing import comparison, scores
from flows.parameters import find_source, locate_checkpoint
from flows.settings import Settings
from stvd.checkpoint import Checkpoint
from stvd.diagnostics.evaluation_figures import figures as draw
from stvd.diagnostics.plots_calls import realism_distortion
from stvd.engine import Engine
from stvd.evaluation import evaluate, write
from stvd.event_file import EventFile, read_event, read_source
from stvd.sampling import SamplerConfig
from stvd.systems import require
from tasks.progress import reporting_each


def run(
    checkpoint: str,
    data: str,
    out: Path | None,
    *,
    members: int,
    seed: int,
    sampler: Mapping[str, Any],
    systems: Sequence[str],
    frames: str | None,
    region: str | None,
    figures: Path | None,
    calls: Sequence[int],
    texture: float | None,
    device: str | None,
    console: Console,
) -> None:
    """Score a checkpoint and baselines on a record; JSON to `out`, a table to the console."""
    settings = Settings()
    folder, _ = locate_checkpoint(checkpoint, settings)
    model = Checkpoint.load(folder)
    event = open_event(data, frames, region, settings)
    if texture is not None:
        event.coarse.attrs["texture"] = texture
    if "stvd" in systems:
        require(model, event)
    share, asked = float(event.valid.mean()), event.coarse.attrs.get("texture")
    told = "" if asked is None or model.channels.texture is None else f" ({asked:.2f} asked for)"
    console.print(
        f"Scoring {model.name} on {event.name}, {event.axis.period(event.frames)}: "
        f"{len(event.frames)} frames of {event.truth.sizes['y']} × {event.truth.sizes['x']} cells, "
        f"{share:.0%} of them with data, texture {event.texture:.2f}{told}"
    )
    how, curve = SamplerConfig.of(model.card.sampler, **sampler), {}
    fewer = {number: how.model_copy(update={"steps": number}) for number in calls}
    for choice in (how, *fewer.values()):
        model.card.require_sampler(choice)
    with reporting_each() as progress:
        shared: dict[str, Any] = {"members": members, "seed": seed, "progress": progress}
        shared["engine"] = Engine(device=device or settings.device)
        evaluation = evaluate(model, event, sampler=how, systems=systems, folder=folder, **shared)
        for number, choice in fewer.items():
            scored = evaluate(model, event, sampler=choice, systems=["stvd"], **shared)
            curve[number] = scored.table()["stvd"]
    document = evaluation.document(data if Path(data).exists() else None)
    curves = {str(how.solver): curve} if curve else {}
    if curves:
        document["curves"] = curves
    if out is not None:
        write(document, out)
    console.print(scores(document, intervals=console.width >= 150))
    if document["comparison"]:
        console.print(comparison(document))
    for note in evaluation.notes:
        console.print(f"Note: {note}", soft_wrap=True)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        drawn = draw(evaluation)
        if curves:
            drawn["realism_distortion"] = realism_distortion(curves, f"{model.name} · {event.name}")
        for name, figure in drawn.items():
            figure.savefig(figures / f"{name}.png")
            console.print(f"{name:<20}{figures / name}.png", soft_wrap=True)
    if out is not None:
        console.print(f"{'scores':<20}{out}", soft_wrap=True)


def open_event(data: str, frames: str | None, region: str | None, settings: Settings) -> EventFile:
    """A data file whole, or a source of the catalogs in its region."""
    if "/" in data or Path(data).suffix in (".nc", ".nc4", ".zarr"):
        return read_event(data, frames=frames, region=region)
    if region is not None:
        raise ValueError(
            f"the region of {data} is that of its catalog entry: give a file for another"
        )
    return read_source(find_source(data, settings), frames=frames)
