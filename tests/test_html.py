"""A report is one page that says everything, safely, with nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from html_samples import HOSTILE, animation, annual, chart, diagnosis

from stvd.diagnostics import Diagnosis
from stvd.diagnostics.html import render
from stvd.diagnostics.html_figures import READ, SECTIONS, caption, of_year, section_of
from stvd.diagnostics.html_tables import meaning, number, table
from stvd.diagnostics.pictures import Album, Picture

VOID = {"meta", "img", "input", "br", "link"}


class Reader(HTMLParser):
    """The tags of a page with their attributes, its text, and whether tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def said(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def whole() -> Diagnosis:
    return diagnosis()


@pytest.fixture(scope="module")
def page(whole: Diagnosis) -> str:
    return render(whole, year=2001, animations={"animation": animation()})


def test_the_page_is_well_formed(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert page.startswith("<!DOCTYPE html>")
    assert reader.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in reader.all("meta")
    assert any(m.get("name") == "viewport" for m in reader.all("meta"))
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_nothing_comes_from_elsewhere(page: str) -> None:
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    for _, attrs in reader.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/"))
        assert not any(name.startswith("on") for name in attrs)
    assert "url(" not in page
    assert "@import" not in page
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_contents_lead_to_the_sections(page: str) -> None:
    reader = Reader(page)
    links = [str(a["href"])[1:] for a in reader.all("a")]
    assert links == [a["id"] for a in reader.all("h2")]
    assert links == [
        "summary", "one-moment", "extremes", "realism", "verification", "other-figures", "tables",
        "provenance",
    ]  # fmt: skip


def test_pictures_are_inside_and_described(page: str) -> None:
    images = Reader(page).all("img")
    assert len(images) == 6  # of 2001 and of no year: five figures and the animation
    assert sum(str(i["src"]).startswith("data:image/gif;base64,R0lGOD") for i in images) == 1
    for image in images:
        assert len(str(image["alt"])) > 10
        assert int(str(image["width"])) > 100
    spectra = next(str(i["alt"]) for i in images if "Spectra" in str(i["alt"]))
    assert spectra == "Spectra · gcm_demo · 2001 to 2002: rain rate (mm h⁻¹), share, truth."


def test_a_year_shows_its_own_numbers(whole: Diagnosis, page: str) -> None:
    said = Reader(page).said
    area = float(whole.tables["annual"]["pr_total_area"].mean())
    assert "gcm_demo · 2001" in said
    assert "2001: complete year" in said
    assert f"{area:.0f} mm total precipitation, area mean" in said
    assert "3 members:" in said
    assert "fair continuous ranked probability score, stvd" in said
    assert "rx1day-2001" in page
    assert "rx1day-2002" not in page


def test_an_incomplete_year_says_so(whole: Diagnosis) -> None:
    page = render(whole, year=2002)
    assert "2002: incomplete, 2002-01-01 to 2002-04-01" in Reader(page).said
    assert "rx1day-2002-to-date" in page
    assert "rx1day-2001" not in page


def test_without_a_year_all_are_shown(whole: Diagnosis) -> None:
    page = render(whole)
    assert "rx1day-2001" in page
    assert "rx1day-2002-to-date" in page
    said = Reader(page).said
    assert "area mean 2001" in said  # the numbers of the last complete year
    assert "2001-01-01 to 2002-01-01 pr_total" in said


def test_a_year_that_is_not_there_is_refused(whole: Diagnosis) -> None:
    with pytest.raises(ValueError, match=r"gcm_demo has no year 1999; there is 2001, 2002"):
        render(whole, year=1999)
    with pytest.raises(ValueError, match="no table of years"):
        render(dataclasses.replace(whole, tables={}), year=2001)


def test_tables_notes_and_provenance(page: str) -> None:
    said = Reader(page).said
    assert "Read before use 2002 is not complete: to date." in said
    assert "snapshot XZYA1ZSCGR0WM5WHRV3G" in said
    assert "sha256:" + "9f" * 32 in said
    assert "members 3" in said
    assert "made\nextended" in page
    assert "events by event: 15 rows" in said  # long: folded
    assert "peak (mm h⁻¹)" in said
    assert "2001-01-15" in said
    assert "fair continuous ranked probability score kg m⁻² s⁻¹" in said
    assert "annual.nc pr_total_mean" in said


def test_lists_show_the_rows_of_the_year(whole: Diagnosis) -> None:
    regions = pd.DataFrame(
        {"start": ["2001-01-01", "2002-01-01"], "region": ["Alps", "Rhine"], "mean": [1.5, 2.5]}
    )
    events = pd.DataFrame({"peak": [33.0], "place": ["<b>"]})
    page = render(
        dataclasses.replace(whole, lists={"regions": regions, "events": events}), year=2001
    )
    said = Reader(page).said
    assert "Alps 1.50" in said
    assert "Rhine" not in said
    assert "33.0" in said
    assert "&lt;b&gt;" in page


def test_long_variables_are_left_to_the_files(whole: Diagnosis) -> None:
    bins = xr.Dataset({"share": (("member", "bin"), np.zeros((3, 6000)))})
    page = render(dataclasses.replace(whole, tables={**whole.tables, "intensity": bins}), year=2001)
    said = Reader(page).said
    assert "intensity by" not in said
    assert "intensity.nc share 3 member × 6000 bin" in said


def test_animations_of_the_diagnosis_are_shown(whole: Diagnosis) -> None:
    moving = dataclasses.replace(whole, animations={"animation": animation()})
    assert "data:image/gif;base64," in render(moving, year=2001)
    assert "data:image/gif;base64," not in render(moving, year=2001, animations={})


def test_pages_can_share_their_pictures(whole: Diagnosis, page: str) -> None:
    drawn: list[str] = []

    class Counting(Album):
        def __getitem__(self, name: str) -> Picture:
            drawn.append(name)
            return super().__getitem__(name)

    album = Counting(whole.figures)
    movie = {"animation": animation()}
    assert render(whole, year=2001, animations=movie, pictures=album) == page
    assert "rx1day_2002_to_date" not in drawn
    assert album["panel"] is album["panel"]


def test_every_text_is_escaped() -> None:
    bad = diagnosis(HOSTILE, note=f"{HOSTILE} & more")
    bad = dataclasses.replace(
        bad,
        tables={
            **bad.tables,
            "annual": _named(bad.tables["annual"]),
            HOSTILE: bad.tables["events"].rename(peak=HOSTILE),
        },
        scores={HOSTILE: bad.scores["stvd"]},
        figures={**bad.figures, HOSTILE: chart(HOSTILE)},
        attrs={HOSTILE: HOSTILE, 'a"b': 'c"d'},
    )  # fmt: skip
    page = render(bad, animations={f'"{HOSTILE}': animation()})
    reader = Reader(page)
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;" in page
    assert not reader.all("script")
    assert reader.open == []
    assert f"<title>{'&lt;script&gt;'}" in page
    # No attribute was broken out of: those there are those of the page itself.
    known = {"lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "for", "type",
             "src", "width", "height", "alt", "scope", "tabindex", "role"}  # fmt: skip
    assert {a for _, attrs in reader.tags for a in attrs} <= known | {
        "aria-label",
        "aria-labelledby",
    }


def _named(table: xr.Dataset) -> xr.Dataset:
    renamed = table.copy()
    renamed["rx1day"] = renamed["rx1day"].assign_attrs(long_name=HOSTILE)
    return renamed


def test_the_same_diagnosis_gives_the_same_page(whole: Diagnosis, page: str) -> None:
    assert render(whole, year=2001, animations={"animation": animation()}) == page


def test_a_diagnosis_with_next_to_nothing() -> None:
    page = render(Diagnosis("bare", "2001-01-01/2001-01-02", {}, {}, {}, ()))
    assert "Nothing to sum up." in Reader(page).said
    assert Reader(page).open == []


def test_a_table_of_one_member_has_no_range() -> None:
    single = Diagnosis("one", "2001/2002", {"annual": annual([2001], members=1)}, {}, {}, ())
    said = Reader(render(single)).said
    assert "1 members:" not in said
    assert "–" in said  # no spread


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.00002033, "2.03 × 10⁻⁵"), (1234.6, "1235"), (0.5, "0.500"), (float("nan"), "–"), (7, "7"),
        (0.0, "0"), (-3.14159, "-3.14"), (1.5e7, "1.50 × 10⁷"), (np.float32(2.5), "2.50"),
        (np.int8(3), "3"), ("text", "text"), (True, "True"),
    ],
)  # fmt: skip
def test_numbers_for_readers(value: object, said: str) -> None:
    assert number(value) == said


