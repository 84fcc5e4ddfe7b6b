"""Which partitions to run, shown before they run, and what became of them."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import partial

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict

from stvd.estimate import size
from stvd.generate import changed_today, fingerprint_today
from stvd.partition import Mode, Planned
from stvd.production import Production
from tasks.retry import PATIENTLY

log = logging.getLogger("stvd.planning")

SHOWN = 500  # rows of a table that a page still takes


class Summary(BaseModel):
    """What became of a plan, by partition id.

    Parameters
    ----------
    planned : were to run and did not, as in a dry run or after a cancellation
    retry : the command that runs a failed partition again
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    planned: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    retry: dict[str, str] = {}

    def __str__(self) -> str:
        counts = {
            "to run": self.planned,
            "published": self.published,
            "already there": self.standing,
            "waiting for input": self.waiting,
            "stale": self.stale,
            "failed": self.failed,
        }
        return ", ".join(f"{len(ids)} {what}" for what, ids in counts.items() if ids) or "nothing"


class PartitionsFailed(RuntimeError):
    """Some partitions failed; the others went on. Names each, its error and how to retry it."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        lines = []
        for partition, error in summary.failed.items():
            lines.append(f"- {partition}: {error}")
            if partition in summary.retry:
                lines.append(f"  again: {summary.retry[partition]}")
        super().__init__(
            f"{len(summary.failed)} partitions of {summary.product} failed ({summary}):\n"
            + "\n".join(lines)
            + "\nThe same command again runs these and no others."
        )


@task(name="plan", **PATIENTLY)
def plan(
    production: Production,
    start: str | None,
    end: str | None,
    mode: Mode,
    *,
    recheck: int | None = None,
    at_once: int = 1,
) -> list[Planned]:
    """Decide what to do, and show it and what it will cost as an artifact.

    Parameters
    ----------
    recheck : in mode missing, report as stale what another model or sampler made, and of so many
        published partitions, the last ones in time, whose input differs; None looks at nothing
    at_once : partitions that will be sampled side by side, for the finishing time
    """
    look = None if mode == "missing" and not recheck else partial(fingerprint_today, production)
    planned = production.plan(
        start=start,
        end=end,
        mode=mode,
        fingerprint_of=look if mode != "replace" else None,
        changed=changed_today(production) if mode == "stale" or recheck is not None else None,
        recheck=recheck if mode == "missing" else None,
    )
    estimate = production.estimate(planned)
    told = estimate.sentence(datetime.now(UTC), at_once)
    shown = sorted(planned, key=lambda item: not item.runs)[:SHOWN]
    rows = [
        {
            "partition": item.partition.id,
            "action": item.action,
            "reason": item.reason,
            "period": str(production.axis.period(item.partition.frames)),
            "device-hours": _rounded(estimate.seconds.get(item.partition.id), 3600),
            "size": size(estimate.nbytes[item.partition.id])
            if estimate.nbytes and item.runs
            else "",
        }
        for item in shown
    ]
    left_out = f", the first {SHOWN} of them below" if len(planned) > SHOWN else ""
    create_table_artifact(
        rows,
        key=artifact_key("plan", production),
        description=f"Plan for {production.product}, {len(planned)} partitions{left_out}: {told}",
    )
    log.info("%s: %s", production.name, told)
    return planned


@task(name="prepare", **PATIENTLY)
def prepare(production: Production, planned: list[Planned]) -> None:
    """Make the product and its time axis ready for a plan, before its partitions run."""
    production.prepare(planned)


@task(name="summarise", **PATIENTLY)
def summarise(
    production: Production,
    planned: list[Planned],
    done: dict[str, str | None],
    retry: dict[str, str] | None = None,
) -> Summary:
    """Count what became of a plan, and show it as an artifact.

    Parameters
    ----------
    done : the error of each partition that was run, None where there was none
    retry : the command that runs each failed partition again
    """
    summary = Summary(
        product=production.product,
        planned=tuple(i.partition.id for i in planned if i.runs and i.partition.id not in done),
        published=tuple(p for p, e in done.items() if e is None),
        standing=_ids(planned, "skip"),
        waiting=_ids(planned, "wait"),
        stale=_ids(planned, "stale"),
        failed={p: e for p, e in done.items() if e is not None},
        retry=retry or {},
    )
    create_markdown_artifact(
        "\n\n".join([f"# {production.name}: {summary}", *_failures(summary), *_stale(planned)]),
        key=artifact_key("summary", production),
        description=f"{production.name}: {summary}",
    )
    return summary


def artifact_key(kind: str, production: Production) -> str:
    """Prefect's keys hold lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{production.name}".lower()).strip("-")


def _failures(summary: Summary) -> list[str]:
    """Each failed partition, its error and the command that runs it again."""
    if not summary.failed:
        return []
    rows = [
        f"| `{partition}` | {_cell(error)} | `{_cell(summary.retry.get(partition, ''))}` |"
        for partition, error in summary.failed.items()
    ]
    return [
        "\n".join(["| failed | error | again |", "| --- | --- | --- |", *rows]),
        "The same run again tries these and no others.",
    ]


def _stale(planned: list[Planned]) -> list[str]:
    """Each published partition whose inputs have changed."""
    rows = [f"| `{i.partition.id}` | {_cell(i.reason)} |" for i in planned if i.action == "stale"]
    return ["\n".join(["| stale | |", "| --- | --- |", *rows[:SHOWN]])] if rows else []


def _ids(planned: list[Planned], action: str) -> tuple[str, ...]:
    return tuple(item.partition.id for item in planned if item.action == action)


def _rounded(seconds: float | None, unit: float) -> float | str:
    return "" if seconds is None else float(f"{seconds / unit:.2g}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
