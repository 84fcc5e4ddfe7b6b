"""The form that the Prefect UI builds from a flow: every field described, with bounds and choices."""

import pytest

from flows.backfill import backfill
from flows.demo import demo
from flows.diagnose import diagnose
from flows.downscale import downscale
from flows.evaluate import evaluate
from flows.nightly import nightly
from flows.promote import promote
from flows.register import register
from flows.train import train

FLOWS = [
    *(backfill, demo, diagnose, downscale, evaluate),
    *(nightly, promote, register, train),
]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_field_is_described_and_flat(flow) -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(flow)
    for name, field in schema.properties.items():
        assert field.get("description"), f"{flow.name}: {name} has no description"
        assert "$ref" not in field, f"{flow.name}: {name} is nested"
    assert not schema.definitions


def test_the_form_knows_bounds_and_choices() -> None:
    from prefect.utilities.callables import parameter_schema

    fields = parameter_schema(backfill).properties
    assert (fields["members"]["minimum"], fields["members"]["maximum"]) == (1, 1000)
    assert fields["mode"]["enum"] == ["missing", "stale", "replace"]
    assert fields["source"]["default"] == "gcm_demo"


@pytest.mark.parametrize(
    "name",
    [
        *("source", "product", "checkpoint", "members", "seed"),
        *("steps", "solver", "conserve", "windows", "cell_frames"),
    ],
)
def test_what_flows_share_is_the_same_in_their_forms(name: str) -> None:
    from prefect.utilities.callables import parameter_schema

    shown = [parameter_schema(flow).properties[name] for flow in (backfill, nightly, downscale)]
    first, *others = [{k: v for k, v in field.items() if k != "position"} for field in shown]
    assert all(other == first for other in others)


def test_wrong_parameters_are_refused_before_anything_runs() -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError, match="members"):
        backfill.validate_parameters({"members": 0})
    with pytest.raises(ParameterTypeError, match="solver"):
        backfill.validate_parameters({"solver": "euler"})


@pytest.mark.parametrize(
    ("start", "taken"),
    [
        ("2001-02-03", True),
        ("2001-02-30", True),
        ("2001", True),
        ("03.02.2001", False),
        ("soon", False),
    ],
)
def test_the_server_takes_dates_of_any_calendar_and_nothing_else(start: str, taken: bool) -> None:
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools.validation import validate

    schema = parameter_schema(backfill).model_dump_for_openapi()
    assert (validate({"start": start}, schema) == []) is taken
