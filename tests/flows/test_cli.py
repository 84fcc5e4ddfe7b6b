"""The command line as a newcomer meets it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app

COMMANDS = (
    *("demo", "stack", "simulate", "train", "downscale"),
    *("backfill", "nightly", "diagnose", "products", "quarantine", "info"),
)
runner = CliRunner()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    shown = runner.invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"• stvd {command}" in shown.output


@pytest.mark.parametrize("command", ["list", "register", "evaluate", "promote"])
def test_help_on_models_has_an_example(command: str) -> None:
    shown = runner.invoke(app, ["models", command, "--help"])
    assert shown.exit_code == 0
    assert f"• stvd models {command}" in shown.output


def test_no_command_shows_where_to_start() -> None:
    assert "Start with stvd demo" in runner.invoke(app, []).output


def test_records_are_listed() -> None:
    shown = runner.invoke(app, ["info"])
    assert "gcm_demo" in shown.output
    assert "gcm_demo_truth" not in shown.output


def test_a_record_is_described() -> None:
    shown = runner.invoke(app, ["info", "gcm_demo"])
    assert "2000-07-05T00:00:00/2000-07-12T12:00:00" in shown.output
    assert "60 of 10800 s" in shown.output


def test_an_error_is_a_sentence_and_a_status() -> None:
    shown = runner.invoke(app, ["info", "nowhere"])
    assert shown.exit_code == 1
    assert "no catalog has a source 'nowhere'" in shown.output
    assert "Traceback" not in shown.output


def test_a_dry_run_prints_the_plan(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", str(tiny_checkpoint), "--product", str(tmp_path / "p")]
    shown = runner.invoke(app, ["backfill", "--dry-run", "--cell-frames", "30", *options])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("run") >= 2
    assert not (tmp_path / "p").exists()
