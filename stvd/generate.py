"""One partition, from its source to the product: check, identify, sample, commit.

Nothing here knows of Prefect or MLflow: a notebook calls `produce` as the flows do.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
import xarray as xr
from pydantic import BaseModel, ConfigDict

from stvd.allocation import in_less_memory, keep_freed_memory
from stvd.checkpoint import Card, Checkpoint
from stvd.contract import Finding
from stvd.downscale import downscale
from stvd.engine import BatchPlan, Engine
from stvd.fingerprint import digest_dataset, digest_parts, fingerprint
from stvd.partition import Partition
from stvd.plausibility import ImplausibleSample, coarse_at, doubts, require_possible
from stvd.product import AlreadyPublished, CommitRef, LedgerEntry, Product
from stvd.product.quarantine import FINDINGS, branch_of, quarantined
from stvd.product.turn import turn
from stvd.production import Production
from stvd.quality import check, cleaned, enforce
from stvd.sampling import SamplerConfig

RECORDED_PACKAGES = ("stvd", "torch", "numpy", "xarray", "zarr", "icechunk")


class Outcome(BaseModel):
    """What became of a partition.

    Parameters
    ----------
    published : False if it stood there already, with the same fingerprint
    snapshot : of the product, in which it appeared
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    partition: str
    fingerprint: str
    snapshot: str
    published: bool
    seconds: float


def examine(production: Production, partition: Partition) -> list[Finding]:
    """Check the input of a partition; what is found and tolerated.

    Raises
    ------
    QualityError
        If a finding stops the partition under the production's policy.
    CheckpointError
        If the model is not there or was altered.
    """
    policy = production.quality
    channels = Card.read(production.checkpoint).channels
    reads, grid = production.reads(partition), production.source.grid()

    def check_frames(frames: range) -> list[Finding]:
        return check(
            production.source.coarse(frames),
            grid,
            axis=production.axis,
            frames=frames,
            required=channels.variables,
            factor=channels.factor,
            policy=policy,
        )

    own = partition.frames
    findings = check_frames(own)
    for around in (range(reads.start, own.start), range(own.stop, reads.stop)):
        if around:
            found = [f for f in check_frames(around) if f not in findings]
            findings += [_of_neighbour(finding, partition) for finding in found]
    enforce(findings, policy)
    return findings


def _of_neighbour(finding: Finding, partition: Partition) -> Finding:
    """A finding on frames beside a partition, which says why it concerns the partition."""
    why = f"(The frame lies beside {partition.id}, whose windows reach it.)"
    return finding.model_copy(update={"remedy": f"{finding.remedy} {why}"})


def identity(production: Production, partition: Partition, card: Card) -> dict[str, Any]:
    """Everything that decides the numbers of a partition: the parts of its fingerprint."""
    coarse, grid = _input(production, partition), production.source.grid()
    return {
        "source": partition.source,
        "frames": partition.frames,
        "members": partition.members,
        "reads": production.reads(partition),
        "input": digest_dataset(coarse[list(card.channels.variables)]),
        "grid": digest_dataset(grid[["areacella", *card.channels.statics]]),
        # bfloat16 is not within the tolerance that another device or batch is
        "precision": Engine(device=production.device).resolve().precision,
        **_chosen(production, card),
    }


def _chosen(production: Production, card: Card) -> dict[str, Any]:
    """The parts of a fingerprint that are known without input and device."""
    return {
        "checkpoint": card.digest,
        "sampler": sampler(production),
        "seed": production.seed,
        "keepbits": production.keepbits,
    }


def fingerprint_today(production: Production, partition: Partition) -> str:
    """The fingerprint that the partition would have if it were sampled now."""
    return fingerprint(**identity(production, partition, Card.read(production.checkpoint)))


def changed_today(production: Production) -> Callable[[LedgerEntry], str]:
    """Tells of a published partition what has changed since, but for its input, which is not read.

    Returns
    -------
    function of a ledger entry; its answer is empty where model, sampler, seed and schema are the same
    """
    card = Card.read(production.checkpoint)
    today = digest_parts(_chosen(production, card))
    model = production.model_version or card.digest[:12]

    def changed(entry: LedgerEntry) -> str:
        then = entry.parts
        other = [name for name, now in today.items() if then.get(name, now) != now]
        return ", ".join(
            f"its model {_model(entry)} is {model} now"
            if name == "checkpoint"
            else f"its {name} {then[name]} is {today[name]} now"
            for name in other
        )

    return changed


def _model(entry: LedgerEntry) -> str:
    """The registered version that made a partition, else the digest of its checkpoint."""
    made = entry.provenance
    return str(made.get("model_version") or str(made.get("model_digest"))[:12])


def sampler(production: Production) -> SamplerConfig:
    return SamplerConfig(
        solver=production.solver,
        steps=production.steps,
        inflation=production.inflation,
        noise_correlation=production.noise_correlation,
        conserve=production.conserve,
        windows=production.spec.windows,
    )


