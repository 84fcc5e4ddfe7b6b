"""Files that several threads open and read at once, which without the lock ends the process."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stvd.catalog import open_source
from stvd.lattice import TimeAxis
from stvd.layout import write_record
from stvd.netcdf_lock import NETCDF
from stvd.synthetic import synthetic_coarse, synthetic_grid


def test_threads_open_and_read_the_same_file(tmp_path):
    axis = TimeAxis(epoch="2000-01-01T00:00:00", step_seconds=10800, calendar="standard")
    coarse = synthetic_coarse(axis, range(8), (32, 64))
    write_record(tmp_path / "record.nc", coarse, synthetic_grid((32, 64)))

    def total(_: int) -> float:
        return float(open_source("record", catalog=tmp_path / "record.nc")["pr"].sum())

    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(total, range(200)))
    np.testing.assert_allclose(totals, totals[0])


def test_the_lock_is_one_in_a_process():
    assert pickle.loads(pickle.dumps(NETCDF)) is NETCDF
    with NETCDF, NETCDF:
        assert NETCDF.acquire(blocking=False)
        NETCDF.release()
