"""Freed memory is kept, in a process of its own because it stays so; memory that runs out is done without."""

import platform
import resource
import subprocess
import sys

import psutil
import pytest
import torch

from stvd.allocation import in_less_memory

FAULTS = """
import resource, sys
import numpy as np
from stvd.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(8 << 20)  # 64 MiB, taken from the system once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_memory_taken_again_costs_no_new_pages() -> None:
    def faults(how: str) -> int:
        run = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(run, capture_output=True, check=True, text=True).stdout)

    # 20 arrays of 64 MiB in pages of at most 2 MiB are at least 640 faults when given back each time.
    assert faults("given back") >= 640
    assert faults("kept") < 100


def test_memory_that_runs_out_is_asked_for_by_half():
    asked = []

    def attempt(gib: float) -> int:
        asked.append(gib)
        return torch.zeros(int(gib * 2**30), dtype=torch.uint8).numel()

    # address space of this process may grow by 0.6 GiB
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = psutil.Process().memory_info().vms + int(0.6 * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (room, hard))
    try:
        assert in_less_memory(attempt, 2.0) == 2**29
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert asked == [2.0, 1.0, 0.5]


def test_other_errors_are_not_tried_again():
    def attempt(gib: float) -> None:
        asked.append(gib)
        raise RuntimeError("shapes do not match")

    asked: list[float] = []
    with pytest.raises(RuntimeError, match="shapes"):
        in_less_memory(attempt, 1.0)
    assert asked == [1.0]
