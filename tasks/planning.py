"""Which partitions to run, shown before they run, and what became of them."""

from __future__ import annotations

import re
from functools import partial

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict

from stvd.generate import fingerprint_today
from stvd.partition import Mode, Planned
from stvd.production import Production
from tasks.retry import PATIENTLY

SHOWN = 500  # rows of a table that a page still takes


class Summary(BaseModel):
    """What became of a plan, by partition id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    planned: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    failed: dict[str, str] = {}

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
        lines = [f"- {partition}: {error}" for partition, error in summary.failed.items()]
        super().__init__(
            f"{len(summary.failed)} partitions of {summary.product} failed ({summary}):\n"
            + "\n".join(lines)
            + "\nThe same command again runs these and no others."
        )


@task(name="plan", **PATIENTLY)
def plan(production: Production, start: str | None, end: str | None, mode: Mode) -> list[Planned]:
    """Decide what to do, and show it as an artifact."""
    look = partial(fingerprint_today, production) if mode == "stale" else None
    planned = production.plan(start=start, end=end, mode=mode, fingerprint_of=look)
    rows = [
        {
            "partition": item.partition.id,
            "period": str(production.axis.period(item.partition.frames)),
            "action": item.action,
            "reason": item.reason,
        }
        for item in planned
    ]
    create_table_artifact(
        rows[:SHOWN],
        key=artifact_key("plan", production),
        description=f"Plan for {production.product}, {len(rows)} partitions",
    )
    return planned


@task(name="summarise")
def summarise(
    production: Production, planned: list[Planned], done: dict[str, str | None]
) -> Summary:
    """Count what became of a plan, and show it as an artifact.

    Parameters
    ----------
    done : the error of each partition that was run, None where there was none
    """
    summary = Summary(
        product=production.product,
        planned=tuple(i.partition.id for i in planned if i.runs and i.partition.id not in done),
        published=tuple(p for p, e in done.items() if e is None),
        standing=_ids(planned, "skip"),
        waiting=_ids(planned, "wait"),
        stale=_ids(planned, "stale"),
        failed={p: e for p, e in done.items() if e is not None},
    )
    failures = "".join(f"\n| `{p}` | {_cell(e)} |" for p, e in summary.failed.items())
    table = f"\n\n| failed | error |\n| --- | --- |{failures}" if failures else ""
    create_markdown_artifact(
        f"# {production.name}: {summary}{table}", key=artifact_key("summary", production)
    )
    return summary


def artifact_key(kind: str, production: Production) -> str:
    """Prefect's keys hold lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{production.name}".lower()).strip("-")


def _ids(planned: list[Planned], action: str) -> tuple[str, ...]:
    return tuple(item.partition.id for item in planned if item.action == action)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
