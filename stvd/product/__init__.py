"""Products: published ensembles in Icechunk repositories.

import stvd.product
ds = stvd.product.open_product("runs/products/demo")
ds.pr.sel(time="2000-01-10").max("member")
"""

from stvd.product.errors import (
    AlreadyPublished,
    Busy,
    CommitRefused,
    DamagedProduct,
    FingerprintConflict,
    IncompletePartition,
    InvalidBlock,
    NotPublished,
    PartitionOverlap,
    ProductError,
    ProductMismatch,
    ProductNotFound,
    StorageRefused,
    StorageUnavailable,
)
from stvd.product.export import export_zarr
from stvd.product.ledger import LedgerEntry
from stvd.product.product import Product
from stvd.product.quarantine import Quarantined
from stvd.product.reader import open_product
from stvd.product.spec import ProductSpec
from stvd.product.storage import StorageOptions
from stvd.product.writer import CommitRef, PartitionWriter

__all__ = [
    "AlreadyPublished",
    "Busy",
    "CommitRef",
    "CommitRefused",
    "DamagedProduct",
    "FingerprintConflict",
    "IncompletePartition",
    "InvalidBlock",
    "LedgerEntry",
    "NotPublished",
    "PartitionOverlap",
    "PartitionWriter",
    "Product",
    "ProductError",
    "ProductMismatch",
    "ProductNotFound",
    "ProductSpec",
    "Quarantined",
    "StorageOptions",
    "StorageRefused",
    "StorageUnavailable",
    "export_zarr",
    "open_product",
]
