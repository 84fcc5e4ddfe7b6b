"""MLflow, spoken to in one place: parameters, metrics, figures and tables; never the arrays.

Always through `MlflowClient` with an explicit run: MLflow's "active run" belongs to a thread, and a
task does not choose its thread. A run has a key, and doing the same work twice writes the same run.
"""

from __future__ import annotations

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
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import get_tracking_uri
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

KEY = "stvd.key"
_BATCH = 1000  # metrics that one request may hold


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
        """Set parameters; on a run that is written again they must be the same."""
        known = self._client.get_run(self.id).data.params
        new = [Param(k, str(v)) for k, v in parameters.items() if k not in known]
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


def _open(client: MlflowClient, experiment: str, name: str, key: str) -> Run:
    experiment_id = _experiment(client, experiment)
    found = client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)
    if found:
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
