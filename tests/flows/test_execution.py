"""The command that a failure tells is what its flow run was given."""

import shlex

import typer
from typer.main import get_command

from flows.cli import app
from flows.execution import command


def parsed(words: list[str]) -> dict[str, object]:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    downscale = group.commands[words[0]]
    return dict(downscale.make_context(words[0], words[1:]).params)


def test_a_command_gives_its_parameters_back():
    parameters = {
        "partition": "000005-000010_m000-002",
        "source": "/data/my record.nc",
        "replace": True,
        "windows": "overlapping",
        "cell_frames": 5,
        "product": "s3://rain/products/europe",
        "checkpoint": "checkpoints/gcm",
        "members": 2,
        "seed": 7,
        "steps": 3,
        "solver": "ddim",
        "conserve": False,
    }
    name, *words = shlex.split(command(parameters))
    assert name == "stvd"
    assert parsed(words) == parameters


def test_what_is_left_out_takes_its_default():
    given = {"partition": "000005-000010_m000-002", "replace": False, "windows": None}
    _, *words = shlex.split(command(given))
    assert words == ["downscale", "000005-000010_m000-002"]
    assert parsed(words)["replace"] is False
