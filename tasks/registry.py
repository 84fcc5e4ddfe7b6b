"""Registered checkpoints: versions in MLflow's model registry, found by number or alias.

A version is a folder of safetensors and JSON with its digest in a tag. There is nothing to unpickle: its
`MLmodel` says what goes in and out and names no Python. Of what a version keeps only known files are
fetched, and they are compared with the digest before anybody loads them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import get_tracking_uri
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from stvd.baselines.quantile_mapping import FILE as MAPPING
from stvd.checkpoint import CARD, WEIGHTS, CheckpointError, verify

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST, FILES = "stvd.digest", "stvd.files"
PROMOTED, REPLACED = "stvd.promoted", "stvd.replaced"
FOLDER, README = "checkpoint", "README.md"
KEPT = (CARD, WEIGHTS, MAPPING, README)
SCHEME = "models:/"
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_URI = re.compile(rf"{SCHEME}(?P<name>{NAME})(@(?P<alias>{NAME})|/(?P<version>\d+))")


class RegistryError(ValueError):
    """A model or version that is not in the registry, or was not put there by stvd."""


class Version(BaseModel):
    """A version of a registered model.

    Parameters
    ----------
    digest : of the checkpoint
    files : SHA-256 of each of its files
    aliases : that point at it
    promoted : why it became champion, where it did
    replaced : the version that was champion before it, where it became champion
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    digest: str
    files: dict[str, str]
    aliases: tuple[str, ...] = ()
    promoted: str | None = None
    replaced: str | None = None

    @property
    def uri(self) -> str:
        """Its address, which an alias that moves on leaves as it is."""
        return f"{SCHEME}{self.name}/{self.version}"


def resolve(uri: str) -> Version:
    """The version behind `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.

    Raises
    ------
    RegistryError
        If the address is none, or there is no such model, alias or version; it says what there is.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise RegistryError(
            f"{uri!r} is no registered model: write models:/NAME@ALIAS, e.g. models:/stvd-gcm@champion, "
            "or models:/NAME/NUMBER"
        )
    client, name = MlflowClient(), parts["name"]
    try:
        if parts["alias"]:
            return _version(client.get_model_version_by_alias(name, parts["alias"]))
        return _version(client.get_model_version(name, parts["version"]))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise RegistryError(f"{uri} is not in the registry: {_there_is(client, name)}") from None


def versions(name: str) -> list[Version]:
    """All versions of a model, the newest first.

    Raises
    ------
    RegistryError
        If there is no such model.
    """
    client = MlflowClient()
    aliases = _aliases(client, name) if re.fullmatch(NAME, name) else None
    if aliases is None:
        raise RegistryError(f"{name} is not in the registry: {_there_is(client, name)}")
    return [_version(v, aliases) for v in _search(client, name) if {DIGEST, FILES} <= {*v.tags}]


def at_alias(name: str, alias: str) -> Version | None:
    """The version of a model that has an alias, if one has."""
    return next((v for v in versions(name) if alias in v.aliases), None)


def fetch(version: Version, folder: Path) -> Path:
    """A local folder with the files of a version, compared with its digest.

    Parameters
    ----------
    folder : of all fetched checkpoints; one that lies there whole is not fetched again

    Raises
    ------
    CheckpointError
        If what the registry keeps is not the checkpoint of the digest that it was registered with.
    """
    place = folder / version.name / version.digest
    try:
        _check(place, version)
        return place
    except CheckpointError:
        shutil.rmtree(place, ignore_errors=True)  # not there, or damaged since
    place.parent.mkdir(parents=True, exist_ok=True)
    source = MlflowClient().get_model_version_download_uri(version.name, version.version)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as temporary:
        fetched = Path(temporary) / FOLDER
        fetched.mkdir()
        for file in version.files:  # and no others, whatever lies beside them
            _download(f"{source.rstrip('/')}/{file}", fetched, version)
        _check(fetched, version)
        try:
            os.rename(fetched, place)
        except OSError:  # another process was quicker
            _check(place, version)
    return place


def _check(folder: Path, version: Version) -> None:
    """Raise `CheckpointError` unless a folder holds what was registered, byte for byte."""
    for file, sha256 in version.files.items():
        if sha256_of(folder / file) != sha256:
            raise CheckpointError(
                f"{file} of {version.uri} is not the file that was registered: restore the artifacts, "
                "or register the checkpoint again"
            )
    verify(folder, version.digest)


def _download(uri: str, folder: Path, version: Version) -> None:
    try:
        download_artifacts(artifact_uri=uri, dst_path=str(folder))
    except (OSError, MlflowException) as error:
        raise CheckpointError(f"{version.uri} cannot be fetched from {uri}: {error}") from error


def sha256_of(path: Path) -> str | None:
    """Digest of a file; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def promote(version: Version, *, expected: Version | None, why: str) -> None:
    """Make a version the champion.

    Parameters
    ----------
    expected : the champion that it was compared with
    why : in words, kept with the version

    Raises
    ------
    RegistryError
        If another version has become champion meanwhile.
    """
    client, name = MlflowClient(), version.name
    champion = at_alias(name, CHAMPION)
    if champion is None or champion.version != version.version:
        if (champion and champion.version) != (expected and expected.version):
            now = f"version {champion.version}" if champion else "none"
            raise RegistryError(
                f"{version.uri} was compared with another champion than there is now, {now}: "
                "evaluate again"
            )
        annotate(version, {PROMOTED: why} | ({REPLACED: champion.version} if champion else {}))
        client.set_registered_model_alias(name, CHAMPION, version.version)
    challenger = at_alias(name, CHALLENGER)
    if challenger is not None and challenger.version == version.version:
        client.delete_registered_model_alias(name, CHALLENGER)


