"""From events to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stvd.checkpoint import Checkpoint, GridContract, count_parameters
from stvd.conditioning import Channels
from stvd.distillation import Distillation, Student
from stvd.engine import precision_on
from stvd.event import Event
from stvd.model import STVD, ModelConfig
from stvd.model.layers import set_recompute
from stvd.optimisation import Progress, optimise
from stvd.sampling import SolverChoice
from stvd.training_config import TrainingConfig


def train(
    name: str,
    model: ModelConfig,
    channels: Channels,
    events: list[Event],
    config: TrainingConfig,
    out: str | Path,
    *,
    start: Checkpoint | None = None,
    sampler: SolverChoice | None = None,
    distil: Distillation | None = None,
    device: str = "cpu",
    on_log: Callable[[Progress], None] | None = None,
    log_every: int = 50,
) -> Checkpoint:
    """Train μ and M end to end and publish the averaged weights as a checkpoint in `out`.

    Parameters
    ----------
    start : checkpoint of the same architecture whose weights are the first; None draws them
    sampler : that the checkpoint is to be sampled with where none is asked for
    distil : make M a student of `start`, which is sampled with fewer calls and in no other way

    Raises
    ------
    ValueError
        If `out` holds the state of another training, `start` has another architecture, or the crop does not
        fit model and factor.
    """
    torch.manual_seed(config.seed)
    network = model.build().to(device)
    if start is not None:
        if start.card.distilled:
            raise ValueError(
                f"{start.name} was distilled and knows no other noise levels than its own: start from the "
                "checkpoint that it was distilled from"
            )
        if start.card.model != model:
            raise ValueError(
                f"{start.name} cannot be gone on from: its architecture is not that of {name}. Take its "
                "preset, norm, window, inputs and noise_correlation, or train from the beginning"
            )
        network.load_state_dict(start.network.state_dict(), strict=True)
    set_recompute(network, config.recompute)
    trained: STVD | Student = network
    before = start.digest if start else None
    if distil is not None:
        if start is None:
            raise ValueError(f"{name} is to be a student: give its teacher (start)")
        distil.require(config)
        trained = Student(network, start.network.to(device), distil)
        before = f"{before} distilled {distil.model_dump_json()}"
    optimise(
        trained,
        model,
        channels,
        events,
        config,
        out,
        start=before,
        on_log=on_log,
        log_every=log_every,
    )
    parts = {
        "mean": count_parameters(network.mean),
        "denoiser": count_parameters(network.denoiser),
    }
    grid = grid_contract(events, channels.factor)
    record = training_record(events, config, parts, device)
    if start is not None:
        grid = grid.joined(start.card.grid)
        known = start.card.training
        record["events"] = list(dict.fromkeys([*known["events"], *record["events"]]))
        record["start"] = {"name": start.name, "digest": start.digest, "training": known}
    if distil is not None:
        record["distil"], sampler = distil.model_dump(), distil.sampler
    return Checkpoint.create(
        name, network, channels, grid, record, out, sampler, distilled=distil is not None
    )


def training_record(
    events: list[Event], config: TrainingConfig, parameters: dict[str, int], device: str
) -> dict[str, Any]:
    """How a checkpoint came to be, for its card."""
    return {
        "config": config.model_dump() | {"precision": precision_on(device, config.precision)},
        "events": [e.name for e in events],
        "parameters": parameters,
        "torch": torch.__version__.split("+")[0],
        "device": device,
        "threads": torch.get_num_threads(),
    }


def grid_contract(events: list[Event], factor: int) -> GridContract:
    """What the events have in common with the sources the model may serve."""
    steps = [e.step_seconds for e in events]
    spacings = [e.spacing_km for e in events]
    return GridContract(
        factor=factor,
        step_seconds=(min(steps), max(steps)),
        spacing_km=(min(spacings), max(spacings)),
    )
