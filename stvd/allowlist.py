"""What a catalog may say: Intake version-2 YAML, closed to everything that is not listed here.

YAML can name any Python object for Intake to import, and templates for it to evaluate. Allowed are
four data types, one reader, one parameter (`{root}`, where the data are), storage options that hold
no secret, and the `stvd` adapter in the metadata of an entry.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import fsspec
import yaml
from intake.catalog.exceptions import DuplicateKeyError
from intake.utils import yaml_load
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stvd.adapter import Adapter
from stvd.contract import CatalogError
from stvd.layout import catalog_of_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DATA = re.compile(r"\{data\(([A-Za-z0-9._-]+)\)\}")

Nothing = Annotated[dict[str, str], Field(max_length=0)]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StorageOptions(Strict):
    """What a catalog may say about its storage; credentials come from the environment."""

    anon: bool | None = None
    endpoint_url: str | None = None
    requester_pays: bool | None = None
    token: Literal["anon"] | None = None  # of gcsfs


class DataArguments(Strict):
    url: str | list[str] = Field(min_length=1)
    storage_options: StorageOptions = StorageOptions()
    root: str = ""  # group of a Zarr store


class Data(Strict):
    datatype: Literal[
        "intake.readers.datatypes:Zarr",
        "intake.readers.datatypes:HDF5",
        "intake.readers.datatypes:NetCDF3",
        "intake.readers.datatypes:GRIB2",
    ]
    kwargs: DataArguments
    metadata: dict[str, Any] = {}
    user_parameters: Nothing = {}


class GribArguments(Strict):
    filter_by_keys: dict[str, str | int] = {}
    time_dims: list[str] = ["time", "step"]


class ReaderArguments(Strict):
    data: str
    chunks: dict[str, int] = {}
    consolidated: bool | None = None
    group: str | None = None
    combine: Literal["nested"] | None = None
    concat_dim: str | None = None
    backend_kwargs: GribArguments | None = None


class Metadata(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    stvd: Adapter


class Entry(Strict):
    reader: Literal["intake.readers.readers:XArrayDatasetReader"]
    kwargs: ReaderArguments
    metadata: Metadata
    output_instance: Literal["xarray:Dataset"] = "xarray:Dataset"
    user_parameters: Nothing = {}


class Root(Strict):
    cls: Literal["intake.readers.user_parameters:SimpleUserParameter"]
    dtype: Literal["str"] = "str"
    default: str = ""
    description: str = ""


class Document(Strict):
    version: Literal[2]
    metadata: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    user_parameters: dict[Literal["root"], Root] = {}
    data: dict[str, Data]
    entries: dict[str, Entry]

    def entry(self, name: str) -> Entry:
        """The entry of a name or alias; `CatalogError` if there is none."""
        check_name(name)
        name = self.aliases.get(name, name)
        if name not in self.entries:
            raise CatalogError(f"there is no source {name!r}, only {', '.join(self.entries)}.")
        return self.entries[name]

    def data_of(self, entry: Entry) -> tuple[str, Data]:
        """The data that an entry reads, by name."""
        found = DATA.fullmatch(entry.kwargs.data)
        if found is None or found[1] not in self.data:
            raise ValueError(f"data is {entry.kwargs.data!r} and not '{{data(name)}}' of a name")
        return found[1], self.data[found[1]]

    @model_validator(mode="after")
    def _names_and_templates(self) -> Document:
        for name in (*self.data, *self.entries, *self.aliases):
            check_name(name)
        for name, entry in self.entries.items():
            self.data_of(entry)
            check_templates(entry.kwargs.model_dump(exclude={"data"}), name)
        for name, data in self.data.items():
            check_templates(data.kwargs.model_dump(), name)
        return self


def read_catalog(catalog: str | Path) -> tuple[Document, str]:
    """Read a catalog, or make that of a data file, and check it.

    Returns
    -------
    the catalog and the default root of its data, a path or URL

    Raises
    ------
    CatalogError
        If it cannot be read or says what it may not.
    """
    where = str(catalog)
    if not where.endswith((".yaml", ".yml")):
        content: Any = catalog_of_file(where)
    else:
        try:
            with fsspec.open(where, "rt", encoding="utf-8") as stream:
                content = yaml_load(stream)
        except (OSError, yaml.YAMLError, DuplicateKeyError) as error:
            raise CatalogError(f"catalog {where} cannot be read: {error}.") from error
    try:
        document = Document.model_validate(content)
    except ValidationError as error:
        refused = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise CatalogError(
            f"catalog {where} says what a catalog may not: {refused}. "
            "stvd/allowlist.py lists what it may."
        ) from error
    root = str(document.metadata.get("default_root", "."))
    if "://" not in root and "://" not in where:
        root = str((Path(where).parent / root).resolve())
    return document, root


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise CatalogError(f"{name!r} is no name: use letters, digits, '.', '_' and '-' only.")


def check_path(path: str, what: str) -> None:
    """Refuse a path or URL that a user gave if it leads upwards."""
    if ".." in unquote(path).replace("\\", "/").split("/"):
        raise CatalogError(f"{what} {path!r} holds '..': write the folder that is meant.")


def check_templates(value: Any, name: str) -> None:
    """Refuse what Intake would evaluate, such as `{env(X)}`, other than `{root}` in a URL."""
    if isinstance(value, str) and re.search("[{}]", value.removeprefix("{root}")):
        raise ValueError(f"{name}: {value!r} is not allowed; the one parameter is {{root}}")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            check_templates(part, name)
