"""The results table: checkpoints and baselines on the held-out events of a benchmark.

    python benchmarks/results.py radar validation --checkpoint stvd=checkpoints/radar --unet runs/unet_radar
    python benchmarks/results.py gcm test --checkpoint stvd=checkpoints/gcm --seeds 0 1 2 --out table.md

Interrupted, it goes on where it stopped; what is kept lies in `runs/results`. `--frames` and `--events`
take a part for a trial.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from held_out import HeldOut, Work, averaged, cell, markdown, ratios, split, table

from stvd.baselines.unet import UNetBaseline
from stvd.checkpoint import Checkpoint, write_atomically
from stvd.engine import Engine
from stvd.sampling import SamplerConfig
from stvd.statistics import Statistics

COLUMNS = {  # score: heading and unit
    "crps_fair": ("CRPS", 1e-5),
    "twcrps_5mmh": ("twCRPS > 5 mm/h", 1e-6),
    "mse_sample": ("MSE", 1e-8),
    "mse_mean": ("MSE of mean", 1e-8),
    "emd": ("EMD", 1e-6),
    "pe": ("PE", 1e-3),
    "sae": ("SAE", 1.0),
    "lsd": ("LSD, dB", 1.0),
    "spread_skill": ("spread–skill", 1.0),
    "fss_1mmh_8cells": ("FSS 1 mm/h, 8 cells", 1.0),
    "fss_5mmh_8cells": ("FSS 5 mm/h, 8 cells", 1.0),
    "p99_9_ratio": ("P99.9 ratio", 1.0),
    "p99_99_ratio": ("P99.99 ratio", 1.0),
    "p99_999_ratio": ("P99.999 ratio", 1.0),
    "lag1_error": ("lag-1 error", 1.0),
    "transition_error": ("wet–dry error", 1.0),
    "seam_ratio_relative": ("window seam", 1.0),
    "tile_seam_ratio_relative": ("tile seam", 1.0),
    "block_violation": ("block means", 1.0),
}
COMPARED = ("crps_fair", "pe")


def heading(name: str) -> str:
    said, scale = COLUMNS[name]
    return said if scale == 1 else f"{said}, {scale:.0e}".replace("e-0", "e-")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("benchmark", choices=["radar", "gcm"])
    parser.add_argument("part", choices=["validation", "test"])
    parser.add_argument("--checkpoint", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--unet", type=Path, help="folder of the deterministic UNet")
    parser.add_argument("--events", nargs="+", help="of the part; all by default")
    parser.add_argument("--frames", help="a:b of every event, for a trial")
    parser.add_argument("--region", help="y0:y1,x0:x1 of files, for a trial")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--solver", help="in place of that of each checkpoint")
    parser.add_argument(
        "--steps", type=int, help="network calls, in place of those of each checkpoint"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"))
    parser.add_argument("--out", type=Path, help="Markdown file; printed by default")
    given = parser.parse_args()

    models = dict(pair.split("=", 1) for pair in given.checkpoint)
    work = Work(given.runs / given.part, given.members, Engine(device=given.device))
    sections = []
    for reference in given.events or split(given.benchmark, given.part):
        event = HeldOut(reference, given.frames, given.region)
        asked = {"solver": given.solver, "steps": given.steps}
        found = systems(work, event, models, given.unet, given.seeds, asked)
        sections.append(section(event, found, list(models)))
    text = "\n\n".join(sections) + "\n"
    if given.out:
        write_atomically(given.out.absolute(), text.encode())
    print(text)


def systems(
    work: Work,
    event: HeldOut,
    models: dict[str, str],
    unet: Path | None,
    seeds: list[int],
    asked: dict[str, object],
) -> dict[str, Statistics]:
    """Sums of every system on an event, each the mean over its seeds."""
    found: dict[str, list[Statistics | None]] = {}
    loaded = {name: Checkpoint.load(folder) for name, folder in models.items()}
    for name, checkpoint in loaded.items():
        sampler = SamplerConfig.of(checkpoint.card.sampler, **asked)
        found[name] = [work.score(event, name, checkpoint, seed=k, sampler=sampler) for k in seeds]
    first, folder = next(iter(loaded.values())), Path(next(iter(models.values())))
    for name in ("bicubic", "quantile_mapping"):
        digest = first.digest if name == "quantile_mapping" else None
        found[name] = [work.score(event, name, first, system=name, folder=folder, digest=digest)]
    found["rainfarm"] = [
        work.score(event, "rainfarm", first, system="rainfarm", seed=k) for k in seeds
    ]
    if unet is not None:
        trained = UNetBaseline.load(unet, device=work.engine.resolve().device)
        found["unet"] = [
            work.score(
                event,
                "unet",
                first,
                system="unet",
                baselines={"unet": trained},
                digest=trained.digest,
            )
        ]
    runs = {k: [s for s in v if s is not None] for k, v in found.items()}
    return {k: averaged(v) for k, v in runs.items() if v}


def section(event: HeldOut, found: dict[str, Statistics], models: list[str]) -> str:
    """Scores of all systems on an event, and errors of the models over those of the others."""
    frames = next(iter(found.values())).frames
    tables = {name: table(statistics) for name, statistics in found.items()}
    rows = [
        [name, *(cell(scores.get(c), COLUMNS[c][1]) for c in COLUMNS)]
        for name, scores in tables.items()
    ]
    parts = [
        f"### {event.name}, {frames} frames",
        markdown(["system", *map(heading, COLUMNS)], rows),
    ]
    others = [name for name in found if name not in models]
    compared = []
    for model in models:
        against = {name: ratios(found[model], found[name]) for name in others}
        for score in COMPARED:
            best = min(others, key=lambda name: tables[name][score]["value"])
            said = [f"{model}, {COLUMNS[score][0]} over that of"]
            said += [
                cell(against[name].get(score)) + (" (best)" if name == best else "")
                for name in others
            ]
            compared.append(said)
    return "\n\n".join([*parts, markdown(["ratio", *others], compared)])


if __name__ == "__main__":
    main()
