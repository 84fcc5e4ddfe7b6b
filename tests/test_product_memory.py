"""A year costs no more memory than a month."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WRITE = """
import resource, sys
import numpy as np
from product_samples import make_grid, make_spec
from stvd.partition import Partition
from stvd.product import Product, export_zarr

folder, months = sys.argv[1], int(sys.argv[2])
spec = make_spec(cell_frames=240, chunks=None, shards=None)
product = Product.create_or_open(f"{folder}/product", spec, make_grid((96, 96)))
rain = np.random.default_rng(0).random((2, 5, 96, 96), np.float32)
for month in range(months):
    frames = range(240 * month, 240 * (month + 1))
    partition = Partition(source="gcm", frames=frames, members=range(2))
    with product.write(partition, "a" * 64) as writer:
        for first in range(frames.start, frames.stop, 5):
            writer.put(range(first, first + 5), range(2), rain)
        writer.commit()
    product.verify(partition.id)
export_zarr(product.uri, f"{folder}/copy")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mebibytes(folder: Path, months: int) -> float:
    """Peak memory of a process that writes, verifies and copies so many months."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder), str(months)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


def test_a_year_takes_at_most_a_tenth_more_memory_than_a_month(tmp_path: Path) -> None:
    """A month is 2 x 240 x 96 x 96 x 4 bytes = 17 MiB, a year 203 MiB more or less kept."""
    month, year = peak_mebibytes(tmp_path / "month", 1), peak_mebibytes(tmp_path / "year", 12)
    print(f"peak of a month {month:.0f} MiB, of a year {year:.0f} MiB")
    assert year <= 1.1 * month
