import os
import signal
import subprocess
import sys

from product_samples import cell, make_product

from stvd.product.turn import turn

HOLD = """
import sys, time
from stvd.product.turn import turn
with turn(sys.argv[1], sys.argv[2]) as alone:
    print(alone, flush=True)
    time.sleep(600)
"""


def test_a_partition_is_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path):
    product, partition = make_product(tmp_path), cell(0).id
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, product.uri, partition], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"True\n"
    with turn(product.uri, partition, wait=0.1) as alone:
        assert not alone
    with turn(product.uri, cell(1).id, wait=0.1) as alone:
        assert alone, "another partition is free"
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with turn(product.uri, partition, wait=5) as alone:
        assert alone


def test_work_within_work_does_not_wait_for_itself(tmp_path):
    product, partition = make_product(tmp_path), cell(0).id
    with turn(product.uri, partition), turn(product.uri, partition, wait=0.1) as alone:
        assert alone