def produce(
    production: Production,
    partition: Partition,
    *,
    replace: bool = False,
    origin: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Sample a partition and commit it to the product, or find that it is there.

    Parameters
    ----------
    replace : sample it anew whatever stands there, another fingerprint or a damaged partition
    origin : names of what asked for it, e.g. the flow run, for the provenance record
    progress : called with (network calls done, network calls in all)

    Raises
    ------
    FingerprintConflict
        If the partition stands with another fingerprint and `replace` is not set.
    ProductMismatch
        If the product was begun with another shape, grid or lattice.
    CheckpointError, ValueError
        If the model does not fit the source.
    ImplausibleSample
        If a sample cannot be rain over this input. Nothing is published then; what can be looked at
        is kept on a branch (`stvd.product.quarantine`), and sampled anew with `replace` alone.
    """
    start = time.perf_counter()
    card = Card.read(production.checkpoint)
    parts = identity(production, partition, card)
    key = fingerprint(**parts)
    product = Product.create_or_open(
        production.product,
        production.spec,
        production.source.grid(),
        storage=production.storage,
    )
    with turn(product.uri, partition.id, storage=production.storage):
        standing = product.ledger().get(partition.id)
        if standing is not None and standing.fingerprint == key and not replace:
            return _outcome(production, partition, key, standing.snapshot, False, start)
        held = quarantined(production.product, storage=production.storage)
        if (branch := branch_of(partition, key)) in held and not replace:
            raise _quarantine(product.uri, partition, branch, held[branch].findings)

        keep_freed_memory()
        engine = Engine(device=production.device).resolve()

        def sample(memory_gib: float) -> CommitRef:
            budgeted = engine.model_copy(update={"memory_gib": memory_gib})
            return _sample(
                production, partition, product, card, parts, budgeted, replace, origin, progress
            )

        try:
            reference = in_less_memory(sample, engine.memory_gib or 1.0)
        except AlreadyPublished:  # by another run, while this one sampled
            standing = product.ledger()[partition.id]
            return _outcome(production, partition, key, standing.snapshot, False, start)
        return _outcome(production, partition, key, reference.snapshot, True, start)


def _sample(
    production: Production,
    partition: Partition,
    product: Product,
    card: Card,
    parts: Mapping[str, Any],
    engine: Engine,
    replace: bool,
    origin: Mapping[str, str] | None,
    progress: Callable[[int, int], None] | None,
) -> CommitRef:
    start = time.perf_counter()
    checkpoint = _load(production.checkpoint, card.digest)
    coarse, grid = _input(production, partition), production.source.grid()
    key, digests = fingerprint(**parts), digest_parts(parts)
    plan: BatchPlan | None = None
    findings: list[str] = []
    with product.write(partition, key, replace=replace, parts=digests) as writer:
        for block in downscale(
            checkpoint,
            coarse,
            grid,
            frames=partition.frames,
            members=partition.members,
            seed=production.seed,
            sampler=sampler(production),
            engine=engine,
            progress=progress,
        ):
            when = production.axis.period(block.frames)
            require_possible(block.pr, str(when))
            found = doubts(
                block.pr,
                coarse_at(coarse, production.axis, block.frames),
                grid["areacella"].values,
                conserved=production.conserve,
                highest=production.quality.highest_sample,
            )
            findings += [f"{when}: {what}" for what in found]
            writer.put(block.frames, block.members, block.pr)
            plan = block.plan
        seconds = time.perf_counter() - start
        record = provenance(production, partition, parts, card, engine, plan, seconds)
        record |= dict(origin or {})
        if not findings:
            return writer.commit(record)
        branch = branch_of(partition, key)
        writer.set_aside(branch, record | {FINDINGS: findings})
        raise _quarantine(product.uri, partition, branch, tuple(findings))


def _quarantine(
    uri: str, partition: Partition, branch: str, findings: tuple[str, ...]
) -> ImplausibleSample:
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return ImplausibleSample(
        f"samples of {partition.id} are implausible: {findings[0]}{more}. They were not published; "
        f"they are on the branch {branch} of {uri}: `stvd quarantine {uri}` lists, releases and drops",
        findings,
        branch,
    )


def provenance(
    production: Production,
    partition: Partition,
    parts: Mapping[str, Any],
    card: Card,
    engine: Engine,
    plan: BatchPlan | None,
    seconds: float,
) -> dict[str, Any]:
    """Where the numbers of a partition come from and how they were computed."""
    return {
        "source": production.source.name,
        "model": card.name,
        "model_version": production.model_version,
        "model_digest": card.digest,
        "input_digest": parts["input"],
        "input_frames": [parts["reads"].start, parts["reads"].stop],
        "open_end": production.open_ended(partition),
        "seed": production.seed,
        "sampler": sampler(production).model_dump(mode="json"),
        "device": engine.device,
        "precision": engine.precision,
        "threads": torch.get_num_threads(),
        "batch": None if plan is None else asdict(plan),
        "packages": {name: version(name) for name in RECORDED_PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "seconds": round(seconds, 1),
    }


def _input(production: Production, partition: Partition) -> xr.Dataset:
    """The fields that are sampled from, with the repairs that the policy allows."""
    return cleaned(production.source.coarse(production.reads(partition)), production.quality)


@lru_cache(maxsize=1)
def _load(folder: str, digest: str) -> Checkpoint:
    """A model is read once for all the partitions of a process; another digest is another model."""
    return Checkpoint.load(folder)


def _outcome(
    production: Production,
    partition: Partition,
    key: str,
    snapshot: str,
    published: bool,
    start: float,
) -> Outcome:
    return Outcome(
        product=production.product,
        partition=partition.id,
        fingerprint=key,
        snapshot=snapshot,
        published=published,
        seconds=round(time.perf_counter() - start, 2),
    )
