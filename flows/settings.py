"""Where things are: the only module that reads the environment.

Every setting is an environment variable with a default that works in a fresh clone, so that the
same commands run on a laptop (files, SQLite, no server) and in a deployment (object store, servers).
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from stvd.product import StorageOptions


class Settings(BaseSettings):
    """Locations and servers, read from the environment.

    Parameters
    ----------
    catalog : STVD_CATALOG, an Intake catalog or a folder of them
    data_root : STVD_DATA_ROOT, replaces the catalogs' own root, e.g. `s3://bucket/data`
    runs : STVD_RUNS, folder of everything a run makes here: products, databases, figures, logs
    products : STVD_PRODUCTS, where products go, a folder or `s3://bucket/prefix`
    checkpoints : STVD_CHECKPOINTS, folder of checkpoints
    device : STVD_DEVICE, `auto`, `cpu`, `cuda` or `mps`
    quality : STVD_QUALITY, fields of `stvd.quality.QualityPolicy` as JSON, `{"negative": "clip"}`
    endpoint_url, region : AWS_ENDPOINT_URL and AWS_REGION, of an object store that is not Amazon's;
        credentials stay in the environment, for the libraries that need them
    mlflow_tracking_uri : MLFLOW_TRACKING_URI, a server or `sqlite:///…`
    prefect_api_url : PREFECT_API_URL; without one a flow starts a server for as long as it runs
    """

    model_config = SettingsConfigDict(env_prefix="STVD_", frozen=True, extra="ignore")

    catalog: Path = Path("catalogs")
    data_root: str | None = None
    runs: Path = Path("runs")
    products: str | None = None
    checkpoints: Path = Path("checkpoints")
    device: str = "auto"
    quality: dict[str, Any] = {}
    endpoint_url: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL")
    region: str | None = Field(None, validation_alias="AWS_REGION")
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    prefect_api_url: str | None = Field(None, validation_alias="PREFECT_API_URL")

    @cached_property
    def home(self) -> Path:
        """The absolute folder of runs."""
        return self.runs.absolute()

    @property
    def state_file(self) -> Path:
        """What the local stack has started."""
        return self.home / "stack.json"

    def report_folder(self, product_uri: str) -> Path:
        """Where the report of a product goes."""
        return self.home / "reports" / product_uri.rstrip("/").rsplit("/", 1)[-1]

    @property
    def tracking_uri(self) -> str:
        """Where MLflow runs are recorded."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home}/mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Where MLflow artifacts go while no server is named."""
        return self.home / "mlartifacts"

    @property
    def models(self) -> Path:
        """Where checkpoints of the registry are kept once they are fetched."""
        return self.home / "models"

    def product_uri(self, product: str) -> str:
        """The URI of a product: itself if it is a path or URI, else its place under `products`."""
        if "/" in product:
            return product if "://" in product else str(Path(product).absolute())
        root = self.products or str(self.home / "products")
        return f"{root.rstrip('/')}/{product}"

    @property
    def storage(self) -> StorageOptions:
        """How products on an object store are reached."""
        from stvd.product import StorageOptions  # costs a second that `stvd --help` does not have

        own = self.endpoint_url is not None
        return StorageOptions(
            endpoint_url=self.endpoint_url,
            region=self.region,
            allow_http=own and str(self.endpoint_url).startswith("http://"),
            force_path_style=own,
        )

    def environment(self) -> dict[str, str]:
        """What Prefect and MLflow read from the environment, for this process and its children."""
        values = {
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "stvd",
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "DO_NOT_TRACK": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin waste 6 times their work on a busy CPU
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        if self.prefect_api_url:
            values["PREFECT_API_URL"] = self.prefect_api_url
        return values

    def exported(self) -> dict[str, str]:
        """These settings as environment variables, with absolute paths, for a child elsewhere."""
        paths = {"catalog": self.catalog, "runs": self.runs, "checkpoints": self.checkpoints}
        values: dict[str, str | None] = {name: str(path.absolute()) for name, path in paths.items()}
        values |= {"quality": json.dumps(self.quality)} if self.quality else {}
        values |= {"data_root": self.data_root, "products": self.products, "device": self.device}
        return {
            f"STVD_{name.upper()}": value for name, value in values.items() if value is not None
        }

    def apply(self) -> None:
        """Set what this process's environment lacks; call before importing Prefect or MLflow."""
        self.home.mkdir(parents=True, exist_ok=True)
        for name, value in self.environment().items():
            os.environ.setdefault(name, value)
