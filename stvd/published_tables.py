"""The diagnostics product: tables and scores beside the product that they were computed from.

An Icechunk repository at the address of the product with `.diagnostics` after it, in the same storage,
local or not. Each table is a group; all of them change in one commit, whose attributes name the
snapshot of the product, so a reader sees the diagnostics of one version or of another, never of both.

    from stvd.published_tables import open_diagnostics
    open_diagnostics("runs/products/gcm_demo", "annual")["rx1day_mean"]
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import icechunk
import xarray as xr
import zarr

from stvd.product.branch import commit
from stvd.product.errors import NotPublished, ProductNotFound
from stvd.product.storage import MAIN, Location, StorageOptions
from stvd.product.template import CHECKED

SUFFIX = ".diagnostics"
KEPT = ("units", "calendar", "_FillValue", "dtype")  # of what a table says of its encoding


def diagnostics_uri(product: str) -> str:
    """Where the diagnostics of a product lie."""
    return product.rstrip("/") + SUFFIX


def publish_tables(
    tables: Mapping[str, xr.Dataset],
    product: str,
    *,
    snapshot: str,
    made_of: str,
    storage: StorageOptions | None = None,
) -> str:
    """Put tables in the place of those that are published, in one commit; the same ones, and nothing is done.

    Parameters
    ----------
    tables : by name, in memory
    product : URI of the product
    snapshot : of the product, from which they were computed
    made_of : digest of all that they depend on

    Returns
    -------
    str, the snapshot of the diagnostics that holds them
    """
    location = Location.parse(diagnostics_uri(product), storage)
    repository = _opened(location)
    about = {"product": product.rstrip("/").rsplit("/", 1)[-1], "product_snapshot": snapshot}
    about |= {"made_of": made_of}
    with location.lock(MAIN), warnings.catch_warnings():
        # Texts of fixed length are known to every reader here, not yet to the specification.
        warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
        session = repository.writable_session(MAIN)
        root = zarr.open_group(session.store, mode="a")
        if root.attrs.get("made_of") == made_of:
            return session.snapshot_id
        for gone in set(root.group_keys()) - tables.keys():
            del root[gone]
        for name, table in tables.items():
            bare = table.copy()
            for variable in bare.variables.values():
                kept = {k: v for k, v in variable.encoding.items() if k in KEPT}
                variable.encoding = kept | ({"compressors": [CHECKED]} if variable.ndim else {})
            bare.to_zarr(session.store, group=name, mode="w", zarr_format=3, consolidated=False)
        root.attrs.update(about)
        message = f"diagnostics of {about['product']} at {snapshot}"
        return commit(repository, session, MAIN, message, {"token": made_of})


def _opened(location: Location) -> icechunk.Repository:
    """The repository at the address, made if there is none."""
    try:
        return icechunk.Repository.open_or_create(location.storage())
    except icechunk.IcechunkError:  # made by another process, or here and the reply was lost
        return location.open()


def open_diagnostics(
    product: str,
    table: str,
    *,
    snapshot: str | None = None,
    storage: StorageOptions | None = None,
) -> xr.Dataset:
    """A table of the diagnostics of a product, lazily.

    Parameters
    ----------
    product : URI of the product
    table : `annual`, `period_to_date`, `monthly`, … or `scores_stvd`, as the files of a report are called
    snapshot : of the diagnostics; by default what is published now

    Returns
    -------
    Dataset, whose attribute `product_snapshot` names the version of the product it was computed from

    Raises
    ------
    ProductNotFound
        If the product was not diagnosed.
    NotPublished
        If its diagnostics have no such table; the message lists those that there are.
    """
    location = Location.parse(diagnostics_uri(product), storage)
    try:
        repository = location.open()
    except ProductNotFound as error:
        raise ProductNotFound(
            f"{product} has no diagnostics: run `stvd diagnose` for it first"
        ) from error
    session = (
        repository.readonly_session(MAIN)
        if snapshot is None
        else repository.readonly_session(snapshot_id=snapshot)
    )
    root = zarr.open_group(session.store, mode="r")
    known = sorted(root.group_keys())
    if table not in known:
        raise NotPublished(f"the diagnostics of {product} have no {table}; there are {known}")
    found = xr.open_zarr(session.store, group=table, consolidated=False, decode_coords="all")
    return found.assign_attrs(product_snapshot=root.attrs["product_snapshot"])


def diagnosed(product: str, *, storage: StorageOptions | None = None) -> str | None:
    """The snapshot of a product from which its published diagnostics were computed; None without."""
    location = Location.parse(diagnostics_uri(product), storage)

    def read() -> str | None:
        try:
            store = location.open().readonly_session(MAIN).store
            return str(zarr.open_group(store, mode="r").attrs["product_snapshot"])
        except (ProductNotFound, FileNotFoundError):  # not begun, or not ended
            return None

    return location.patiently(read)
