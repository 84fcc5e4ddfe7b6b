"""Where things are: the only module that reads the environment.

Every setting is an environment variable with a default that works in a fresh clone, so that the
same commands run on a laptop (files, SQLite, no server) and in a deployment (object store, servers).
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from stvd.product import StorageOptions


DAY = 86_400
HEARTBEAT_SECONDS = 30  # the least that Prefect allows
LEASES = "prefect.server.concurrency.lease_storage"
# What Prefect's server forgets, and when: by itself it keeps flow runs for ever.
RETENTION = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * DAY),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P14D",  # ISO 8601, the others take seconds
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
        {"prefect.flow-run.heartbeat": DAY}
    ),
}


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
    dask : STVD_DASK, the Dask cluster whose workers sample (`stvd.cluster.config`): `local:4`,
        `tcp://host:8786` or a YAML file; left out, this process does
    quality : STVD_QUALITY, fields of `stvd.quality.QualityPolicy` as JSON, `{"negative": "clip"}`
    endpoint_url, region : AWS_ENDPOINT_URL and AWS_REGION, of an object store that is not Amazon's;
        credentials stay in the environment, for the libraries that need them
    mlflow_tracking_uri : MLFLOW_TRACKING_URI, a server or `sqlite:///…`
    prefect_api_url : PREFECT_API_URL; without one a flow starts a server for as long as it runs

    Of the servers that are started here (`flows.stack`, `flows.serve`):

    start_seconds : STVD_START_SECONDS, how long a service of the stack may take to become ready
    host : STVD_HOST, the address that a service of `flows.serve` listens on
    mlflow_database : MLFLOW_BACKEND_STORE_URI, e.g. `postgresql://…`; left out, SQLite under `runs`
    mlflow_artifacts : MLFLOW_ARTIFACTS_DESTINATION, e.g. `s3://bucket/prefix`; left out, under `runs`
    prefect_login : PREFECT_SERVER_API_AUTH_STRING, `user:password`; switches on Prefect's
        authentication. PREFECT_SERVER_DATABASE_CONNECTION_URL is for Prefect itself
    mlflow_user, mlflow_password : MLFLOW_AUTH_ADMIN_USERNAME and MLFLOW_AUTH_ADMIN_PASSWORD; the
        password switches on MLflow's authentication
    mlflow_session_key : MLFLOW_FLASK_SERVER_SECRET_KEY; left out, another at every start
    store_access_key, store_secret_key : AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, those of a store
        that `flows.serve` starts

    Of the deployments (`flows.deployments`, `flows.automations`):

    pool_template : STVD_POOL_TEMPLATE, YAML with `type` and `base_job_template` of the work pool;
        left out, processes beside the worker
    alert_url : STVD_ALERT_URL, a webhook that is sent `{"text": …}` when something is wrong
    fresh_hours : STVD_FRESH_HOURS, products that must grow and within how many hours, as JSON,
        `{"europe": 36}`
    """

    model_config = SettingsConfigDict(
        env_prefix="STVD_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    catalog: Path = Path("catalogs")
    data_root: str | None = None
    runs: Path = Path("runs")
    products: str | None = None
    checkpoints: Path = Path("checkpoints")
    device: str = "auto"
    dask: str | None = None
    quality: dict[str, Any] = {}
    endpoint_url: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL")
    region: str | None = Field(None, validation_alias="AWS_REGION")
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    prefect_api_url: str | None = Field(None, validation_alias="PREFECT_API_URL")

    start_seconds: Annotated[float, Field(gt=0)] = 300
    host: str = "127.0.0.1"
    mlflow_database: SecretStr | None = Field(None, validation_alias="MLFLOW_BACKEND_STORE_URI")
    mlflow_artifacts: str | None = Field(None, validation_alias="MLFLOW_ARTIFACTS_DESTINATION")
    prefect_login: SecretStr | None = Field(None, validation_alias="PREFECT_SERVER_API_AUTH_STRING")
    mlflow_user: str = Field("admin", validation_alias="MLFLOW_AUTH_ADMIN_USERNAME")
    mlflow_password: SecretStr | None = Field(None, validation_alias="MLFLOW_AUTH_ADMIN_PASSWORD")
    mlflow_session_key: SecretStr = Field(
        default_factory=lambda: SecretStr(token_hex(32)),
        validation_alias="MLFLOW_FLASK_SERVER_SECRET_KEY",
    )
    store_access_key: str | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    store_secret_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")

    pool_template: Path | None = None
    alert_url: SecretStr | None = None
    fresh_hours: dict[str, Annotated[float, Field(gt=0)]] = {}

    @cached_property
    def home(self) -> Path:
        """The absolute folder of runs."""
        return self.runs.absolute()

    @property
    def state_file(self) -> Path:
        """What the local stack has started."""
        return self.home / "stack.json"

    @property
    def database(self) -> str:
        """Where an MLflow server that is started here keeps its records."""
        if self.mlflow_database:
            return self.mlflow_database.get_secret_value()
        return f"sqlite:///{self.home}/mlflow.db"

    @property
    def store(self) -> Path:
        """Data of an object store that is started here."""
        return self.home / "store"

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
            # In memory, as Prefect has it, a server that starts again ends the runs that hold a turn.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": f"{LEASES}.filesystem",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "stvd",
            "PREFECT_CLIENT_MAX_RETRIES": "6",  # 2, 4, 8 … s: two minutes without a server
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
            **RETENTION,
        }
        if self.prefect_api_url:
            values["PREFECT_API_URL"] = self.prefect_api_url
        if self.prefect_login:
            values["PREFECT_API_AUTH_STRING"] = self.prefect_login.get_secret_value()
        if self.mlflow_password:
            values["MLFLOW_TRACKING_USERNAME"] = self.mlflow_user
            values["MLFLOW_TRACKING_PASSWORD"] = self.mlflow_password.get_secret_value()
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
