"""A challenger against the champion: both scored on held-out records, one of them made champion."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from stvd.checkpoint import Checkpoint
from stvd.diagnostics.evaluation_figures import figures
from stvd.engine import Engine
from stvd.evaluation import Evaluation, evaluate
from stvd.event_file import read_source
from stvd.fingerprint import fingerprint
from stvd.promotion import LEAST_RIVAL, Match, Verdict, judge, match, require_held_out
from stvd.score_tables import flatten
from stvd.source import Source
from tasks.progress import reporting_each
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    Version,
    annotate,
    at_alias,
    fetch,
    promote,
    resolve,
)
from tasks.retry import PATIENTLY
from tasks.tracking import Run, tracked

log = logging.getLogger("stvd.promotion")


class Contenders(BaseModel):
    """Who is compared; without a champion the challenger has to beat the interpolation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    challenger: Version
    champion: Version | None

    @property
    def rival(self) -> str:
        return CHAMPION if self.champion else LEAST_RIVAL


class Scoring(BaseModel):
    """How contenders are scored, the same for both; each is sampled as it says itself but for `asked`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Source, ...]
    frames: str | None
    members: int
    seed: int
    asked: dict[str, Any]
    device: str


@task(name="contenders", **PATIENTLY)
def contenders(model: str) -> Contenders | None:
    """The challenger and the champion of a model; None, and said, where nobody challenges."""
    challenger = at_alias(model, CHALLENGER)
    if challenger is None:
        said = f"{model} has no challenger: `stvd train` and `stvd models register` make one"
        log.info("%s", said)
        create_markdown_artifact(said, description=f"Evaluation of {model}")
        return None
    return Contenders(challenger=challenger, champion=at_alias(model, CHAMPION))


@task(name="score")
def score(who: Contenders, how: Scoring, models: str) -> Verdict:
    """Score both contenders on every held-out record, and judge; all of it kept in MLflow.

    Parameters
    ----------
    models : folder of fetched checkpoints
    """
    challenger = Checkpoint.load(fetch(who.challenger, Path(models)))
    champion = Checkpoint.load(fetch(who.champion, Path(models))) if who.champion else None
    rivals = {} if champion is None else {CHAMPION: champion}
    for source in how.sources:
        require_held_out(source.name, [challenger, *rivals.values()])
    with _run(who, how) as run:
        run.parameters(how.model_dump(mode="json", exclude={"sources", "device"}))
        matches = []
        for source in how.sources:
            found = _score_record(challenger, rivals, source, how)
            matches.append(match(found, who.rival))
            _keep(run, found, matches[-1])
        verdict = judge(who.rival, matches)
        run.metrics({"crps_ratio": verdict.ratio.value, "passed": verdict.passed})
        run.record(verdict.model_dump(mode="json"), "verdict.json")
        run.text(report(who, verdict), "verdict.md")
        create_link_artifact(run.url, link_text="MLflow run", description=str(who.challenger.uri))
    return verdict


@task(name="decide", **PATIENTLY)
def decide(who: Contenders, verdict: Verdict, *, dry_run: bool) -> bool:
    """Move the alias `champion` to a challenger that passed, or say why not; whether it moved."""
    text = report(who, verdict)
    moves = verdict.passed and not dry_run
    if moves:
        promote(
            who.challenger, expected=who.champion, why=f"better than {verdict.rival}, calibrated"
        )
    tags = {
        "stvd.verdict": "promoted" if moves else "passed" if verdict.passed else "refused",
        "stvd.objections": "; ".join(verdict.objections) or "none",
        "stvd.crps_ratio": verdict.ratio,
        "stvd.evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    annotate(who.challenger, tags, text)
    create_markdown_artifact(text, description=f"Evaluation of {who.challenger.uri}")
    log.info("%s: %s", who.challenger.uri, tags["stvd.verdict"])
    for objection in verdict.objections:
        log.info("%s", objection)
    return moves


@task(name="appoint", **PATIENTLY)
def appoint(uri: str, why: str) -> Version:
    """Make a version champion because somebody says so, for example to roll back."""
    version = resolve(uri)
    promote(version, expected=at_alias(version.name, CHAMPION), why=why)
    log.info("%s is champion of %s", version.uri, version.name)
    create_markdown_artifact(
        f"`{version.uri}` is champion of `{version.name}`: {why}",
        description=f"Champion of {version.name}",
    )
    return version


def report(who: Contenders, verdict: Verdict) -> str:
    """A verdict in Markdown."""
    rival = (
        who.champion.uri
        if who.champion
        else f"{LEAST_RIVAL} interpolation, as there is no champion"
    )
    said = "\n".join(f"- {o}" for o in verdict.objections) or "- none"
    rows = "\n".join(
        f"| {m.record} | {m.period} | {m.crps:.4g} | {m.rival_crps:.4g} | {m.ratio} "
        f"| {'' if m.spread_skill is None else f'{m.spread_skill:.3f}'} |"
        for m in verdict.matches
    )
    return (
        f"`{who.challenger.uri}` against {rival}: "
        f"**{'better and calibrated' if verdict.passed else 'not to be promoted'}**. "
        f"Fair CRPS over the other's, all records: {verdict.ratio}.\n\n"
        "| held-out record | period | fair CRPS, kg m⁻² s⁻¹ | of the other | ratio (90%) | spread–skill |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\nObjections:\n\n{said}"
    )


def _run(who: Contenders, how: Scoring) -> AbstractContextManager[Run]:
    """The MLflow run of a comparison; the same one compared in the same way again writes it again."""
    champion = who.champion.digest if who.champion else None
    key = fingerprint(
        challenger=who.challenger.digest,
        champion=champion,
        scoring=how.model_dump(mode="json", exclude={"device"}),
    )
    return tracked(
        experiment="evaluation",
        name=f"{who.challenger.name} {who.challenger.version} against {who.rival}",
        key=f"evaluate {key}",
        tags={
            "stvd.kind": "evaluation",
            "stvd.model": who.challenger.name,
            "stvd.challenger": who.challenger.uri,
            "stvd.champion": who.champion.uri if who.champion else "none",
        },
    )


def _score_record(
    challenger: Checkpoint, rivals: dict[str, Checkpoint], source: Source, how: Scoring
) -> Evaluation:
    with reporting_each() as progress:
        return evaluate(
            challenger,
            read_source(source, frames=how.frames),
            members=how.members,
            seed=how.seed,
            sampler=how.asked,
            engine=Engine.model_validate({"device": how.device}),
            systems=("stvd", *rivals, LEAST_RIVAL),
            rivals=rivals,
            progress=lambda system, done, total: progress(f"{source.name}, {system}", done, total),
        )


def _keep(run: Run, found: Evaluation, result: Match) -> None:
    """Scores, ratio and figures of a record."""
    metrics = {
        f"{CHALLENGER if system == 'stvd' else system}/{result.record}/{name}": value
        for system, scores in found.scores.items()
        for name, value in flatten(scores).items()
    }
    metrics[f"crps_ratio/{result.record}"] = result.ratio.value
    run.metrics(metrics)
    run.record(found.document(), f"{result.record}/scores.json")
    for name, figure in figures(found).items():
        run.figure(figure, f"{result.record}/{name}.png")
