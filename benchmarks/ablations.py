"""Every switch on and off: small models trained alike but for one thing, scored on the same events.

    python benchmarks/ablations.py benchmarks/ablations.yaml
    python benchmarks/ablations.py benchmarks/ablations.yaml --variants base mask --seeds 0 --out table.md

The YAML file says what is trained, what each variant changes, and what it is scored on. Trained models
and scores lie in `runs/ablations/<name of the file>`; what is done is not done again, and a training that
was interrupted goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from held_out import CATALOG, HeldOut, Work, averaged, cell, markdown, ratios, table
from pydantic import BaseModel, ConfigDict, Field

from stvd.checkpoint import Checkpoint, write_atomically
from stvd.engine import Engine
from stvd.evaluation import write
from stvd.event import Event
from stvd.optimisation import Progress
from stvd.recipe import Recipe, load_event, train_on
from stvd.sampling import SamplerConfig
from stvd.statistics import Statistics

SHOWN = {"crps_fair": 1e-5, "mse_mean": 1e-8, "pe": 1e-3, "p99_999_ratio": 1.0, "emd": 1e-6, "sae": 1.0, "lsd": 1.0,
         "spread_skill": 1.0, "lag1_error": 1.0, "seam_ratio_relative": 1.0}  # fmt: skip

RANGES = ("crps_fair", "spread_skill", "p99_999_ratio")
"""Scores of which the range over the seeds is shown too."""


class Scored(BaseModel):
    """An event, or a part of it (`held_out.HeldOut`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str
    frames: str | None = None
    region: str | None = None


class Ablations(BaseModel):
    """What an ablation study does.

    Parameters
    ----------
    recipe : that every variant starts from, a path from the root of the project
    base : changes to it that all variants share, such as the preset and the steps
    variants : name to the changes that make it, nested as in the recipe; those under `sampler` are of
        `stvd.sampling.SamplerConfig` and train nothing. The first is what the others are compared with
    seeds : of trainings
    members : of the ensembles that are scored
    sampler : of all variants
    scored : the events
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    base: dict[str, Any] = {}
    variants: dict[str, dict[str, Any] | None] = Field(min_length=1)
    seeds: tuple[int, ...] = (0, 1, 2)
    members: int = 10
    sampler: dict[str, Any] = {}
    scored: tuple[Scored, ...] = Field(min_length=1)

    def recipe_of(self, variant: str, seed: int) -> Recipe:
        """What is trained for a variant and seed."""
        changes = {k: v for k, v in (self.variants[variant] or {}).items() if k != "sampler"}
        whole: dict[str, Any] = yaml.safe_load((CATALOG.parents[1] / self.recipe).read_text())
        for change in (self.base, changes, {"name": variant, "training": {"seed": seed}}):
            whole = merged(whole, change)
        return Recipe.model_validate(whole)

    def trained_as(self, variant: str) -> str:
        """The variant whose model serves this one: itself, or the first that is trained alike."""

        def training(name: str) -> Recipe:
            return self.recipe_of(name, 0).model_copy(update={"name": ""})

        return next(name for name in self.variants if training(name) == training(variant))

    def sampler_of(self, variant: str) -> SamplerConfig:
        return SamplerConfig(
            **{**self.sampler, **(self.variants[variant] or {}).get("sampler", {})}
        )


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the other's values before the one's; None takes a key away."""
    out = dict(one)
    for key, value in other.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


@cache
def event(source: str, variables: tuple[str, ...], statics: tuple[str, ...]) -> Event:
    """A training event, read once for all variants."""
    like = Recipe(name="any", sources=(source,), predictors=variables[1:], statics=statics)
    return load_event(source, like, catalog=CATALOG)


def trained(recipe: Recipe, folder: Path, device: str) -> Checkpoint:
    """The checkpoint of a recipe, from where it is kept, or trained."""

    def on_log(p: Progress) -> None:
        print(f"{recipe.name} seed {recipe.training.seed}: step {p.step} of {p.steps}, "
              f"loss {p.loss:.4f}, {p.seconds_per_step:.2f} s a step", flush=True)  # fmt: skip

    events = [event(source, recipe.variables, recipe.statics) for source in recipe.sources]
    checkpoint = train_on(recipe, events, folder, device=device, on_log=on_log)
    if not isinstance(checkpoint, Checkpoint):
        raise ValueError(f"{recipe.name} is no STVD: an ablation compares checkpoints of it")
    return checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--variants", nargs="+", help="all by default; the first is always scored")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of those of the study")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--out", type=Path, help="Markdown file; printed by default")
    given = parser.parse_args()

    study = Ablations.model_validate(yaml.safe_load(given.study.read_text()))
    engine = Engine(device=given.device).resolve()
    folder = given.runs / given.study.stem
    first = next(iter(study.variants))
    chosen = list(dict.fromkeys([first, *(given.variants or study.variants)]))
    seeds = given.seeds or list(study.seeds)
    work = Work(folder / "scores", study.members, engine)
    found: dict[str, dict[str, list[Statistics]]] = {s.event: {} for s in study.scored}
    for seed in seeds:  # all variants of one seed, then the next: a table can be had early
        for variant in chosen:
            recipe = study.recipe_of(study.trained_as(variant), seed)
            kept = folder / "models" / f"{recipe.name}_seed{seed}"
            checkpoint = trained(recipe, kept, engine.device)
            for part in study.scored:
                sums = work.score(
                    HeldOut(part.event, part.frames, part.region),
                    f"{variant}_{seed}",
                    checkpoint,
                    sampler=study.sampler_of(variant),
                )
                assert sums is not None
                found[part.event].setdefault(variant, []).append(sums)
        text = report(found, first)
        if given.out:
            write_atomically(given.out.absolute(), text.encode())
    write({e: {v: [table(s) for s in runs] for v, runs in of.items()} for e, of in found.items()},
          folder / "scores.json")  # fmt: skip
    print(text)


def extent(values: list[float]) -> str:
    """`least–largest`, of several."""
    return f"{min(values):.3g}–{max(values):.3g}" if len(values) > 1 else "–"


def report(found: Mapping[str, Mapping[str, list[Statistics]]], first: str) -> str:
    """Of every event: scores of each variant, mean over its seeds, and its errors over the first's."""
    sections = []
    for event, variants in found.items():
        rows = []
        base = averaged(variants[first])
        for name, runs in variants.items():
            mean = averaged(runs)
            scores, against = table(mean), ratios(mean, base)
            of_seeds = [table(s) for s in runs]
            ranges = [extent([t[k]["value"] / SHOWN[k] for t in of_seeds]) for k in RANGES]
            ratio = "1" if name == first else cell(against["crps_fair"])
            shown = [cell(scores.get(k), u) for k, u in SHOWN.items()]
            rows.append([name, ratio, *ranges, *shown])
        units = [k if u == 1 else f"{k}, {u:.0e}".replace("e-0", "e-") for k, u in SHOWN.items()]
        head = ["variant", f"crps_fair over {first}", *(f"{k} of seeds" for k in RANGES), *units]
        count = max(map(len, variants.values()))
        title = f"### {Path(event).stem}, {base.frames} frames, {count} seeds"
        sections.append(f"{title}\n\n{markdown(head, rows)}")
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    main()
