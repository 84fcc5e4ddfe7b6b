"""Making an empty product."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import icechunk

from stvd.product.branch import REF_ERRORS
from stvd.product.errors import ProductError, ProductNotFound
from stvd.product.metadata import Static
from stvd.product.spec import ProductSpec
from stvd.product.storage import MAIN, Location, draft_beside
from stvd.product.template import CELLS_A_MANIFEST, write_template


def create(location: Location, spec: ProductSpec, static: dict[str, Static]) -> None:
    """Make an empty product; in a local folder it appears whole or not at all.

    Raises
    ------
    FileExistsError
        If another process was faster.
    ProductError
        If something else is in the way.
    """
    if location.path is None:
        _fill(location, spec, static)
        return
    draft = draft_beside(location.path)
    try:
        _fill(location.model_copy(update={"path": draft}), spec, static)
        os.rename(draft, location.path)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if icechunk.Repository.exists(location.storage()):
            raise FileExistsError(location.uri) from error
        raise ProductError(
            f"No product can be made at {location.uri}: {error.strerror or error}. "
            "Name a new or empty folder."
        ) from error


def _fill(location: Location, spec: ProductSpec, static: dict[str, Static]) -> None:
    """Make a repository, if there is none, and the arrays of an empty product."""
    try:
        repo = icechunk.Repository.create(location.storage(), _config(spec))
    except icechunk.IcechunkError as error:
        try:
            repo = location.open()
        except ProductNotFound:
            raise ProductError(
                f"No product can be made at {location.uri}: something else is there ({error}). "
                "Name another prefix."
            ) from error
    session = repo.writable_session(MAIN)
    if len(list(repo.ancestry(snapshot_id=session.snapshot_id))) > 1:  # not the empty beginning
        raise FileExistsError(location.uri)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    write_template(session.store, spec, static, now, _version())
    try:
        session.commit(f"create {spec.name}", metadata={"created": now})
    except REF_ERRORS as error:
        raise FileExistsError(location.uri) from error


def _config(spec: ProductSpec) -> icechunk.RepositoryConfig:
    """Manifests are cut along time, so that a commit rewrites its own stretch of them alone."""
    assert spec.shards is not None
    shards = CELLS_A_MANIFEST * spec.cell_frames // spec.shards[0]
    condition, dimension = icechunk.ManifestSplitCondition, icechunk.ManifestSplitDimCondition
    sizes = {
        condition.name_matches("^pr$"): {dimension.DimensionName("time"): shards},
        condition.AnyArray(): {
            dimension.DimensionName("^(time|cell)$"): CELLS_A_MANIFEST,
        },
    }
    return icechunk.RepositoryConfig(
        manifest=icechunk.ManifestConfig(
            splitting=icechunk.ManifestSplittingConfig.from_dict(sizes)  # type: ignore[arg-type]
        )
    )


def _version() -> str:
    try:
        return version("stvd")
    except PackageNotFoundError:
        return "unknown"
