"""A diagnosis as a folder of files: tables, lists, scores, figures, and a page for every year."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.html import render
from stvd.diagnostics.pictures import Album


class Files(NamedTuple):
    """Where a diagnosis lies: the folder, and the files in it by name."""

    folder: Path
    tables: dict[str, Path]
    figures: dict[str, Path]
    pages: dict[str, Path]


def write(diagnosis: Diagnosis, out: str | Path) -> Files:
    """Write tables (NetCDF, CSV), scores (NetCDF, CSV, JSON), figures (PNG, GIF) and pages (HTML) to a folder.

    A page, `report_<year>.html`, holds all that there is to see of a year, and needs no other file. The
    folder appears whole or not at all: it is written beside its place and then renamed; one that is
    there already is replaced.

    Returns
    -------
    Files, in the folder `out`
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        tables = _write_tables(diagnosis, work)
        album = Album(diagnosis.figures)
        figures = _write_figures(diagnosis, album, work)
        pages = _write_pages(diagnosis, album, work)
        work.chmod(0o755)
        if out.exists():
            old = work.with_name(work.name + ".old")
            os.rename(out, old)
            os.rename(work, out)
            shutil.rmtree(old)
        else:
            os.rename(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Files(
        out,
        {name: out / name for name in tables},
        {Path(name).stem: out / name for name in figures},
        {Path(name).stem: out / name for name in pages},
    )


def _write_tables(diagnosis: Diagnosis, folder: Path) -> list[str]:
    datasets = diagnosis.datasets()
    for name, described in datasets.items():
        for coordinate in described.coords.values():  # CF has none missing
            coordinate.encoding["_FillValue"] = None
        packed = {n: {"zlib": True} for n, v in described.data_vars.items() if v.ndim > 1}
        described.to_netcdf(folder / f"{name}.nc", engine="netcdf4", encoding=packed)
    rows = {"area_means": diagnosis.area_table(), "scores": diagnosis.score_table()}
    rows |= diagnosis.lists
    for name, table in rows.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    record = {
        "name": diagnosis.name,
        "period": diagnosis.period,
        "notes": list(diagnosis.notes),
        "scores": diagnosis.score_record(),
    }
    (folder / "scores.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return [*(f"{n}.nc" for n in datasets), *(f"{n}.csv" for n in rows), "scores.json"]


def _write_figures(diagnosis: Diagnosis, album: Album, folder: Path) -> list[str]:
    for name, picture in album.items():
        (folder / f"{name}.png").write_bytes(picture.data)
    for name, movie in diagnosis.animations.items():
        (folder / f"{name}.gif").write_bytes(movie)
    return [*(f"{n}.png" for n in diagnosis.figures), *(f"{n}.gif" for n in diagnosis.animations)]


def _write_pages(diagnosis: Diagnosis, album: Album, folder: Path) -> list[str]:
    names = []
    for year in diagnosis.years:
        page = render(diagnosis, year=year, pictures=album)
        names.append(f"report_{year}.html")
        (folder / names[-1]).write_text(page, encoding="utf-8")
    return names
