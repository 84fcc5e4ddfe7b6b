"""Regions in files: GeoJSON by the standard library, shapefiles by pyshp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

NAMES = ("name", "NAME", "Name", "ADMIN", "NAME_EN", "id", "ID")
GEOGRAPHIC = ("CRS84", "EPSG::4326", "EPSG:4326", "4979")


@dataclass(frozen=True)
class Region:
    """A named area of the earth.

    Parameters
    ----------
    name : of the region
    geometry : Polygon or MultiPolygon, longitude and latitude in degrees
    """

    name: str
    geometry: BaseGeometry


def read_regions(path: str | Path, name: str | None = None) -> list[Region]:
    """The regions of a GeoJSON file or of a shapefile, in the order of the file.

    Parameters
    ----------
    path : `.geojson` or `.json`, or `.shp` beside its `.dbf` and `.shx` and perhaps `.prj`
    name : the property that names a feature; by default the first of `NAMES` that it has, and its
        number where it has none

    Returns
    -------
    list of Region; features of one name are one region

    Raises
    ------
    ValueError
        If a feature has no area, the file no feature, no property `name`, or coordinates that are not
        longitude and latitude.
    """
    path = Path(path)
    features = _shapefile(path) if path.suffix.lower() == ".shp" else _geojson(path)
    found: dict[str, list[BaseGeometry]] = {}
    for number, (properties, outline) in enumerate(features, 1):
        called = _name(properties, name, number, path)
        geometry = polygons_of(shapely.make_valid(shape(outline))) if outline else None
        if geometry is None or geometry.is_empty:
            raise ValueError(f"{path}: {called!r} is no polygon, so it has no area to average over")
        _, south, _, north = geometry.bounds
        if south < -90.0 or north > 90.0:
            raise ValueError(
                f"{path}: {called!r} reaches to latitude {max(north, -south):g}; write coordinates as "
                "longitude and latitude in degrees (EPSG:4326)"
            )
        found.setdefault(called, []).append(geometry)
    if not found:
        raise ValueError(f"{path} has no feature, so no region")
    return [Region(n, polygons_of(shapely.union_all(parts))) for n, parts in found.items()]


def polygons_of(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry, without the points and lines that repairs and unions leave."""
    parts = shapely.get_parts(geometry)
    if len(parts) and shapely.get_type_id(parts).max() > 3:  # collections within a collection
        parts = shapely.get_parts(parts)
    flat = parts[shapely.get_type_id(parts) == 3]
    return flat[0] if len(flat) == 1 else shapely.multipolygons(flat)


def _name(properties: dict[str, Any], name: str | None, number: int, path: Path) -> str:
    if name is not None and name not in properties:
        raise ValueError(
            f"{path}: feature {number} has no property {name!r}; it has {', '.join(properties)}"
        )
    for key in NAMES if name is None else (name,):
        if properties.get(key) not in (None, ""):
            return str(properties[key])
    return f"region {number}"


def _geojson(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as broken:
        raise ValueError(f"{path} is no GeoJSON: {broken}") from broken
    kind = content.get("type") if isinstance(content, dict) else None
    crs = str(content.get("crs", {}).get("properties", {}).get("name", "CRS84")) if kind else ""
    if kind and not crs.endswith(GEOGRAPHIC):
        raise ValueError(f"{path} is on {crs}; reproject it to longitude and latitude (EPSG:4326)")
    if kind == "FeatureCollection":
        features = content["features"]
    elif kind == "Feature":
        features = [content]
    elif kind in ("Polygon", "MultiPolygon", "GeometryCollection"):
        features = [{"geometry": content}]
    else:
        raise ValueError(f"{path} is no GeoJSON of polygons: its type is {kind}")
    for feature in features:
        properties = dict(feature.get("properties") or {})
        if "id" in feature:
            properties.setdefault("id", feature["id"])
        yield properties, feature.get("geometry")


def _shapefile(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    import shapefile

    projection = path.with_suffix(".prj")
    if projection.exists():
        text = projection.read_text(encoding="utf-8", errors="replace").lstrip()
        if not text.startswith(("GEOGCS", "GEOGCRS", "GEODCRS")):
            raise ValueError(
                f"{path} is projected ({text[:60]}…); reproject it to longitude and latitude (EPSG:4326)"
            )
    page = path.with_suffix(".cpg")
    encoding = page.read_text().strip() if page.exists() else "utf-8"
    with shapefile.Reader(str(path), encoding=encoding, encodingErrors="replace") as reader:
        for record in reader.iterShapeRecords():
            empty = record.shape.shapeType == shapefile.NULL
            yield record.record.as_dict(), None if empty else record.shape.__geo_interface__