def test_scores_are_explained_by_their_longest_name() -> None:
    assert meaning("crps_fair").startswith("fair continuous")
    assert meaning("p99_9_ratio") == "quantile of pooled values over that of the truth · 99.9%"
    assert meaning("fss_1mmh_8cells") == "fractions skill score of a member · 1mmh · 8cells"
    assert meaning("something_else") == ""


def test_long_tables_are_cut_and_folded() -> None:
    made = table(["a", "b"], [[str(k), "<b>"] for k in range(250)], caption="Many", numbers=[0])
    assert made.count("<tr>") == 201
    assert "<summary>Many: 250 rows (the first 200 of them)</summary>" in made
    assert "&lt;b&gt;" in made
    assert '<td class="number">7</td>' in made


@pytest.mark.parametrize(
    ("name", "section"),
    [("panel", "One moment"), ("rx1day_2001", "Extremes"), ("pr_total_2001", "The period"),
     ("return_level_rx1day", "Extremes"), ("indices_2001", "The period"), ("rank_histogram", "Verification"),
     ("histogram", "Realism"), ("variance", "Realism"), ("nothing", "Other figures")],
)  # fmt: skip
def test_figures_have_their_sections(name: str, section: str) -> None:
    assert section_of(name) == section


def test_known_figures_are_explained() -> None:
    assert caption("return_level_maps_rx1day") == READ["return_level_maps"]
    assert caption("nothing") == ""
    assert all(section_of(begin) in SECTIONS for begin in READ)


def test_figures_of_a_year() -> None:
    names = ["panel", "rx1day_2001", "rx1day_2002_to_date", "level_100_years"]
    assert of_year(names, 2002) == ["panel", "rx1day_2002_to_date", "level_100_years"]
    assert of_year(names, None) == names
