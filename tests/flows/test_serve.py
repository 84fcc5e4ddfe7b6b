"""What a container runs: the service of the stack, on the address that it is told."""

from pathlib import Path

import pytest

from flows.serve import environment, service
from flows.settings import Settings
from flows.stack_services import StackError
from flows.stack_store import keys


@pytest.fixture
def everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STVD_RUNS", str(tmp_path))
    monkeypatch.setenv("STVD_HOST", "0.0.0.0")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "given")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "correct-horse")
    return Settings()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prefect", ["--host 0.0.0.0", "--port 4200"]),
        ("mlflow", ["--host 0.0.0.0", "--port 5000", "--app-name basic-auth"]),
        ("store", ["-s3.ip.bind=0.0.0.0", "-s3.port=8333", "-ip.bind=127.0.0.1"]),
        ("worker", ["--work-queue default", "--with-healthcheck", "--no-create-pool-if-not-found"]),
    ],
)
def test_a_service_listens_where_it_is_told(
    everywhere: Settings, name: str, options: list[str]
) -> None:
    command = " ".join(service(name, everywhere).command)
    assert all(option in command for option in options), command
    assert "secret" not in command
    assert "correct-horse" not in command


def test_a_worker_tells_its_health_where_it_is_asked(everywhere: Settings) -> None:
    made = environment(service("worker", everywhere, "low"), everywhere)
    assert made["PREFECT_WORKER_WEBSERVER_HOST"] == "0.0.0.0"


def test_the_store_takes_the_keys_of_the_environment(
    everywhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service("store", everywhere)
    assert keys(everywhere) == ("given", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rotated")
    service("store", Settings())
    assert keys(everywhere) == ("given", "rotated")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StackError, match="AWS_SECRET_ACCESS_KEY"):
        service("store", Settings())


def test_an_unknown_service_is_named(everywhere: Settings) -> None:
    with pytest.raises(StackError, match="no service 'prefekt': one of prefect, mlflow"):
        service("prefekt", everywhere)
