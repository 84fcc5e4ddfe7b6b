"""Settings: defaults that work in a fresh clone, and one reader of the environment."""

import ast
from pathlib import Path
from typing import Any

import pytest

from flows.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "STVD_RUNS", "STVD_PRODUCTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_files_under_runs(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert settings.product_uri("rain") == f"{tmp_path}/runs/products/rain"
    assert settings.environment()["PREFECT_HOME"] == f"{tmp_path}/runs/prefect"
    assert "PREFECT_API_URL" not in settings.environment()


def test_a_bucket_is_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVD_PRODUCTS", "s3://rain/products/")
    assert Settings().product_uri("europe") == "s3://rain/products/europe"


@pytest.mark.parametrize("given", ["s3://rain/x", "file:///data/x"])
def test_a_uri_stays_as_it_is(given: str) -> None:
    assert Settings().product_uri(given) == given


def test_children_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVD_RUNS", "here")
    monkeypatch.setenv("STVD_QUALITY", '{"negative": "clip"}')
    exported = Settings().exported()
    assert exported["STVD_RUNS"] == str(tmp_path / "here")
    assert exported["STVD_QUALITY"] == '{"negative": "clip"}'
    assert "STVD_PRODUCTS" not in exported


def test_telemetry_is_off() -> None:
    environment = Settings().environment()
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["DO_NOT_TRACK"] == "1"


def test_nothing_below_flows_reads_the_environment() -> None:
    readers = []
    for file in [*(ROOT / "stvd").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
                readers.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert readers == []


def test_signing_in_is_one_variable_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD"} & set(
        Settings().environment()
    )
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:horse")
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "battery")
    environment = Settings().environment()
    assert environment["PREFECT_API_AUTH_STRING"] == "admin:horse"
    assert environment["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert environment["MLFLOW_TRACKING_PASSWORD"] == "battery"
    assert "horse" not in repr(Settings())
    assert "battery" not in repr(Settings())


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVD_FRESH_HOURS", "")
    monkeypatch.setenv("STVD_ALERT_URL", "")
    assert Settings().fresh_hours == {}
    assert Settings().alert_url is None


def test_a_product_is_sampled_as_its_model_says_unless_asked_otherwise(tmp_path: Path) -> None:
    from flows.parameters import production
    from stvd import generate
    from stvd.checkpoint import Checkpoint
    from stvd.production import Production
    from stvd.sampling import SolverChoice

    of = Checkpoint.load(ROOT / "checkpoints" / "gcm")
    folder = tmp_path / "model"
    choice = SolverChoice(solver="ddim", steps=7, inflation=1.04, noise_correlation=0.3)
    Checkpoint.create("model", of.network, of.channels, of.card.grid, {}, folder, choice)
    settings = Settings(catalog=str(ROOT / "catalogs" / "demo.yaml"))

    def made(**asked: Any) -> tuple[str, int, float, float | None]:
        how = generate.sampler(made_as(**asked))
        return how.solver, how.steps, how.inflation, how.noise_correlation

    def made_as(**asked: Any) -> Production:
        return production(
            source="gcm_demo",
            product="rain",
            checkpoint=str(folder),
            members=2,
            settings=settings,
            **asked,
        )

    assert made() == ("ddim", 7, 1.04, 0.3)
    assert made(steps=3) == ("ddim", 3, 1.04, 0.3)
    assert made(solver="dpmpp2m_sde") == ("dpmpp2m_sde", 7, 1.04, 0.3)