def annotate(version: Version, tags: dict[str, Any], section: str | None = None) -> None:
    """Set tags of a version and replace the section `Evaluation` of its description."""
    client = MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(version.name, version.version, key, str(value))
    if section is not None:
        heading = "\n## Evaluation\n"
        text = client.get_model_version(version.name, version.version).description or ""
        text = f"{text.split(heading)[0].rstrip()}\n{heading}\n{section}\n"
        client.update_model_version(version.name, version.version, description=text)


def _search(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The newest first."""
    return sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: -int(v.version))


def _aliases(client: MlflowClient, name: str) -> dict[str, str] | None:
    """Version by alias; None where there is no such model."""
    try:
        found = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return {alias: str(version) for alias, version in found.items()}


def _version(found: ModelVersion, aliases: dict[str, str] | None = None) -> Version:
    digest = str(found.tags.get(DIGEST, ""))
    try:
        files = TypeAdapter(dict[str, str]).validate_json(found.tags.get(FILES, "{}"))
    except ValidationError:
        files = {}
    known = re.fullmatch(r"[0-9a-f]{64}", digest) and {CARD, WEIGHTS} <= {*files} <= {*KEPT}
    if not known:
        raise RegistryError(
            f"{SCHEME}{found.name}/{found.version} has no tags {DIGEST} and {FILES} of a checkpoint: "
            "register it with stvd"
        )
    mine = found.aliases
    if aliases is not None:
        mine = [alias for alias, version in aliases.items() if version == str(found.version)]
    return Version(
        name=found.name,
        version=str(found.version),
        digest=digest,
        files=files,
        aliases=tuple(sorted(mine)),
        promoted=found.tags.get(PROMOTED),
        replaced=found.tags.get(REPLACED),
    )


def _there_is(client: MlflowClient, name: str) -> str:
    """What the registry has, for an error."""
    aliases = _aliases(client, name)
    if aliases is None:
        names = ", ".join(m.name for m in client.search_registered_models()) or "none"
        return f"the models of {_server()} are {names}"
    numbers = ", ".join(str(v.version) for v in reversed(_search(client, name))) or "none"
    named = ", ".join(f"{a} ({v})" for a, v in sorted(aliases.items())) or "none"
    return f"{name} has the versions {numbers} and the aliases {named}"


def _server() -> str:
    """The registry without a password that its address may hold."""
    return re.sub(r"//[^/@]*@", "//", get_tracking_uri())
