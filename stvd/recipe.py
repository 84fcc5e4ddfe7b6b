"""A training recipe: which records, channels, size and settings make a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stvd.baselines.quantile_mapping import fit_quantile_mapping
from stvd.baselines.unet import RegressionConfig, UNetBaseline, require_deterministic, train_unet
from stvd.catalog import describe, open_source
from stvd.channel_scales import fit_channels
from stvd.checkpoint import Checkpoint, CheckpointError, write_atomically
from stvd.conditioning import Channels
from stvd.distillation import Distillation
from stvd.event import Event
from stvd.model import ModelConfig, preset
from stvd.optimisation import Progress
from stvd.sampling import SolverChoice
from stvd.training import train
from stvd.training_config import TrainingConfig
from stvd.transforms import RainTransform

START = "start"
"""Folder of the checkpoint that a recipe starts from, in that of its own."""
MADE_OF = "made_of.sha256"
"""File beside a checkpoint that is done: digest of its recipe, its data and what it started from."""


class Recipe(BaseModel):
    """All that a training needs beside the data, as in `recipes/*.yaml`.

    Parameters
    ----------
    name : of the checkpoint
    description : what the checkpoint is for, in a sentence
    sources : coarse sources of the catalog that have truth, or files; one event each
    validation : sources with truth that are held out; the sample figures of a training show the first
    predictors : coarse variables beside `pr`
    statics : fixed fine fields: `orog`, `land_fraction`, and `areacella`, which tells a model that serves
        several grid spacings which one it is on
    mask : tell the model where coarse rain is missing (`stvd.conditioning.Channels`)
    roughness : tell the model how rough coarse rain is (`stvd.structure`)
    texture : tell the model how rough fine rain is to be (`stvd.conditioning.Channels`)
    transform : of rain; its scale and knots are fitted. `linear_from` is of the checkpoint alone: it is chosen on
        held-out rain when the training is done, which is without it
    objective : `stvd`, or `unet` for the deterministic UNet of equal size that it is compared with
    preset : size of the model; an ablation refuses other inputs or another window than its own
    window : frames sampled jointly
    temporal_levels : where frames attend to one another, in place of the preset's own (`preset`)
    norm : of the networks, in place of the preset's own (`preset`)
    noise_correlation : of the noise of neighbouring frames (`stvd.model.ModelConfig`)
    start : checkpoint to go on from (fine-tuning), of the same architecture and inputs, whose scales are kept:
        its folder; or the recipe of one, in YAML its file beside this one, which is trained first, into
        `start` below the folder of this one
    sampler : that the checkpoint is sampled with where none is asked for
    distil : make a student of `start` that is sampled with fewer calls (`stvd.distillation`), in place of going
        on with it; says the sampler itself
    training : of the loop
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    description: str = ""
    sources: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    predictors: tuple[str, ...] = ()
    statics: tuple[Literal["orog", "land_fraction", "areacella"], ...] = ()
    mask: bool = False
    roughness: bool = False
    texture: bool = False
    transform: RainTransform = RainTransform()
    objective: Literal["stvd", "unet"] = "stvd"
    preset: Literal["tiny", "small", "paper", "stvd-single", "stvd-3", "stvd-1"] = "small"
    window: int = Field(5, ge=1)
    temporal_levels: tuple[int, ...] | None = None
    norm: Literal["group", "channel"] | None = None
    noise_correlation: float = Field(0.0, ge=0, lt=1)
    start: Recipe | str | None = None
    sampler: SolverChoice = SolverChoice()
    distil: Distillation | None = None
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _holds_together(self) -> Recipe:
        if both := self._learnt & {*self.validation}:
            raise ValueError(f"{', '.join(sorted(both))} cannot be trained on and held out")
        if self.texture and not self.roughness:
            raise ValueError("texture needs roughness: true")
        flags = self.mask + self.roughness + self.texture
        inputs = 1 + len(self.predictors) + flags + len(self.statics)
        self.model(inputs)
        if self.start and "unet" in (self.objective, getattr(self.start, "objective", "")):
            raise ValueError("no deterministic UNet goes on from another training: leave start out")
        if self.distil is not None:
            if self.start is None or self.objective == "unet":
                raise ValueError("only a checkpoint of STVD can be distilled: name it as start")
            if "sampler" in self.model_fields_set:
                raise ValueError("a student is sampled with its own calls: leave sampler out")
            self.distil.require(self.training)
        if self.objective == "unet":
            if self.norm or self.temporal_levels:
                raise ValueError(
                    "a deterministic UNet has no norm or temporal_levels: leave them out"
                )
            if self.transform.linear_from is not None:
                raise ValueError(
                    "a deterministic UNet has no far tail to mend: leave linear_from out"
                )
            RegressionConfig.equal_to(self.preset, inputs, self.window)
            require_deterministic(self.training)
        return self

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a recipe from YAML, with the one it starts from; unknown keys are refused."""
        content = yaml.safe_load(Path(path).read_text())
        start = content.get("start") if isinstance(content, dict) else None
        if isinstance(start, str) and Path(start).suffix == ".yaml":
            content["start"] = cls.read(Path(path).parent / start)
        return cls.model_validate(content)

    @property
    def _learnt(self) -> set[str]:
        """Sources of this recipe and of the one that it starts from."""
        before = self.start._learnt if isinstance(self.start, Recipe) else set()
        return {*self.sources} | before

    def shortened(self, steps: int) -> Recipe:
        """A trial of so many optimiser steps, and so many of the recipe that it starts from."""
        warmup = min(self.training.warmup, steps // 10)
        training = self.training.model_copy(update={"steps": steps, "warmup": warmup})
        start = self.start.shortened(steps) if isinstance(self.start, Recipe) else self.start
        return self.model_copy(update={"training": training, "start": start})

    def model(self, inputs: int) -> ModelConfig:
        """The architecture of the STVD, for so many channels of x."""
        size = preset(
            self.preset,
            inputs,
            self.window,
            temporal_levels=self.temporal_levels,
            norm=self.norm,
        )
        return size.model_copy(update={"noise_correlation": self.noise_correlation})

    @property
    def variables(self) -> tuple[str, ...]:
        return ("pr", *self.predictors)


def load_event(
    source: str, recipe: Recipe, *, catalog: str | Path, root: str | None = None
) -> Event:
    """Read a source, its truth and its grid into memory; a file is a catalog of its own record.

    Raises
    ------
    ValueError
        If the source has no truth or no fine grid.
    """
    if name := _file_name(source):
        source, catalog, root = name, source, None
    info = describe(source, catalog=catalog, root=root)
    if info.truth is None or info.grid is None:
        raise ValueError(
            f"{source} cannot be trained on: its catalog entry names no truth or no fine grid"
        )
    coarse, truth, grid = (
        open_source(name, catalog=catalog, root=root) for name in (source, info.truth, info.grid)
    )
    return Event.load(coarse, truth, grid, recipe.variables, recipe.statics)


def _file_name(source: str) -> str | None:
    """The name of a source that is a file, None of one that is in a catalog."""
    return Path(source).stem if Path(source).suffix in (".nc", ".zarr") else None


def fit(recipe: Recipe, events: list[Event], factor: int) -> Channels:
    """Scale the channels of a recipe by the statistics of its events."""
    return fit_channels(
        recipe.training.crops(
            events, recipe.window, factor, roughness=recipe.roughness, texture=recipe.texture
        ),
        recipe.predictors,
        recipe.statics,
        seed=recipe.training.seed,
        rain=recipe.transform.model_copy(update={"linear_from": None}),
        mask=recipe.mask,
    )


def train_recipe(
    recipe: Recipe,
    out: str | Path,
    *,
    catalog: str | Path,
    root: str | None = None,
    device: str = "cpu",
    on_log: Callable[[Progress], None] | None = None,
) -> Checkpoint | UNetBaseline:
    """Load the data of a recipe, train (or go on training) and write the checkpoint to `out`.

    Beside the weights of an STVD lies the table of the quantile mapping that its scores are compared
    with, fitted on the same events. What it starts from is trained first, where that is a recipe.
    """
    folder = recipe.start
    if isinstance(folder, Recipe):
        before, folder = folder, str(Path(out) / START)
        train_recipe(before, folder, catalog=catalog, root=root, device=device, on_log=on_log)
    start = Checkpoint.load(folder) if folder else None
    held_out = {_file_name(source) or source for source in recipe.validation}
    if start and (seen := held_out & {*start.card.training["events"]}):
        raise ValueError(
            f"{', '.join(sorted(seen))} cannot be held out: {folder} was trained on it. Hold out another "
            "record, or start from another checkpoint"
        )
    events = [load_event(s, recipe, catalog=catalog, root=root) for s in recipe.sources]
    trained = train_on(recipe, events, out, start=start, device=device, on_log=on_log)
    if isinstance(trained, Checkpoint):
        fit_quantile_mapping(events).write(out)
    return trained


def train_on(
    recipe: Recipe,
    events: list[Event],
    out: str | Path,
    *,
    start: Checkpoint | None = None,
    device: str = "cpu",
    on_log: Callable[[Progress], None] | None = None,
) -> Checkpoint | UNetBaseline:
    """Train what a recipe describes on events that are loaded, from the checkpoint `start` on.

    What lies in `out` already, made of the same, is not made again.

    Raises
    ------
    ValueError
        If the recipe goes on from a checkpoint that is not given, or the sources differ in factor.
    """
    if recipe.start is not None and start is None:
        raise ValueError(
            f"recipe {recipe.name} goes on from a checkpoint (start), and none is given: load it, or call train_recipe"
        )
    factors = {e.truth.shape[-1] // e.coarse.shape[-1] for e in events}
    if len(factors) > 1:
        raise ValueError(
            f"the sources have different factors {sorted(factors)}: train one model each"
        )
    made_of = _made_of(recipe, events, start)
    if finished := _finished(recipe, Path(out), made_of):
        return finished
    channels = fit(recipe, events, factors.pop())
    if start is not None:
        channels = start.channels.gone_on(channels)
    trained: Checkpoint | UNetBaseline
    if recipe.objective == "unet":
        trained = train_unet(
            recipe.name,
            RegressionConfig.equal_to(recipe.preset, channels.channels, recipe.window),
            channels,
            events,
            recipe.training,
            out,
            device=device,
            on_log=on_log,
        )
    else:
        trained = train(
            recipe.name,
            recipe.model(channels.channels),
            channels,
            events,
            recipe.training,
            out,
            start=start,
            sampler=recipe.sampler,
            distil=recipe.distil,
            device=device,
            on_log=on_log,
        )
        if recipe.transform.linear_from is not None:
            trained = trained.ending_in_a_line(recipe.transform.linear_from, out)
    write_atomically((Path(out) / MADE_OF).absolute(), f"{made_of}  {trained.digest}\n".encode())
    return trained


def _made_of(recipe: Recipe, events: list[Event], start: Checkpoint | None) -> str:
    """Digest of all that a training follows from."""
    data = []
    for event in events:
        arrays = [a for a in (event.coarse, event.truth, event.statics) if a is not None]
        data.append([event.name, *(hashlib.sha256(a.tobytes()).hexdigest() for a in arrays)])
    parts = [recipe.model_dump(mode="json"), start.digest if start else None, data]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _finished(recipe: Recipe, out: Path, made_of: str) -> Checkpoint | UNetBaseline | None:
    """The checkpoint in a folder, if it is there, whole and made of the same."""
    mark = out / MADE_OF
    if not mark.exists():
        return None
    load = UNetBaseline.load if recipe.objective == "unet" else Checkpoint.load
    try:
        there = load(out)
    except CheckpointError:
        return None
    return there if mark.read_text().split() == [made_of, there.digest] else None
