"""Partitions on the workers of a Dask cluster: the same product, whatever happens to a worker."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import test_generate
import yaml
from distributed import LocalCluster
from test_generate import production, rain, run

from stvd import cluster
from stvd.cluster import ClusterConfig, Stopped, connected
from stvd.cluster.config import ON_LOOPBACK
from stvd.generate import Outcome
from stvd.product import FingerprintConflict, Product, ProductMismatch
from stvd.production import Production

checkpoint, source = test_generate.checkpoint, test_generate.source

EXAMPLES = sorted((Path(__file__).parents[1] / "infra" / "dask").glob("*.yaml"))


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> Iterator[LocalCluster]:
    """A cluster that somebody else runs: two workers with a GPU each, as far as Dask can tell."""
    with LocalCluster(
        n_workers=2,
        local_directory=str(tmp_path_factory.mktemp("dask")),
        resources={"GPU": 1},
        **ON_LOOPBACK | {"security": None},
    ) as workers:
        yield workers


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, source, checkpoint) -> Production:
    """Made in this process."""
    how = production(tmp_path_factory.mktemp("here") / "product", source, checkpoint, steps=4)
    run(how)
    return how


def spread(how: Production, setting: str, **options) -> dict[str, Outcome]:
    """Every partition of a plan on the workers of a cluster."""
    partitions = {item.partition.id: item.partition for item in how.plan()}

    def work(partition: str) -> Outcome:
        return cluster.produce(how, partitions[partition], **options)

    with connected(setting) as used:
        return dict(used.each(work, partitions))


def promised(how: Production) -> dict[str, dict]:
    """All of the ledger but when and how fast a partition was made."""
    changing = {"token", "seconds", "written_at", "snapshot"}
    entries = Product.open(how.product).ledger().items()
    found = {partition: entry.model_dump(exclude=changing) for partition, entry in entries}
    for entry in found.values():
        entry["provenance"].pop("seconds", None)
    return found


def assert_equal(how: Production, other: Production) -> None:
    assert np.array_equal(rain(how), rain(other))
    assert promised(how) == promised(other)


def test_a_cluster_makes_the_same_product(
    tmp_path, source, checkpoint, undisturbed, workers, caplog
):
    how = production(tmp_path / "product", source, checkpoint, steps=4)
    told = []
    with caplog.at_level(logging.INFO, "stvd"):
        made = spread(how, workers.scheduler_address, progress=lambda *done: told.append(done))
    assert_equal(how, undisturbed)
    assert all(outcome.published for outcome in made.values())
    assert {done for done, total in told if done == total} == {total for _, total in told}
    at = {r.message.split(" by ")[1] for r in caplog.records if " is sampled by " in r.message}
    assert len(at) == 2, "each worker had a partition"
    with connected(workers.scheduler_address) as used:
        loads = used._client.run(lambda: sys.modules["stvd.generate"]._load.cache_info())
    assert [found.misses for found in loads.values()] == [1, 1], "each loads the model once"


def test_a_lost_worker_is_made_good_by_another(
    tmp_path, source, checkpoint, undisturbed, workers, caplog
):
    how = production(tmp_path / "product", source, checkpoint, steps=4)
    killed = []

    def kill_the_worker(done: int, total: int) -> None:
        if not killed and done < total:
            sampling = next(r for r in caplog.records if " is sampled by " in r.message)
            killed.append(int(sampling.message.split()[-1]))
            os.kill(killed[0], signal.SIGKILL)

    with caplog.at_level(logging.INFO, "stvd"):
        made = spread(how, workers.scheduler_address, progress=kill_the_worker)
    assert len(killed) == 1
    assert any("was lost; it is done again" in r.message for r in caplog.records)
    assert all(outcome.published for outcome in made.values())
    assert_equal(how, undisturbed)


def test_what_is_given_up_is_not_published_and_not_sampled_to_its_end(
    tmp_path, source, checkpoint, workers
):
    long = production(tmp_path / "long", source, checkpoint, steps=400)
    partition = long.plan()[0].partition

    def work(name: str) -> str:
        with pytest.raises(Stopped, match=f"{partition.id} was given up"):
            cluster.produce(long, partition, progress=lambda done, total: used.stop())
        return "stopped"

    with connected(workers.scheduler_address) as used:
        assert dict(used.each(work, [partition.id])) == {partition.id: "stopped"}
        with pytest.raises(Stopped, match="was not begun"):
            cluster.produce(long, partition)
        deadline = time.monotonic() + 60  # the whole would take minutes
        while any(used._client.run(lambda dask_worker: len(dask_worker.state.executing)).values()):
            assert time.monotonic() < deadline, "the worker goes on"
            time.sleep(0.2)
    assert Product.open(long.product).ledger() == {}


def test_errors_of_a_worker_are_those_of_this_process(
    tmp_path, source, checkpoint, undisturbed, workers
):
    partition = undisturbed.plan()[0].partition

    def ask(**changes) -> None:
        how = production(Path(undisturbed.product), source, checkpoint, **changes)
        with connected(workers.scheduler_address):
            cluster.produce(how, partition)

    with pytest.raises(FingerprintConflict, match=r"seed is .* there and .* now"):
        ask(steps=4, seed=1)
    # A mismatch cannot be pickled: its words arrive.
    with pytest.raises(RuntimeError, match=f"{ProductMismatch.__name__}: .*members is 2 there, 3"):
        ask(steps=4, members=3)


def test_a_batch_system_runs_the_workers(tmp_path, source, checkpoint, undisturbed, monkeypatch):
    """`sbatch` and `scancel` stand in for Slurm: they run the job script that it would get."""
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    jobs.mkdir()
    programs.mkdir()
    stand_ins = {
        "sbatch": f'cp "$1" {jobs}/script\nsetsid bash {jobs}/script >{jobs}/log 2>&1 &\n'
        'echo "Submitted batch job $!"',
        "scancel": "kill -TERM -- -$1 || true",
    }
    for name, body in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    (tmp_path / ".stvd.env").write_text(f"PYTHONPATH={Path(__file__).parents[1]}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    example = yaml.safe_load(next(f for f in EXAMPLES if f.stem == "slurm").read_text())
    example["options"] |= {"local_directory": str(jobs), "shared_temp_directory": str(jobs)}
    example["options"]["scheduler_options"]["host"] = "127.0.0.1"
    file = tmp_path / "slurm.yaml"
    file.write_text(yaml.safe_dump(example | {"workers": 1}))
    how = production(tmp_path / "product", source, checkpoint, steps=4)
    spread(how, str(file))
    assert_equal(how, undisturbed)
    script = (jobs / "script").read_text()
    assert "#SBATCH --gpus=1" in script
    assert re.search(r"dask_worker tls://127.0.0.1:\d+ .*--nthreads 1 .*--resources GPU=1", script)


def test_workers_that_would_take_several_partitions_at_once_are_refused():
    idle = LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=None
    )
    expected = pytest.raises(ValueError, match=r"2 threads.*--nthreads 1")
    with idle, expected, connected(idle.scheduler_address):
        pass


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("local:4", {"workers": 4, "cluster": "distributed.LocalCluster"}),
        ("tcp://10.0.0.1:8786", {"address": "tcp://10.0.0.1:8786"}),
        ("tls://scheduler:8786", {"address": "tls://scheduler:8786"}),
    ],
)
def test_settings_are_read(setting, expected):
    assert ClusterConfig.parse(setting).model_dump(include={*expected}) == expected


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_read(file):
    assert ClusterConfig.parse(str(file)).workers > 1


@pytest.mark.parametrize("setting", ["local:0", "local:x", "http://host", "nowhere.yaml", "local"])
def test_other_settings_are_refused(setting):
    with pytest.raises(ValueError, match=f"'{setting}' is no Dask cluster: .*Take local:N"):
        ClusterConfig.parse(setting)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster: os.system\noptions: {command: date}", "os.system is none of distributed.Local"),
        ("cluster: !!python/name:os.system", "could not determine a constructor"),
        ("options: {worker_class: os.system}", "worker_class names Python code"),
        ("options: {scheduler_options: {preload: [x.py]}}", "preload names Python code"),
        ("options: {worker_extra_args: ['--preload=x.py']}", "--preload=x.py names Python code"),
        ("options: {worker_extra_args: ['--nthreads 1 --preload x']}", "--preload names Python"),
        ("options: {pre_import: os}", "pre_import names Python code"),
        ("options: {job_cls: x.Job}", "job_cls names Python code"),
        ("workers: 2\nscale: 3", "scale: Extra inputs"),
        ("[1", "while parsing"),
    ],
)
def test_a_file_that_names_code_to_import_is_refused(tmp_path, text, message):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        ClusterConfig.parse(str(file))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    file = tmp_path / "cluster.yaml"
    file.write_text("{cluster: dask_cuda.LocalCUDACluster, workers: 4}")
    config = ClusterConfig.parse(str(file))
    with pytest.raises(ImportError, match=r"pip install .* dask-cuda"), config.client():
        pass
