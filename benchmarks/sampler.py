"""Network calls against realism and distortion: every solver and number of calls on one event.

    python benchmarks/sampler.py --checkpoint checkpoints/radar --event radar_radolan_val --frames 60:100

Written are `runs/sampler/<event>.json` and a figure beside it: fair CRPS, error of the 99.999th
percentile (PE, realism) and mean squared error of a member (distortion) against the calls, and PE
against that error along the calls. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from held_out import HeldOut, Work, table

from stvd.checkpoint import Checkpoint
from stvd.diagnostics.plots_calls import SHOWN, realism_distortion
from stvd.engine import Engine
from stvd.evaluation import write
from stvd.lattice import WindowRule
from stvd.sampling import SamplerConfig

CALLS = (2, 4, 6, 8, 10, 15, 20, 30)
SOLVERS = ("ddim", "dpmpp2m", "dpmpp2m_sde")


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
    parser.add_argument(
        "--windows",
        choices=get_args(WindowRule),
        default="overlapping",
        help="overlapping ones need more frames around the event the more calls there are",
    )
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/sampler"))
    given = parser.parse_args()

    checkpoint = Checkpoint.load(given.checkpoint)
    event = HeldOut(given.event, given.frames, given.region)
    work = Work(given.runs / checkpoint.name, given.members, Engine(device=given.device))
    curves: dict[str, dict[int, dict[str, Any]]] = {}
    for solver in given.solvers:
        for calls in given.calls:
            sampler = SamplerConfig.of(
                checkpoint.card.sampler, solver=solver, steps=calls, windows=given.windows
            )
            sums = work.score(event, f"{solver}_{calls}", checkpoint, sampler=sampler)
            assert sums is not None
            curves.setdefault(solver, {})[calls] = table(sums)
    out = work.folder / event.name
    write({"checkpoint": checkpoint.digest, "event": given.event, "curves": curves},
          out.with_suffix(".json"))  # fmt: skip
    realism_distortion(curves, f"{checkpoint.name} · {event.name}").savefig(out.with_suffix(".png"))
    for solver, points in curves.items():
        for calls, scores in points.items():
            said = "  ".join(f"{name} {scores[name]['value']:.4g}" for name in SHOWN)
            print(f"{solver:<11} {calls:>3} calls  {said}")
    print(out.with_suffix(".png"))


if __name__ == "__main__":
    main()
