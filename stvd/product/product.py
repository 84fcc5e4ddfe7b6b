"""A product: an Icechunk repository that holds published partitions and nothing else."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import xarray as xr
import zarr

from stvd.partition import Partition
from stvd.product.arrays import stored_array
from stvd.product.branch import commit, move_main, temporary_branch
from stvd.product.checksums import content_digest, stored_checksums
from stvd.product.claim import Claim
from stvd.product.creation import create
from stvd.product.errors import (
    Busy,
    DamagedProduct,
    NotPublished,
    ProductError,
    ProductMismatch,
    ProductNotFound,
)
from stvd.product.ledger import LedgerEntry, complete_previous
from stvd.product.metadata import Static, static_variables
from stvd.product.spec import NAME, ProductSpec, differences
from stvd.product.storage import MAIN, Location, StorageOptions
from stvd.product.target import Target
from stvd.product.template import (
    grow_pr,
    grow_records,
    stored_differences,
)
from stvd.product.version import Version
from stvd.product.writer import PartitionWriter

P = ParamSpec("P")
T = TypeVar("T")


def _patient(method: Callable[Concatenate[Product, P], T]) -> Callable[Concatenate[Product, P], T]:
    """Of a method that may be called again if its store was out of reach (`Location.patiently`)."""

    @functools.wraps(method)
    def call(self: Product, *args: P.args, **options: P.kwargs) -> T:
        return self._location.patiently(lambda: method(self, *args, **options))

    return call


class Product:
    """A published ensemble: written partition by partition, read at any of its versions.

    Made by `create_or_open` or `open`. An instance holds no state but its address and declaration,
    so it never goes stale; every call looks at the store anew.
    """

    def __init__(self, location: Location, spec: ProductSpec, shape: tuple[int, ...]) -> None:
        self._location = location
        self.spec = spec
        self.shape = shape

    @classmethod
    def create_or_open(
        cls,
        uri: str | Path,
        spec: ProductSpec,
        grid: xr.Dataset,
        *,
        storage: StorageOptions | None = None,
    ) -> Product:
        """Open the product at `uri`, or make it if there is none.

        Parameters
        ----------
        uri : local path, `file:///path` or `s3://bucket/prefix`
        grid : Dataset of the role grid (`stvd.contract`), fine

        Raises
        ------
        ProductMismatch
            If there is a product with another declaration or grid; it names each difference.
        """
        location = Location.parse(uri, storage)
        static = static_variables(grid, spec)
        rows, columns = static["areacella"].values.shape[-2:]
        if not cls.exists(uri, storage=storage):
            with contextlib.suppress(FileExistsError):
                location.patiently(lambda: create(location, spec.laid_out(rows, columns), static))
        product = cls.open(uri, storage=storage)
        product._assert_is(spec, static)
        return product

    @classmethod
    def open(cls, uri: str | Path, *, storage: StorageOptions | None = None) -> Product:
        """Open the product at `uri`.

        Raises
        ------
        ProductNotFound
            If there is none.
        """
        location = Location.parse(uri, storage)
        version = Version.open(location)
        return cls(location, version.spec(), version.array("areacella").shape)

    @staticmethod
    def exists(uri: str | Path, *, storage: StorageOptions | None = None) -> bool:
        """Whether there is a product at `uri`."""
        try:
            Product.open(uri, storage=storage)
        except ProductNotFound:
            return False
        return True

    @property
    def uri(self) -> str:
        return self._location.uri

    @property
    @_patient
    def snapshot(self) -> str:
        """Id of the current version."""
        return self._location.open().lookup_branch(MAIN)

    @_patient
    def ledger(self) -> dict[str, LedgerEntry]:
        """What is published, by partition id, in order of time and member."""
        return Version.open(self._location).ledger()

    @contextlib.contextmanager
    def write(
        self,
        partition: Partition,
        fingerprint: str,
        *,
        replace: bool = False,
        parts: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> Iterator[PartitionWriter]:
        """Write one partition: `put` its samples, then `commit`. Leaving without changes nothing.

        Parameters
        ----------
        fingerprint : of everything that decides the numbers
        replace : write it anew if it is there, whatever its fingerprint
        parts : of the fingerprint in brief (`stvd.fingerprint.digest_parts`), to say what differs
        scratch : folder for the samples until they are committed, members × frames × cells × 4
            bytes; None: the system's folder for temporary files

        Raises
        ------
        AlreadyPublished
            If it is there with the same fingerprint.
        FingerprintConflict
            If it is there with another one; it names the parts that differ.
        PartitionOverlap
            If some of its members are published in another partition.
        StorageRefused, StorageUnavailable
            If the store cannot be reached or written, which is tried before the samples are taken.
        ValueError
            If it is no partition of this product.
        """
        self.spec.cell(partition)
        target = self._target(partition)

        def claim_and_try_writing() -> Claim:
            repo = self._location.open()
            head = repo.lookup_branch(MAIN)
            claim = Claim.make(target, fingerprint, parts or {}, replace, head)
            with temporary_branch(repo, self._location, f"try.{uuid.uuid4().hex[:8]}", head):
                return claim

        claim = self._location.patiently(claim_and_try_writing)
        writer = PartitionWriter(claim, scratch)
        try:
            yield writer
        finally:
            writer.close()

    def verify(self, partition_id: str) -> None:
        """Read a published partition whole and compare it with what was written.

        Raises
        ------
        NotPublished
            If it is not there.
        DamagedProduct
            If a value is missing or altered; it names the chunk.
        """
        entry = self._entry(partition_id)
        target = self._target(Partition.from_id(self.spec.source, partition_id))
        pr = Version.open(self._location).array("pr")
        if content_digest(stored_checksums(pr, target)) != entry.content:
            raise DamagedProduct(
                f"Partition {partition_id} of {self.uri} is not what was written at "
                f"{entry.written_at}. Sample it anew (replace) or open an earlier snapshot."
            )

    @_patient
    def provenance(self, partition_id: str) -> dict[str, Any]:
        """The whole record of a partition's commit: fingerprint, its parts and provenance.

        Raises
        ------
        NotPublished
            If it is not there.
        """
        entry = self._entry(partition_id)
        info = self._location.open().lookup_snapshot(entry.snapshot)
        return {**info.metadata, "snapshot": info.id}

    @_patient
    def reserve(self, frames: range) -> None:
        """Make the time axis reach to the end of `frames`, which stay unpublished and hidden.

        Not needed, but before many writers start on new frames it spares them writing samples
        twice: lengthening the axis is the one thing that two partitions cannot do at once.
        """
        cells = -(-(frames.stop - self.spec.first_frame) // self.spec.cell_frames)
        repo = self._location.open()
        with self._location.lock(MAIN):
            head = repo.lookup_branch(MAIN)
            with temporary_branch(
                repo, self._location, f"reserve.{uuid.uuid4().hex[:8]}", head
            ) as b:
                session = repo.writable_session(b)
                root = zarr.open_group(session.store, mode="r+")
                if stored_array(root, "time").shape[0] >= cells * self.spec.cell_frames:
                    return
                complete_previous(root, self.spec, head, repo.lookup_snapshot(head).metadata)
                grow_pr(root, self.spec, cells)
                grow_records(root, self.spec, cells)
                message = f"reserve frames to {frames.stop} of {self.spec.name}"
                snapshot = commit(repo, session, b, message, {"token": uuid.uuid4().hex})
                if not move_main(repo, head, snapshot):
                    raise Busy(
                        f"The frames to {frames.stop} of {self.uri} were not reserved: another "
                        "writer was faster. Try again."
                    )

    @_patient
    def tag(self, name: str) -> str:
        """Name the current version for good; the snapshot that has the name.

        Raises
        ------
        ProductError
            If another version has the name, or it is no plain name.
        """
        if NAME.fullmatch(name) is None:
            raise ProductError(f"The tag {name!r} may hold letters, digits, '.', '_' and '-' only.")
        repo = self._location.open()
        head = repo.lookup_branch(MAIN)
        if name in repo.list_tags():
            there = repo.lookup_tag(name)
            if there != head:
                raise ProductError(
                    f"The tag {name} of {self.uri} names snapshot {there} and cannot be moved. "
                    "Take another name."
                )
            return there
        repo.create_tag(name, head)
        return head

    @_patient
    def tags(self) -> dict[str, str]:
        """Snapshots by tag."""
        repo = self._location.open()
        return {name: repo.lookup_tag(name) for name in sorted(repo.list_tags())}

    def collect_garbage(self, older_than: timedelta = timedelta(days=7)) -> int:
        """Delete what killed runs left in the store; the number of bytes.

        Nothing that a version, present or past, is made of is touched. `older_than` must be longer
        than any commit takes.
        """
        repo = self._location.open()
        with self._location.lock(MAIN):
            return int(repo.garbage_collect(datetime.now(UTC) - older_than).bytes_deleted)

    def _entry(self, partition_id: str) -> LedgerEntry:
        try:
            return self.ledger()[partition_id]
        except KeyError:
            raise NotPublished(
                f"Partition {partition_id} is not published in {self.uri}."
            ) from None

    def _target(self, partition: Partition) -> Target:
        return Target(
            location=self._location, spec=self.spec, partition=partition, shape=self.shape
        )

    def _assert_is(self, spec: ProductSpec, static: dict[str, Static]) -> None:
        found = differences(self.spec, spec)
        if not found:
            version = Version.open(self._location)
            found = stored_differences(version.root, self.spec, static)
        if found:
            raise ProductMismatch(self.uri, found)
