"""Which cluster: workers on this machine, a scheduler that runs, or one of a list of cluster classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "distributed.LocalCluster"
QUEUES = ("HTCondor", "LSF", "Moab", "OAR", "PBS", "SGE", "SLURM")
PACKAGES = {
    LOCAL: "distributed",
    "dask_cuda.LocalCUDACluster": "dask-cuda",
    "dask_kubernetes.operator.KubeCluster": "dask-kubernetes",
    **{f"dask_jobqueue.{queue}Cluster": "dask-jobqueue" for queue in QUEUES},
}
"""The classes that may be named, and the package that has each."""

ON_LOOPBACK: dict[str, JsonValue] = {
    "host": "127.0.0.1",
    "security": True,  # another user of this machine must not send work to the workers
    "threads_per_worker": 1,
    "processes": True,
    "memory_limit": 0,  # torch's memory is not Dask's to judge
    "dashboard_address": "127.0.0.1:0",
    "scheduler_kwargs": {"dashboard": False},
}
IMPORTS = re.compile(
    r"(--)?(preload.*|pre_import|plugins|extensions|(worker|scheduler|job|.*_)[-_]?(class|cls))"
)
"""Options of clusters and of `dask worker` that make it import what they name."""

FORMS = (
    "Take local:N for N workers on this machine, the address of a scheduler such as "
    "tcp://host:8786, or a YAML file with cluster, workers and options"
)


class ClusterConfig(BaseModel):
    """A Dask cluster: the address of one that runs, or the class to start one with.

    Parameters
    ----------
    address : of a scheduler
    cluster : one of `PACKAGES`
    workers : how many to start
    options : keyword arguments of the class
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(None, pattern=r"^(tcp|tls|ucx|ws|wss)://[^\s/]+$")
    cluster: str = LOCAL
    workers: int = Field(1, ge=1)
    options: dict[str, JsonValue] = {}

    @field_validator("cluster")
    @classmethod
    def _listed(cls, cluster: str) -> str:
        if cluster not in PACKAGES:
            raise ValueError(f"{cluster} is none of {', '.join(PACKAGES)}")
        return cluster

    @field_validator("options")
    @classmethod
    def _import_nothing(cls, options: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for word in _words(options):
            if IMPORTS.fullmatch(word.partition("=")[0].strip()):
                raise ValueError(f"{word} names Python code to import, which is not taken")
        return options

    @classmethod
    def parse(cls, setting: str) -> ClusterConfig:
        """Read what `STVD_DASK` may say.

        Raises
        ------
        ValueError
            If it is none of the forms, or names a class or option that is not allowed.
        """
        try:
            if "://" in setting:
                return cls(address=setting)
            if setting.startswith("local:"):
                workers: Any = setting.removeprefix("local:")
                return cls(workers=workers)
            with Path(setting).open() as file:
                return cls.model_validate(yaml.safe_load(file))
        except (ValidationError, yaml.YAMLError, OSError) as error:
            raise ValueError(f"{setting!r} is no Dask cluster: {_why(error)}. {FORMS}") from error

    @property
    def local(self) -> bool:
        """Whether its workers share the GPUs of this machine, and nobody shares them out."""
        return not self.address and self.cluster == LOCAL

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection to the scheduler; a cluster that was started ends with it.

        Raises
        ------
        ImportError
            If a package is missing; it says which.
        OSError
            If the scheduler does not answer.
        """
        Client = _find("distributed.Client", "distributed")
        if self.address:
            with Client(self.address, set_as_default=False) as client:
                yield client
            return
        Chosen = _find(self.cluster, PACKAGES[self.cluster])
        options = (ON_LOOPBACK if self.local else {}) | self.options
        # By default the process that starts a cluster gets OMP_NUM_THREADS=1 for good.
        with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
            cluster = Chosen(n_workers=self.workers, **options)
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


def _find(name: str, package: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise ImportError(
            f"{name} cannot be imported ({error}): pip install -c constraints.txt {package}"
        ) from error


def _words(value: JsonValue) -> Iterator[str]:
    """The names of options at any depth, and what is said on a command line."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, str):
                yield from (word for word in inner.split() if word.startswith("--"))
            else:
                yield from _words(inner)


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            ": ".join([*map(str, found["loc"]), found["msg"]]) for found in error.errors()
        )
    return str(error)
