"""A challenger is scored against the champion, and takes its place if it is better."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import Seed, Solver, Steps, find_source
from flows.settings import Settings
from stvd.promotion import Verdict
from tasks.promotion import Scoring, contenders, decide, score


@flow(name="evaluate", flow_run_name="{model}")
def evaluate(
    data: Annotated[list[str], Field(min_length=1)],
    model: str = "stvd-gcm",
    frames: str | None = None,
    members: Annotated[int, Field(ge=2, le=1000)] = 10,
    seed: Seed = 0,
    steps: Steps | None = None,
    solver: Solver | None = None,
    conserve: bool = True,
    dry_run: bool = False,
) -> Verdict | None:
    """Score the challenger of a model against its champion, and promote it if it deserves it.

    It has to have a lower fair CRPS, with the whole 90% interval of the ratio, and a spread–skill ratio
    of 0.9 to 1.1 on every record. If not, the reasons are in an artifact here and with the version in
    MLflow. Without a challenger there is nothing to do.

    Args:
        data: Held-out records with truth, which neither has seen; names in the catalogs, or data files.
        model: Registered model, e.g. stvd-gcm.
        frames: Frames of each record to score, e.g. 0:40. Left empty, all.
        members: Size of both ensembles.
        seed: Of the noise of both.
        steps: Network calls a sample. Left empty, as the model says.
        solver: How a sample is drawn, dpmpp2m_sde, dpmpp2m or ddim. Left empty, as the model says.
        conserve: Keep the mean of each coarse cell as it is in the source.
        dry_run: Score and say, and leave the alias where it is.
    """
    settings = Settings()
    asked = {"solver": solver, "steps": steps, "conserve": conserve}
    how = Scoring(
        sources=tuple(find_source(name, settings) for name in data),
        frames=frames,
        members=members,
        seed=seed,
        asked=asked,
        device=settings.device,
    )
    who = contenders(model)
    if who is None:
        return None
    verdict = score(who, how, str(settings.models))
    decide(who, verdict, dry_run=dry_run)
    return verdict
