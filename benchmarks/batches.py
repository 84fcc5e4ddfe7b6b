"""Time of a sample by how many share a network call, on this device: what `stvd.engine.CPU_BATCH` follows from.

    python benchmarks/batches.py --checkpoint checkpoints/radar --threads 1

Members of a window are denoised at once, a few at a time, or one by one; each line is processor time over
that of one by one, the smallest of three interleaved runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from held_out import markdown

from stvd.checkpoint import Checkpoint
from stvd.engine import sample_bytes
from stvd.model import STVD

SIZES = ((64, 64), (96, 96), (176, 208), (256, 256))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/radar"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--members", type=int, default=8)
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    network = Checkpoint.load(given.checkpoint).network
    shares = [given.members // k for k in (1, 2, 4, given.members)]
    rows = []
    for shape in SIZES:
        runs = [{n: seconds(network, shape, n, given.members) for n in shares} for _ in range(3)]
        spent = {n: min(run[n] for run in runs) for n in shares}
        mib = sample_bytes(network, shape) / 2**20
        rows.append([f"{shape[0]} × {shape[1]}", f"{mib:.0f}",
                     *(f"{spent[share] / spent[1]:.2f}" for share in shares)])  # fmt: skip
    print(markdown(["cells", "MiB a sample", *(f"{share} at once" for share in shares)], rows))


@torch.inference_mode()
def seconds(network: STVD, shape: tuple[int, int], share: int, members: int) -> float:
    """Processor seconds of a call for every member."""
    draw = torch.Generator().manual_seed(0)
    window, inputs = network.config.window, network.config.inputs
    x = torch.randn(1, window, inputs, *shape, generator=draw)
    condition = network.condition(x).repeat(share)
    noise = torch.randn(share, window, 1, *shape, generator=draw)
    level = torch.zeros(share, window)
    start = time.process_time()
    for _ in range(members // share):
        network.denoise(noise, level, condition)
    return time.process_time() - start


if __name__ == "__main__":
    main()
