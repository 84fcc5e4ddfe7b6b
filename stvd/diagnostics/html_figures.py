"""Figures of a report: where they stand, what they are called, and what is said for who cannot see them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape

from matplotlib.figure import Figure

from stvd.diagnostics.pictures import Picture

WIDE = 850  # pixels from which a figure takes the whole width
# Sections, and the beginnings of the names of the figures in each.
SECTIONS = {
    "One moment": ("animation", "panel", "members"),
    "The period": (
        "area_mean",
        "indices",
        "pr_",
        "seasonal",
        "diurnal",
        "wet_day",
        "yearly",
        "regions",
    ),
    "Extremes": ("rx", "return", "event", "exceedance", "cdd", "cwd", "r9", "r1", "r2", "sdii"),
    "Change": ("trend", "change", "agreement"),
    "Realism": ("spectra", "intensity", "histogram", "autocorrelation", "variance", "consistency"),
    "Verification": ("rank", "scores", "reliability", "realism"),
}
OTHERS = "Other figures"
# How to read a figure, by the beginning of its name.
READ = {
    "animation": "The wettest frames in a row: input, truth where there is one, and members.",
    "panel": "The wettest frame: input, truth where there is one, members, their mean and spread.",
    "area_mean": "Mean over the area. A band that holds the truth, and no wider, is a good ensemble.",
    "indices": "Ensemble means of the indices of the period, each on its own scale; grey: no value.",
    "seasonal": "Mean of each calendar month; the band spans the members.",
    "diurnal": "Mean of each time of day; the band spans the members.",
    "pr_total": "Sum over the period: mean over the members, and their standard deviation.",
    "rx": "The largest amount or rate of the period: mean over the members, and their standard deviation.",
    "return_level_maps": "Exceeded on average once in so many years, by a GEV of all members.",
    "return_level": (
        "One cell: the fit, its interval, and the annual maxima of all members. Beyond the longest "
        "return period of a maximum the curve is the shape of the distribution alone."
    ),
    "spectra": "Power by wavelength. Rain whose curve lies below that of the truth is too smooth.",
    "intensity": "How common each rate is. Too low on the right: too little extreme rain.",
    "rank_histogram": (
        "Where the truth stands among the members. Flat: calibrated. High at both ends: too sure. "
        "High in the middle: too unsure."
    ),
    "trend": (
        "Least squares over the years. Brown: less; blue-green: more. Dotted cells do not stand out from "
        "chance, with at most a tenth of those that do being false (Benjamini and Hochberg)."
    ),
    "change": "Brown: less rain; blue-green: more. Dots: too few members agree on the sign.",
    "autocorrelation": (
        "How alike rain is some cells away and some hours later. Above the truth: too smooth, too lasting."
    ),
    "consistency": (
        "Left: how far means over coarse cells are from the input. Right: jumps at seams; one is no seam."
    ),
    "exceedance": "Share of the area whose largest amount or rate of the period is above each threshold.",
    "regions": "Outlines of the regions whose means and scores are in the tables.",
    "events": "Where the largest events peaked, by rank; circles are as large as their water.",
    "return_period": "Years between days with so much rain, on average, by a GEV of all members.",
    "scores_by": "Scores of parts of the record, with 90% intervals.",
    "realism_distortion": (
        "More calls of the network: less error of a member, or better extremes? Numbers are calls."
    ),
    "agreement": "One: all members go the same way. A half or less: they do not agree.",
    "yearly": "Area means of complete years; dots are members, the dashed line a trend by least squares.",
    "variance": "Where the members differ, and where their mean is wrong; alike in a good ensemble.",
}  # fmt: skip


def section_of(name: str) -> str:
    """The section that a figure of this name stands in; the longest beginning decides."""
    known = [(len(b), s) for s, begins in SECTIONS.items() for b in begins if name.startswith(b)]
    return max(known)[1] if known else OTHERS


def caption(name: str) -> str:
    """How to read a figure of this name; nothing where it is not known."""
    known = [begin for begin in READ if name.startswith(begin)]
    return READ[max(known, key=len)] if known else ""


def of_year(names: Iterable[str], year: int | None) -> list[str]:
    """The figures of a year and those of no year: `rx1day_2001`, `rx1day_2001_to_date`, `panel`."""
    kept = []
    for name in names:
        said = re.search(r"_(\d{4})(_to_date)?$", name)
        if year is None or said is None or int(said.group(1)) == year:
            kept.append(name)
    return kept


def title_of(figure: Figure, name: str) -> str:
    """What stands above a figure, or its name."""
    above = figure.get_suptitle().replace("\n", " ") or next(
        (t for a in figure.axes if (t := a.get_title(loc="left") or a.get_title())), ""
    )
    return above or name.replace("_", " ")


def described(figure: Figure, name: str) -> str:
    """For who cannot see it: the title, the axes, and what each part or line of a figure is called."""
    title = title_of(figure, name)
    parts: list[str] = []
    for axes in figure.axes:
        said = [axes.get_title(loc="left"), axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        legend = axes.get_legend()
        parts += said + ([] if legend is None else [t.get_text() for t in legend.get_texts()])
    for legend in figure.legends:
        parts += [t.get_text() for t in legend.get_texts()]
    told = [p.replace("\n", " ") for p in dict.fromkeys(parts) if p and p != title]
    return f"{title}: {', '.join(told)}." if told else f"{title}."


def slug(name: str) -> str:
    """A name as the id of an element: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "figure"


def figure_element(name: str, title: str, alt: str, picture: Picture) -> str:
    """A figure with its picture inside; a click or tap shows it at full size."""
    place = slug(name)
    wide = " wide" if picture.width >= WIDE else ""
    data = b64encode(picture.data).decode("ascii")
    read = caption(name)
    said = f"<strong>{escape(title)}</strong>" + (f" {escape(read)}" if read else "")
    return (
        f'<figure id="{place}" class="plot{wide}">\n'
        f'<input type="checkbox" id="{place}-full" class="full" '
        f'aria-label="{escape("Full size: " + title)}">\n'
        f'<label class="frame" for="{place}-full">'
        f'<img src="data:{picture.mime};base64,{data}" width="{picture.width}" '
        f'height="{picture.height}" alt="{escape(alt)}"></label>\n'
        f"<figcaption>{said}</figcaption>\n</figure>"
    )
