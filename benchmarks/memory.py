"""Peak memory of sampling against the budget that batches are planned by.

    python benchmarks/memory.py

Each case runs in a process of its own on the CPU; `peak` is what the sampling adds to the resident
set, `planned` what `plan_batches` counted for its batch. Their ratio should stay below 1.
"""

from __future__ import annotations

import resource
import subprocess
import sys

CASES = [(64, 64, 4), (160, 320, 1), (160, 320, 4), (384, 384, 2)]


def case(ny: int, nx: int, members: int) -> None:
    import torch

    from stvd.engine import sample_bytes
    from stvd.model import preset

    torch.manual_seed(0)
    network = preset("small", 15).build().eval()
    x = torch.randn(1, 5, 15, ny, nx)
    noise = torch.randn(members, 5, 1, ny, nx)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    with torch.inference_mode():
        network.denoise(
            noise[:1, :, :, :16, :16], torch.zeros(1, 5), network.condition(x[..., :16, :16])
        )
        before = peak()
        shared = network.condition(x).repeat(members)
        network.denoise(noise, torch.zeros(members, 5), shared)
    planned = members * sample_bytes(network, (ny, nx))
    added = peak() - before
    print(f"{ny:5d} × {nx:<5d} {members} members  planned {planned / 2**20:7.0f} MiB  "
          f"peak {added / 2**20:7.0f} MiB  ratio {added / planned:.2f}")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        case(*map(int, sys.argv[1:]))
    else:
        for sizes in CASES:
            subprocess.run([sys.executable, __file__, *map(str, sizes)], check=True)
