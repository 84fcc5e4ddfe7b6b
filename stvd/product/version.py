"""One version of a product, opened for reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import icechunk
import zarr

from stvd.product.access import is_access
from stvd.product.arrays import stored_array
from stvd.product.damage import gist, reading
from stvd.product.errors import DamagedProduct, NotPublished, ProductError, ProductNotFound
from stvd.product.ledger import RECORDS, LedgerEntry, read_ledger
from stvd.product.spec import ProductSpec
from stvd.product.storage import MAIN, Location
from stvd.product.template import SCHEMA, declaration


@dataclass(frozen=True, kw_only=True)
class Version:
    """A product as it was at one snapshot.

    Parameters
    ----------
    location : of the product
    """

    location: Location
    session: icechunk.Session
    root: zarr.Group

    @classmethod
    def open(
        cls, location: Location, *, tag: str | None = None, snapshot: str | None = None
    ) -> Version:
        """Open a tag, a snapshot or, with neither, the current version, anew from storage.

        Raises
        ------
        ProductNotFound, NotPublished
            If there is no product, or no such tag or snapshot.
        DamagedProduct
            If the version cannot be read.
        """
        if tag is not None and snapshot is not None:
            raise ValueError("give a tag or a snapshot, not both")
        return location.patiently(lambda: cls._open(location, tag, snapshot))

    @classmethod
    def _open(cls, location: Location, tag: str | None, snapshot: str | None) -> Version:
        repo = location.open()
        branch = MAIN if tag is None and snapshot is None else None
        try:
            session = repo.readonly_session(branch, tag=tag, snapshot_id=snapshot)
        except icechunk.IcechunkError as error:
            if branch is not None or is_access(error):
                raise
            what = f"tag {tag}" if tag is not None else f"snapshot {snapshot}"
            tags = ", ".join(sorted(repo.list_tags())) or "none"
            raise NotPublished(f"{location.uri} has no {what}. Tags: {tags}.") from error
        return cls(location=location, session=session, root=_root(repo, session, location.uri))

    @property
    def where(self) -> str:
        """Address of the product."""
        return self.location.uri

    @property
    def snapshot(self) -> str:
        return self.session.snapshot_id

    def spec(self) -> ProductSpec:
        """The declaration of the product.

        Raises
        ------
        ProductNotFound
            If the repository holds something else.
        ProductError
            If another version of stvd wrote it, or it cannot be read.
        """
        try:
            schema, fields = declaration(self.root)
            if schema == SCHEMA:
                return ProductSpec.model_validate(fields)
        except KeyError as error:
            raise ProductNotFound(
                f"The Icechunk repository at {self.where} holds no stvd product."
            ) from error
        except ValueError as error:
            raise DamagedProduct(
                f"The declaration of the product at {self.where} cannot be read at snapshot "
                f"{self.snapshot}: {gist(error)}. Open an earlier snapshot."
            ) from error
        raise ProductError(
            f"The product at {self.where} has schema {schema}, this version of stvd reads schema "
            f"{SCHEMA}: use the version that wrote it."
        )

    def array(self, name: str) -> zarr.Array[Any]:
        """A stored array."""
        return stored_array(self.root, name)

    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """All stored arrays but the ledger, by name.

        Raises
        ------
        DamagedProduct
            If what describes them cannot be read.
        """
        try:
            return self.location.patiently(lambda: dict(self.root.arrays()))
        except ValueError as error:
            raise DamagedProduct(
                f"The arrays of {self.where} cannot be read at snapshot {self.snapshot}: "
                f"{gist(error)}. Open an earlier snapshot."
            ) from error

    def ledger(self) -> dict[str, LedgerEntry]:
        """What is published, by partition id."""
        records = self.array(RECORDS)
        with reading(records, (slice(None), slice(None)), self.where):
            return read_ledger(self.root, self.snapshot)


def _root(repo: icechunk.Repository, session: icechunk.Session, where: str) -> zarr.Group:
    try:
        return zarr.open_group(session.store, mode="r")
    except (ValueError, FileNotFoundError) as error:  # also what Zarr says of a damaged snapshot
        try:
            empty = repo.lookup_snapshot(session.snapshot_id).parent_id is None
        except icechunk.IcechunkError:
            empty = False
        if empty:
            raise ProductNotFound(f"The Icechunk repository at {where} is empty.") from error
        raise DamagedProduct(
            f"Snapshot {session.snapshot_id} of {where} cannot be read: {gist(error)}. "
            "Open an earlier snapshot."
        ) from error
