"""What is said of a plan after it ran."""

from stvd.lattice import TimeAxis
from stvd.partition import Partition, Planned
from tasks.planning import PartitionsFailed, Summary, artifact_key, summarise

AXIS = TimeAxis(epoch="2000-01-01", step_seconds=10_800)


def planned(cell: int, action: str) -> Planned:
    frames = range(10 * cell, 10 * cell + 10)
    partition = Partition(source="gcm", frames=frames, members=range(2))
    return Planned(partition=partition, action=action, reason="because")


class Production:
    product, name = "/products/Rain v1", "Rain v1"


def test_every_partition_is_counted_once(monkeypatch) -> None:
    monkeypatch.setattr("tasks.planning.create_markdown_artifact", lambda *_, **__: None)
    plan = [planned(0, "skip"), planned(1, "run"), planned(2, "run"), planned(3, "wait")]
    done = {plan[1].partition.id: None, plan[2].partition.id: "no such file"}
    summary = summarise.fn(Production, plan, done)
    assert str(summary) == "1 published, 1 already there, 1 waiting for input, 1 failed"
    assert summary.failed == {"000020-000030_m000-002": "no such file"}


def test_a_dry_run_counts_what_would_run(monkeypatch) -> None:
    monkeypatch.setattr("tasks.planning.create_markdown_artifact", lambda *_, **__: None)
    assert (
        str(summarise.fn(Production, [planned(0, "run"), planned(1, "replace")], {})) == "2 to run"
    )


def test_the_error_names_each_failure_and_the_remedy() -> None:
    summary = Summary(product="p", published=("a",), failed={"b": "bad units", "c": "no disk"})
    text = str(PartitionsFailed(summary))
    assert "2 partitions of p failed (1 published, 2 failed)" in text
    assert "- b: bad units" in text
    assert "same command again" in text


def test_a_failure_is_shown_with_the_command_that_runs_it_again(monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        "tasks.planning.create_markdown_artifact", lambda text, **_: shown.append(text)
    )
    plan = [planned(1, "run"), planned(2, "run"), planned(3, "stale")]
    first, second = (item.partition.id for item in plan[:2])
    done = {first: None, second: "no | such file"}
    summary = summarise.fn(Production, plan, done, {second: "stvd downscale again"})
    assert f"| `{second}` | no \\| such file | `stvd downscale again` |" in shown[0]
    assert "| `000030-000040_m000-002` | because |" in shown[0]
    assert "  again: stvd downscale again" in str(PartitionsFailed(summary))


def test_keys_of_artifacts_are_what_prefect_takes() -> None:
    assert artifact_key("plan", Production) == "plan-rain-v1"
