"""Network calls against realism and distortion: every solver and number of calls on one event.

    python benchmarks/sampler.py --checkpoint checkpoints/radar --event radar_radolan_val --frames 60:100

Written are `runs/sampler/<event>.json` and a figure beside it: fair CRPS, error of the 99.999th
percentile (PE, realism) and mean squared error of a member (distortion) against the calls, and PE
against that error along the calls. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from held_out import HeldOut, Work, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stvd.checkpoint import Checkpoint
from stvd.diagnostics.plots import COLOURS
from stvd.engine import Engine
from stvd.evaluation import write
from stvd.sampling import SamplerConfig

CALLS = (2, 4, 6, 8, 10, 15, 20, 30)
SOLVERS = ("ddim", "dpmpp2m")
SHOWN = {  # score: label and unit
    "crps_fair": ("fair CRPS (10⁻⁵ kg m⁻² s⁻¹)", 1e-5),
    "mse_sample": ("MSE of a member (10⁻⁸ kg² m⁻⁴ s⁻²)", 1e-8),
    "pe": ("PE (10⁻³ kg m⁻² s⁻¹)", 1e-3),
}
Curves = dict[str, dict[int, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--event", default="radar_radolan_val")
    parser.add_argument("--frames", help="a:b")
    parser.add_argument("--region", help="y0:y1,x0:x1, of a file")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS)
    parser.add_argument("--solvers", nargs="+", default=SOLVERS)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/sampler"))
    given = parser.parse_args()

    checkpoint = Checkpoint.load(given.checkpoint)
    event = HeldOut(given.event, given.frames, given.region)
    work = Work(given.runs / checkpoint.name, given.members, Engine(device=given.device))
    curves: Curves = {}
    for solver in given.solvers:
        for calls in given.calls:
            sampler = SamplerConfig(solver=solver, steps=calls)
            sums = work.score(event, f"{solver}_{calls}", checkpoint, sampler=sampler)
            assert sums is not None
            curves.setdefault(solver, {})[calls] = table(sums)
    out = work.folder / event.name
    write({"checkpoint": checkpoint.digest, "event": given.event, "curves": curves},
          out.with_suffix(".json"))  # fmt: skip
    draw(curves, f"{checkpoint.name} · {event.name}").savefig(out.with_suffix(".png"))
    for solver, points in curves.items():
        for calls, scores in points.items():
            said = "  ".join(f"{name} {scores[name]['value']:.4g}" for name in SHOWN)
            print(f"{solver:<8} {calls:>3} calls  {said}")
    print(out.with_suffix(".png"))


def draw(curves: Curves, title: str) -> Figure:
    """Three scores against the calls, and realism against distortion."""
    figure = Figure(figsize=(10, 7.4), layout="constrained", dpi=120)
    axes = figure.subplots(2, 2).ravel()
    for colour, (solver, points) in zip(COLOURS, curves.items(), strict=False):
        calls = sorted(points)
        for place, name in zip(axes, SHOWN, strict=False):
            _along(place, name, solver, calls, points, colour)
        x, y = (
            [points[k][name]["value"] / SHOWN[name][1] for k in calls]
            for name in ("mse_sample", "pe")
        )
        axes[3].plot(x, y, marker="o", markersize=4, color=colour, label=solver)
        for k, a, b in zip(calls, x, y, strict=True):
            axes[3].annotate(str(k), (a, b), xytext=(4, 4), textcoords="offset points", fontsize=8)
    for place, name in zip(axes, SHOWN, strict=False):
        place.set(xlabel="network calls", ylabel=SHOWN[name][0], xscale="log")
        ticks = sorted({k for points in curves.values() for k in points})
        place.set_xticks(ticks, [str(k) for k in ticks])
        place.minorticks_off()
    axes[3].set(xlabel=f"distortion: {SHOWN['mse_sample'][0]}", ylabel=f"realism: {SHOWN['pe'][0]}")
    axes[3].set_title("along the number of calls", fontsize=9, loc="left")
    axes[0].legend(frameon=False)
    for place in axes:
        place.grid(True, color="#e6e6e6", linewidth=0.6)
        place.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return figure


def _along(
    place: Axes, name: str, solver: str, calls: list[int], points: dict[int, Any], colour: str
) -> None:
    entries, scale = [points[k][name] for k in calls], SHOWN[name][1]
    place.plot(calls, [e["value"] / scale for e in entries], marker="o", markersize=4,
               color=colour, label=solver)  # fmt: skip
    low, high = (
        [np.nan if e[k] is None else e[k] / scale for e in entries] for k in ("low", "high")
    )
    place.fill_between(calls, low, high, color=colour, alpha=0.15, lw=0)


if __name__ == "__main__":
    main()
