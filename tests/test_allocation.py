"""Freed memory is kept, in a process of its own because it stays so."""

import platform
import subprocess
import sys

import pytest

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
