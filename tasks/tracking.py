"""MLflow, spoken to in one place: parameters, metrics, figures and tables; never the arrays.

Always through `MlflowClient` with an explicit run: MLflow's "active run" belongs to a thread, and a
task does not choose its thread. A run has a key, and doing the same work twice writes the same run.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import get_tracking_uri
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

KEY = "stvd.key"
CURRENT = "stvd.current"
_BATCH = 1000  # metrics that one request may hold
_DIGEST = 36  # characters that MLflow has room for


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self._client = client
        self.id = run_id
        self.experiment_id = experiment_id

    @property
    def url(self) -> str:
        """Where the run is browsed, or the command that serves it."""
        uri = get_tracking_uri()
        page = f"#/experiments/{self.experiment_id}/runs/{self.id}"
        return f"{uri.rstrip('/')}/{page}" if uri.startswith("http") else f"stvd stack, then {page}"

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, by which runs are found."""
        self._client.log_batch(self.id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    def parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set parameters, nested ones as `training.steps`; on a run that is written again they stand."""
        known = self._client.get_run(self.id).data.params
        new = [Param(k, v) for k, v in _flat(parameters).items() if k not in known]
        self._client.log_batch(self.id, params=new)

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Set metrics of one step; values that are not finite are left out."""
        self.series([(step, metrics)])

    def series(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Set metrics of many steps in as few requests as possible."""
        now = int(time.time() * 1000)
        values = [
            Metric(_name(key), float(value), now, step)
            for step, row in rows
            for key, value in row.items()
            if math.isfinite(float(value))
        ]
        for start in range(0, len(values), _BATCH):
            self._client.log_batch(self.id, metrics=values[start : start + _BATCH])

    def figure(self, figure: Figure, path: str) -> None:
        """Keep a matplotlib figure, e.g. as `figures/sample.png`."""
        self._client.log_figure(self.id, figure, path)

    def table(self, table: pd.DataFrame, path: str) -> None:
        """Keep a table, as JSON that MLflow shows and as CSV that people read."""
        self._client.log_text(self.id, table.to_csv(index=False), f"{path}.csv")
        self._client.log_text(self.id, table.to_json(orient="split", index=False), f"{path}.json")

    def text(self, text: str, path: str) -> None:
        """Keep a text."""
        self._client.log_text(self.id, text, path)

    def record(self, record: Mapping[str, Any], path: str) -> None:
        """Keep a nested record as JSON."""
        self._client.log_dict(self.id, dict(record), path)

    def file(self, file: Path, folder: str | None = None) -> None:
        """Keep a file."""
        self._client.log_artifact(self.id, str(file), folder)

    def folder_uri(self, folder: str) -> str:
        """Where the files of a folder are kept."""
        return f"{self._client.get_run(self.id).info.artifact_uri.rstrip('/')}/{folder}"

    def dataset(self, name: str, digest: str, context: str, about: Mapping[str, Any]) -> None:
        """Name a data set that was used, and as what: `training`, `validation`."""
        dataset = Dataset(name, digest[:_DIGEST], "stvd", json.dumps(dict(about)))
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def make_current(self, tag: str, value: str) -> None:
        """Mark this run as what stands, and earlier ones with the same tag as replaced."""
        found = self._client.search_runs([self.experiment_id], f"tags.`{tag}` = '{value}'")
        for other in found:
            if other.info.run_id != self.id:
                self._client.set_tag(other.info.run_id, CURRENT, "false")
        self.tags({CURRENT: "true"})

    @contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Keep the load of processor, memory, disk, network and, with `nvidia-ml-py`, of GPUs."""
        monitor = SystemMetricsMonitor(self.id, resume_logging=True)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()
            monitor.collect_metrics()  # of work that was done before the first sample was due, too
            monitor.publish_metrics(monitor.aggregate_metrics())
            monitor.mlflow_logger.flush()


@contextmanager
def tracked(
    experiment: str, name: str, *, key: str, tags: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """Write an MLflow run, `FINISHED` on leaving and `FAILED` on an error.

    Parameters
    ----------
    experiment : name of the experiment, made if there is none
    name : what the list of runs shows
    key : identity of the work; a run that has it already is written again, not doubled
    tags : more to find it by; the Prefect flow run is added by itself
    """
    client = MlflowClient()
    run = _open(client, experiment, name, key)
    run.tags({**(tags or {}), **_flow_run()})
    try:
        yield run
    except BaseException:
        client.set_terminated(run.id, "FAILED")
        raise
    client.set_terminated(run.id, "FINISHED")


def finished(experiment: str, key: str) -> Run | None:
    """The run of a piece of work that was written to its end, if there is one."""
    client = MlflowClient()
    known = client.get_experiment_by_name(experiment)
    if known is None:
        return None
    for found in _with_key(client, known.experiment_id, key):
        if found.info.status == "FINISHED":
            return Run(client, found.info.run_id, known.experiment_id)
    return None


def _with_key(client: MlflowClient, experiment_id: str, key: str) -> list[Any]:
    return list(client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1))


def _open(client: MlflowClient, experiment: str, name: str, key: str) -> Run:
    experiment_id = _experiment(client, experiment)
    if found := _with_key(client, experiment_id, key):
        run_id = found[0].info.run_id
        client.update_run(run_id, "RUNNING", name)
    else:
        run_id = client.create_run(experiment_id, tags={KEY: key}, run_name=name).info.run_id
    return Run(client, run_id, experiment_id)


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifacts()))
        except MlflowException:  # another run made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _artifacts() -> str | None:
    """Without a server artifacts lie beside the database; a server has its own place."""
    uri = get_tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts").as_uri()


def _flow_run() -> dict[str, str]:
    if not flow_run.id:
        return {}
    tags = {"prefect.flow_run_id": str(flow_run.id)}
    # A server that lives as long as the run has no page to link to.
    if (page := url_for("flow-run", flow_run.id)) is not None:
        tags["prefect.flow_run_url"] = page
    return tags


def _name(key: str) -> str:
    """A metric's name in the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", key)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of names, `training.steps`."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat
