"""Sources by name: Intake version-2 catalogs, read through an allow-list.

A catalog is YAML that plain Intake reads too (`stvd.allowlist`); the `stvd` block in the metadata
of an entry says how its file meets the contract (`stvd.adapter`). A data file given in place of a
catalog is a catalog of its own record (`stvd.layout`).
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import dask
import fsspec
import xarray as xr
import zarr
from intake.readers.entry import Catalog

from stvd.adapter import adapt
from stvd.allowlist import Document, Strict, read_catalog
from stvd.contract import CatalogError, Role, time_axis, variables, violations
from stvd.lattice import IndexRange, Period, TimeAxis
from stvd.netcdf_lock import NETCDF
from stvd.reading import DamagedSource, checked, explained

SCHEMES = {"file": None, "https": None, "s3": "s3fs", "gs": "gcsfs"}
INSTALL = {"s3fs": "'stvd[s3]'", "cfgrib": "'stvd[grib]'", "gcsfs": "gcsfs"}
ENGINES = {"HDF5": "netcdf4", "NetCDF3": "netcdf4", "GRIB2": "cfgrib"}
PATIENT_S3 = {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 2}}}
"""Of s3fs, which tries five times, each of two requests: with 15 s a request, 150 s in all."""
CHUNK = "16MiB"  # of a variable of a file: whole maps over some time; stores keep their own chunks


class SourceInfo(Strict):
    """What a source is, without its values.

    Parameters
    ----------
    axis : lattice of time, None for the role grid
    frames : from the first to past the last frame present
    variables : contract names
    """

    name: str
    role: Role
    axis: TimeAxis | None
    frames: IndexRange
    factor: int
    periodic_x: bool
    sizes: dict[str, int]
    variables: tuple[str, ...]
    grid: str | None
    truth: str | None
    description: str
    licence: str


def list_sources(catalog: str | Path) -> list[str]:
    """Names of the entries of a catalog, in its order."""
    return list(read_catalog(catalog)[0].entries)


def open_source(
    name: str, period: Period | None = None, *, catalog: str | Path, root: str | None = None
) -> xr.Dataset:
    """Open a source of any role, lazily, as a dataset of `stvd.contract`.

    Parameters
    ----------
    name : entry of the catalog
    period : half-open range of time, its dates read on the calendar of the data; all by default
    catalog : path or URL of a YAML catalog, or of a data file that `stvd.layout` knows
    root : path or URL prefix of the data; `default_root` of the catalog by default

    Raises
    ------
    CatalogError
        If the catalog is not allowed what it says, or the source is not there or not readable. A
        fine grid or truth that breaks the contract raises too; a coarse source is returned as it
        is, for `stvd.quality` to report everything that is wrong with it.
    """
    document, base = read_catalog(catalog)
    adapter = document.entry(name).metadata.stvd
    raw = _read(document, name, root or base)
    try:
        dataset = adapt(raw, adapter, name, period)
    except CatalogError:
        raise
    except ValueError as error:
        raise CatalogError(
            f"{name}: the file does not fit its catalog entry: {error}. "
            "Correct dims, coords or region in metadata.stvd."
        ) from error
    for other in adapter.join:
        added = open_source(other, period, catalog=catalog, root=root)
        try:
            dataset = dataset.merge(
                added, join="exact", compat="no_conflicts", combine_attrs="override"
            )
        except ValueError as error:
            raise CatalogError(f"{name}: {other} has other times or cells: {error}.") from error
    if adapter.role != "coarse":
        required = ("pr",) if adapter.role == "truth" else ("areacella",)
        broken = [str(finding) for finding in violations(dataset, adapter.role, required)]
        if broken:
            raise CatalogError(f"{name}: " + " ".join(broken))
    return dataset


def describe(name: str, *, catalog: str | Path, root: str | None = None) -> SourceInfo:
    """What a source is: its lattice, frames, grid and variables; reads its coordinates only."""
    adapter = read_catalog(catalog)[0].entry(name).metadata.stvd
    dataset = open_source(name, catalog=catalog, root=root)
    axis = time_axis(dataset) if adapter.role != "grid" else None
    present = axis.locate(dataset["time"]).tolist() if axis else []
    return SourceInfo(
        name=name,
        role=adapter.role,
        axis=axis,
        frames=range(min(present), max(present) + 1) if axis else range(0),
        factor=adapter.factor,
        periodic_x=bool(dataset.attrs["periodic_x"]),
        sizes={str(d): n for d, n in dataset.sizes.items() if d != "bnds"},
        variables=variables(dataset),
        grid=adapter.grid,
        truth=adapter.truth,
        description=adapter.description,
        licence=adapter.licence,
    )


def _read(document: Document, name: str, root: str) -> xr.Dataset:
    """Open the file or store of an entry with Intake: lazily, times undecoded."""
    reader = _intake_reader(document, name, root if "://" in root else _file_url(root))
    data = reader.kwargs["data"]
    kind = type(data).__name__
    urls = [data.url] if isinstance(data.url, str) else list(data.url)
    where = ", ".join(urls)
    schemes = {_scheme(url, name) for url in urls}
    remote = schemes != {"file"}
    options: dict[str, Any] = {"decode_times": False}
    if not remote and kind == "Zarr":  # a local folder is listed as fast as an index is read
        options["consolidated"] = False
    storage = dict(data.storage_options or {})
    if "s3" in schemes:
        storage |= PATIENT_S3
    data.storage_options = storage
    if not remote:
        urls = [fsspec.url_to_fs(url)[1] for url in urls]
    elif kind != "Zarr":  # the NetCDF and GRIB libraries read local files only
        urls = [f"simplecache::{url}" for url in urls]
        data.storage_options = dict.fromkeys(schemes, storage)
        options["open_local"] = True
    if kind != "Zarr":
        options["engine"] = ENGINES[kind]
    alone: AbstractContextManager[Any] = nullcontext()
    if options.get("engine") == "netcdf4":
        options["lock"] = alone = NETCDF
    entry = document.entry(name)
    if kind == "GRIB2":  # no index files beside the data
        given = entry.kwargs.backend_kwargs
        options["backend_kwargs"] = {"indexpath": "", **(given.model_dump() if given else {})}
    chunks: dict[str, Any] = dict(entry.kwargs.chunks)
    if kind != "Zarr" and not chunks:
        dims = {"time": "auto", "y": -1, "x": -1}
        chunks = {entry.metadata.stvd.file_dim(dim): size for dim, size in dims.items()}
    try:
        _require("cfgrib" if kind == "GRIB2" else None, *(SCHEMES[s] for s in schemes))
        with dask.config.set({"array.chunk-size": CHUNK}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
            parts = []
            for url in urls:
                data.url = url
                store = None
                if kind == "Zarr" and not entry.metadata.stvd.sparse:
                    store = partial(
                        zarr.open_group,
                        url,
                        mode="r",
                        path=entry.kwargs.group or data.root or "",
                        storage_options=storage or None,
                    )
                with alone:
                    opened = reader.read(**options, chunks=None)
                parts.append(checked(opened, url, chunks, store))
            return _combined(parts, entry.kwargs.concat_dim)
    except DamagedSource:
        raise
    except Exception as error:
        if known := explained(error, name, where):
            raise known from error
        if not isinstance(error, OSError | ValueError | KeyError | ImportError):
            raise
        said = str(error).rstrip(".")
        if not isinstance(error, ImportError):
            said = _missing_bucket(where, storage) or said
        raise CatalogError(
            f"{name} cannot be read from {where}: {said}. Check that the data are there, that root "
            "names their folder or bucket, and the credentials in the environment."
        ) from error


def _missing_bucket(url: str, storage: dict[str, Any]) -> str:
    """Says so if the bucket is what is missing."""
    scheme, _, path = url.partition("://")
    bucket = path.split("/", 1)[0]
    if scheme != "s3" or fsspec.filesystem("s3", **storage).exists(bucket):
        return ""
    return f"there is no bucket {bucket}"


def _combined(parts: list[xr.Dataset], concat_dim: str | None) -> xr.Dataset:
    """The parts of a record that several files or stores hold, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if concat_dim is None:
        return cast(xr.Dataset, xr.combine_by_coords(parts))
    return xr.combine_nested(parts, concat_dim=concat_dim)


def _intake_reader(document: Document, name: str, root: str) -> Any:
    """The Intake reader of one entry, its parameters filled in."""
    entry = document.entry(name)
    data_name, data = document.data_of(entry)
    allowed = {
        "version": 2,
        "metadata": {},
        "aliases": {},
        "user_parameters": {k: v.model_dump() for k, v in document.user_parameters.items()},
        "data": {
            data_name: {
                "datatype": data.datatype,
                "kwargs": data.kwargs.model_dump(exclude_defaults=True),
                "metadata": {},
                "user_parameters": {},
            }
        },
        "entries": {
            name: {
                "reader": entry.reader,
                "kwargs": entry.kwargs.model_dump(
                    exclude_defaults=True, exclude={"combine", "concat_dim"}
                ),
                "metadata": {},
                "output_instance": entry.output_instance,
                "user_parameters": {},
            }
        },
    }
    parameters = {"root": root.rstrip("/")} if document.user_parameters else {}
    return Catalog.from_dict(allowed)(**parameters)[name]


def _file_url(path: str) -> str:
    return f"file://{Path(path).resolve()}"


def _scheme(url: str, name: str) -> str:
    scheme, separator, path = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise CatalogError(
            f"{name}: {url} is not allowed; a URL begins with "
            f"{', '.join(f'{s}://' for s in SCHEMES)}."
        )
    if ".." in path.split("/"):
        raise CatalogError(f"{name}: {url} leaves its root; write it without '..'.")
    return scheme


def _require(*modules: str | None) -> None:
    for module in modules:
        if module and find_spec(module) is None:
            raise ImportError(f"{module} is not installed: pip install {INSTALL[module]}")
