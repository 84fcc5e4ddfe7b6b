"""Real servers for the whole flow: Prefect's test harness, and MLflow on SQLite."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from fault_proxy import FaultProxy, fault_proxy
from s3_server import KEY, SECRET, S3Server, login

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401  says to Prefect where its home is

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server of its own, ended by its process group."""
    from mlflow import set_tracking_uri

    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    url = f"http://127.0.0.1:{port}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", (folder / "artifacts").as_uri()),
            ],
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"{url}/health"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "MLflow did not start in 180 s"
            time.sleep(0.2)
        set_tracking_uri(url)
        yield url
    finally:
        set_tracking_uri("")
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corner of the demo's record: 4 x 8 coarse cells, 32 x 64 fine ones, 20 frames."""
    return _corner(tmp_path_factory.mktemp("data") / "corner.nc", range(20))


@pytest.fixture(scope="session")
def later_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same corner in the 20 frames after."""
    return _corner(tmp_path_factory.mktemp("data") / "later.nc", range(20, 40))


def _corner(path: Path, frames: range) -> Path:
    with xr.open_dataset(ROOT / "data" / "demo_gcm.nc", decode_times=False) as whole:
        names = ["pr", "orog", "land_fraction", "pr_coarse", "prw", "time_bnds"]
        part = whole[names].isel(
            time=slice(frames.start, frames.stop),
            lat_c=slice(4, 8),
            lon_c=slice(4, 12),
            lat=slice(32, 64),
            lon=slice(32, 96),
        )
        part.to_netcdf(path)
    return path


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with a bucket `tests`."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the S3 server, and its address and credentials in the environment."""
    with fault_proxy(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        login(monkeypatch, KEY, SECRET)
        yield proxy
