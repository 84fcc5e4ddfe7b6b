"""Whether a partition may be written, given what stands in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stvd.product.errors import (
    AlreadyPublished,
    CommitRefused,
    FingerprintConflict,
    PartitionOverlap,
)
from stvd.product.ledger import LedgerEntry, read_cell
from stvd.product.target import Target
from stvd.product.version import Version


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to write a partition, as long as what stands in its place stays as it was.

    Parameters
    ----------
    fingerprint, parts : of what will be written
    standing : tokens of the records there when the claim was made
    """

    target: Target
    fingerprint: str
    parts: Mapping[str, str]
    standing: frozenset[str]

    @classmethod
    def make(
        cls,
        target: Target,
        fingerprint: str,
        parts: Mapping[str, str],
        replace: bool,
        head: str,
    ) -> Claim:
        """Claim a partition at snapshot `head`.

        Raises
        ------
        PartitionOverlap
            If some of its members belong to another partition.
        AlreadyPublished, FingerprintConflict
            If it is there, and is not to be replaced.
        """
        entries = _standing(target, head)
        for entry in entries:
            if entry.partition != target.partition.id:
                raise PartitionOverlap(
                    f"Partition {target.partition.id} shares members with {entry.partition}, which "
                    f"is published in {target.uri}. Take its members or others."
                )
            if not replace:
                raise _present(target, entry, fingerprint, parts)
        return cls(
            target=target,
            fingerprint=fingerprint,
            parts=parts,
            standing=frozenset(entry.token for entry in entries),
        )

    def assert_unchanged(self, head: str, own: str) -> LedgerEntry | None:
        """Raise if another writer published here since the claim was made.

        Parameters
        ----------
        own : token of what is being published; its record, if it is there, is returned

        Raises
        ------
        AlreadyPublished
            If it published the same fingerprint.
        CommitRefused
            If it published something else.
        """
        for entry in _standing(self.target, head):
            if entry.token in self.standing:
                continue
            if entry.token == own:
                return entry
            if (entry.partition, entry.fingerprint) == (self.target.partition.id, self.fingerprint):
                raise AlreadyPublished(
                    f"Partition {entry.partition} was published in {self.target.uri} by another "
                    f"writer at {entry.written_at}, with the same fingerprint. Nothing is to be "
                    "done."
                )
            raise CommitRefused(
                f"Partition {self.target.partition.id} was not written to {self.target.uri}: "
                f"another writer published {entry.partition} at {entry.written_at} with "
                f"fingerprint {entry.fingerprint[:12]}, while this one "
                f"({self.fingerprint[:12]}) was being made. Plan again."
            )
        return None


def _standing(target: Target, head: str) -> list[LedgerEntry]:
    """The records at `head` of partitions that share frames and members with the target."""
    version = Version.open(target.location, snapshot=head)
    members = target.partition.members
    return [
        entry
        for entry in read_cell(version.root, target.cell, head)
        if entry.members.start < members.stop and members.start < entry.members.stop
    ]


def _present(
    target: Target, entry: LedgerEntry, fingerprint: str, parts: Mapping[str, str]
) -> AlreadyPublished | FingerprintConflict:
    where = f"Partition {entry.partition} is in {target.uri} since {entry.written_at}"
    if entry.fingerprint == fingerprint:
        return AlreadyPublished(f"{where}, with the same fingerprint. Nothing is to be done.")
    changed = [
        f"{name} is {entry.parts.get(name, 'absent')} there and {parts.get(name, 'absent')} now"
        for name in sorted(entry.parts.keys() | parts.keys())
        if entry.parts.get(name) != parts.get(name)
    ]
    if not (entry.parts and parts):
        changed = ["what went into it was not recorded"]
    return FingerprintConflict(
        f"{where}, with fingerprint {entry.fingerprint[:12]} instead of {fingerprint[:12]}: "
        f"{'; '.join(changed)}. It was left as it is; ask for replacement (mode stale or replace) "
        "to write it anew."
    )
