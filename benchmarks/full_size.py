"""One forward and backward pass of a preset at its full size, on the CPU.

    OMP_NUM_THREADS=1 python benchmarks/full_size.py
    python benchmarks/full_size.py --preset small --size 96 96 --keep

The pass is that of a training step: the diffusion loss of one window, and its gradient for every
parameter, in float32, in a process of its own. Blocks are recomputed in the backward pass unless
`--keep` is given. Printed are seconds, operations, and the largest resident set of that process beside
what `stvd info --preset` says of it (which counts Adam's moments and the moving average too).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

GIB = 2**30


def one_step(name: str, size: tuple[int, int], keep: bool) -> None:
    """Run the pass and check that the gradient reached the mean downscaler."""
    import torch

    from stvd.model import preset
    from stvd.model.layers import set_recompute

    torch.manual_seed(0)
    model = preset(name)
    network = model.build()
    set_recompute(network, not keep)
    with torch.no_grad():  # the zero output layers of a fresh network pass no gradient on
        for out in (network.mean.out, network.denoiser.out):
            out.weight.normal_(0, 0.02)
    x = torch.randn(1, model.window, model.inputs, *size)
    target, noise = torch.randn(2, 1, model.window, 1, *size)
    began, busy = time.perf_counter(), time.process_time()
    loss = network.loss(target, x, time=torch.rand(1, model.window), noise=noise)
    forward = time.perf_counter() - began
    loss.backward()
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    stem = network.mean.stem.weight.grad
    assert stem is not None
    assert torch.isfinite(stem).all()
    assert stem.abs().sum() > 0
    print(f"{torch.get_num_threads()} threads  loss {loss.item():.3f}  forward {forward:.0f} s  "
          f"forward and backward {seconds:.0f} s, {busy:.0f} s of processor time")  # fmt: skip


def main() -> None:
    from stvd.complexity import Complexity
    from stvd.model.presets import PRESETS, preset

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper", choices=PRESETS)
    parser.add_argument("--size", nargs=2, type=int, help="rows and columns; default: the preset's")
    parser.add_argument("--keep", action="store_true", help="keep the insides of blocks")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    size = tuple(chosen.size or PRESETS[chosen.preset].size)
    if chosen.child:
        one_step(chosen.preset, size, chosen.keep)
        return
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--child"], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    cost = Complexity.of(preset(chosen.preset), size)
    said = cost.memory.training_step if chosen.keep else cost.memory.training_step_recompute
    print(f"{chosen.preset}, {cost.inputs} channels, {cost.frames} frames, {size[0]} × {size[1]}: "
          f"{cost.flops.training_step / 1e12:.3g} TFLOP, peak {peak / GIB:.2f} GiB "
          f"(`stvd info` says {said / GIB:.2f} GiB)")  # fmt: skip


if __name__ == "__main__":
    main()
