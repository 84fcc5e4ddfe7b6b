"""What can be wrong with a product, by name. Each message says what, where and what to do."""

from __future__ import annotations

from collections.abc import Mapping


class ProductError(Exception):
    """Base of all errors of products."""


class ProductNotFound(ProductError):
    """There is no product at the address."""


class ProductMismatch(ProductError):
    """The product at the address is another than the one asked for.

    Attributes
    ----------
    differences : what is stored and what was asked for, by the name of the field
    """

    def __init__(self, uri: str, differences: Mapping[str, tuple[object, object]]) -> None:
        self.differences = dict(differences)
        lines = "; ".join(
            f"{name} is {stored!r} there, {asked!r} asked for"
            for name, (stored, asked) in differences.items()
        )
        super().__init__(
            f"The product at {uri} is not the one asked for: {lines}. "
            "Nothing was written. Ask for what is there or write to a new address."
        )


class Busy(ProductError):
    """Another process holds the lock."""


class StorageUnavailable(ProductError):
    """The object store does not answer, or not as it should; trying again later may help."""


class StorageRefused(ProductError):
    """The store will not let us: no credentials, wrong ones, no right, no bucket, no room."""


class AlreadyPublished(ProductError):
    """The partition is there with the same fingerprint: nothing to do."""


class FingerprintConflict(ProductError):
    """The partition is there with another fingerprint, and replacing it was not asked for."""


class PartitionOverlap(ProductError):
    """Some members of the partition belong to another published partition of the same frames."""


class NotPublished(ProductError):
    """The partition, tag or snapshot asked for is not in the product."""


class InvalidBlock(ProductError, ValueError):
    """A block of samples that does not fit its partition or holds impossible values."""


class IncompletePartition(ProductError):
    """A commit was asked for before all frames and members were put."""


class DamagedProduct(ProductError):
    """Stored data cannot be read back as it was written."""


class CommitRefused(ProductError):
    """The partition changed in the product while this one was being made."""
