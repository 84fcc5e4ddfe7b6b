"""Where a product lives: a local folder or a prefix of an S3 bucket."""

from __future__ import annotations

import glob
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import icechunk
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from stvd.product import access
from stvd.product.errors import Busy, ProductError, ProductNotFound

T = TypeVar("T")
LOCK_SECONDS = 600.0
DRAFT_SECONDS = 86_400.0
SLOWEST = 1e6
"""Bytes a second that a store moves at least."""
MAIN = "main"
LOCK_FOLDER = ".locks"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

# Icechunk warns at every opening of a local folder that its commits must be serialised, which
# `Location.lock` does, and at every rebase that has to be done anew.
icechunk.set_logs_filter("error")


class StorageOptions(BaseModel):
    """How to reach an object store. Credentials come from the environment, never from here.

    Parameters
    ----------
    patience_seconds : how long to try again what failed for want of an answer
    timeout_seconds : how long to wait for an answer, and for each MB moved a second more
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str | None = None
    region: str | None = None
    allow_http: bool = False
    force_path_style: bool = False
    anonymous: bool = False
    patience_seconds: float = Field(120.0, ge=0)
    timeout_seconds: float = Field(60.0, gt=0)


class Location(BaseModel):
    """The address of a product, taken apart and checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    path: Path | None = None
    bucket: str = ""
    prefix: str = ""
    options: StorageOptions = StorageOptions()

    @classmethod
    def parse(cls, uri: str | Path, options: StorageOptions | None = None) -> Location:
        """Read a local path, `file:///…` or `s3://bucket/prefix`.

        Raises
        ------
        ProductError
            For another scheme, a `..`, or credentials in it.
        """
        text = str(uri)
        options = options or StorageOptions()
        plain = "://" not in text
        parts = urlsplit(text)
        if ".." in (text if plain else unquote(parts.path)).split("/"):
            raise ProductError(f"The address {text} holds '..': write the folder that is meant.")
        if plain:
            return cls(uri=text, path=Path(text).absolute(), options=options)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return cls(uri=text, path=Path(unquote(parts.path)), options=options)
        prefix = parts.path.strip("/")
        if parts.scheme == "s3" and prefix and _BUCKET.fullmatch(parts.netloc):
            return cls(uri=text, bucket=parts.netloc, prefix=prefix, options=options)
        raise ProductError(
            f"A product cannot be at {parts.scheme}://{parts.hostname or ''}{parts.path}: give a "
            "local path, file:///path or s3://bucket/prefix, without credentials."
        )

    def storage(self) -> icechunk.Storage:
        """Icechunk's view of the address; nothing is read yet."""
        if self.path is not None:
            return icechunk.local_filesystem_storage(str(self.path))
        options = self.options
        return icechunk.s3_storage(
            bucket=self.bucket,
            prefix=self.prefix,
            region=options.region,
            endpoint_url=options.endpoint_url,
            allow_http=options.allow_http,
            force_path_style=options.force_path_style,
            anonymous=options.anonymous or None,
            from_env=None if options.anonymous else True,
            network_stream_timeout_seconds=max(1, round(options.timeout_seconds / 2)),
        )

    def open(self) -> icechunk.Repository:
        """The repository at the address.

        Raises
        ------
        ProductNotFound
            If there is none.
        """
        if self.path is not None and not self.path.is_dir():
            raise ProductNotFound(f"There is no product at {self.uri}: no such folder.")
        try:
            return icechunk.Repository.open(self.storage())
        except icechunk.IcechunkError as error:
            if "repository doesn't exist" in str(error):
                raise ProductNotFound(
                    f"There is no product at {self.uri}: no Icechunk repository."
                ) from error
            raise

    def patiently(self, call: Callable[[], T], nbytes: float = 0, answers: int = 1) -> T:
        """The result of `call`, made again while an object store is out of reach.

        Parameters
        ----------
        call : may be made several times, also while an earlier one still waits
        nbytes, answers : about how much it moves, and how many long waits for an answer it has

        Raises
        ------
        StorageUnavailable
            If the store was out of reach for `patience_seconds`.
        StorageRefused
            If it does not let us; the message says what is missing.
        """
        if self.path is not None:
            try:
                return call()
            except icechunk.IcechunkError as error:
                if (full := access.no_room(error, self.uri)) is None:
                    raise
                raise full from error
        return access.patiently(
            call,
            where=self.uri,
            explain=self._explained,
            patience=self.options.patience_seconds,
            timeout=answers * self.options.timeout_seconds + nbytes / SLOWEST,
        )

    def _explained(self, error: icechunk.IcechunkError) -> ProductError | None:
        server = urlsplit(self.options.endpoint_url or "https://Amazon S3").netloc.split("@")[-1]
        return access.explained(
            error, self.uri, server, lambda: icechunk.Repository.fetch_config(self.storage())
        )

    @contextmanager
    def lock(
        self, name: str, wait: float = LOCK_SECONDS, *, reentrant: bool = False
    ) -> Iterator[None]:
        """Hold a lock that ends with this process, so that a killed one leaves none behind.

        Only for local folders, where moving a branch is not atomic; on an object store the
        conditional write of the branch decides, and this does nothing.

        Parameters
        ----------
        reentrant : do not wait for this thread itself, where it holds the lock

        Raises
        ------
        Busy
            If another process holds the lock for longer than `wait` seconds.
        """
        if self.path is None:
            yield
            return
        folder = self.path / LOCK_FOLDER
        folder.mkdir(exist_ok=True)
        file = folder / f"{name}.lock"
        lock = FileLock(file, is_singleton=reentrant)
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise Busy(
                f"Another process has been writing to {self.uri} for {wait:g} s (lock {name}). "
                "Try again when it is done."
            ) from error
        try:
            yield
        finally:
            if name != MAIN and lock.lock_counter == 1:
                file.unlink(missing_ok=True)
            lock.release()


def draft_beside(path: Path) -> Path:
    """A new hidden name beside `path`, to make something there and then rename it to `path`.

    What runs killed more than a day ago left under such names is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{glob.escape(path.name)}.draft-*"):
        if time.time() - old.stat().st_mtime > DRAFT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return path.with_name(f".{path.name}.draft-{uuid.uuid4().hex[:8]}")
