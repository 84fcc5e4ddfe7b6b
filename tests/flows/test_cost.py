import json

import pytest
from typer.testing import CliRunner

from flows.cli import app

runner = CliRunner()


def test_cost_of_a_preset_as_json():
    shown = runner.invoke(
        app,
        [
            "info",
            "--preset",
            "tiny",
            "--json",
            "--size",
            "16",
            "24",
            "--frames",
            "2",
            "--inputs",
            "3",
        ],
    )
    found = json.loads(shown.output)
    assert (found["preset"], found["inputs"], found["frames"]) == ("tiny", 3, 2)
    assert found["size"] == [16, 24]
    assert set(found["parameters"]) == {"mean", "denoiser", "total"}
    assert set(found["flops"]) == {"mean", "denoiser", "sample", "training_step"}
    assert set(found["memory"]) == {
        *("weights", "sample"),
        *("training_step", "training_step_recompute"),
    }


def test_a_sample_costs_what_its_calls_do():
    flops = {}
    for calls in (2, 10):
        asked = f"info --preset tiny --size 16 16 --calls {calls} --json".split()
        found = json.loads(runner.invoke(app, asked).output)
        assert found["network_calls"] == calls
        flops[calls] = found["flops"]["sample"]
    assert flops[10] - flops[2] == 8 * found["flops"]["denoiser"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--json", "go with --preset"),
        ("--calls 3", "go with --preset"),
        ("gcm_demo --preset tiny", "a record or a preset, not both"),
        ("--preset stvd-1 --frames 5", "window = 1, not 5"),
        ("--preset nano", "no preset 'nano'"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message):
    shown = runner.invoke(app, ["info", *arguments.split()])
    assert shown.exit_code == 1
    assert message in shown.output
