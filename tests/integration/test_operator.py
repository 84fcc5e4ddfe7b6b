"""What an operator sees: the pages of Prefect and MLflow in a real browser, from form to figure.

The record is a corner of the demo's; its champion is the checkpoint that comes with the project, and a training
of a few steps draws curves. `make test-ui` keeps pictures of the pages.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
import yaml
from stack_process import running_stack

from flows.settings import Settings
from flows.stack import StackState
from flows.stack_processes import MARK
from stvd.checkpoint import Card

browser = pytest.importorskip("operator_browser", reason="no Playwright: pip install '.[dev]'")
pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium is installed"),
]

ROOT = Path(__file__).parents[2]
SOURCE, CELL = "monsoon", "000008-000016_m000-002"
# Prefect's pages ask for a configuration though analytics is off; no event follows.
ASKED_IN_VAIN = {"sr-client-cfg.amplitude.com"}

PREPARE = """
import sys
from flows.settings import Settings
from flows.stack import connect
connect(Settings())
from flows.promote import promote
from flows.register import register
from flows.train import train
promote(version=register(checkpoint="gcm", description="rain of a global model"), reason="the first of its kind")
train(recipe=sys.argv[1], out=sys.argv[2])
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A folder for the stack, and a catalog with the record of a region."""
    folder = tmp_path_factory.mktemp("operator")
    with xr.open_dataset(ROOT / "data" / "demo_gcm.nc", decode_times=False) as whole:
        region = {
            "lat_c": slice(9, 13), "lon_c": slice(6, 14), "lat": slice(72, 104), "lon": slice(48, 112),
        }  # fmt: skip
        whole.isel(region).to_netcdf(folder / f"{SOURCE}.nc")
    catalog = (ROOT / "catalogs" / "demo.yaml").read_text().replace("gcm_demo", SOURCE)
    catalog = catalog.replace("demo_gcm.nc", f"{SOURCE}.nc").replace("../data", str(folder))
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / f"{SOURCE}.yaml").write_text(catalog)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME", MARK):
            environment.delenv(name, raising=False)
        environment.setenv("STVD_RUNS", str(folder / "runs"))
        environment.setenv("STVD_CATALOG", str(folder / "catalogs"))
        yield Settings()


@pytest.fixture(scope="module")
def stack(settings: Settings) -> Iterator[StackState]:
    with running_stack(settings) as state:
        yield state


@pytest.fixture(scope="module")
def preparing(settings: Settings, stack: StackState) -> Iterator[subprocess.Popen[str]]:
    """Registers the champion and trains, while the form is looked at."""
    training = {"steps": 100, "batch": 1, "crop": 16, "warmup": 10, "precision": "float32"}
    recipe = {
        "name": SOURCE,
        "description": "a trial on one week of a monsoon",
        "sources": [SOURCE],
        "predictors": ["prw"],
        "statics": ["orog"],
        "preset": "tiny",
        "training": training,
    }
    file = settings.home / f"{SOURCE}.yaml"
    file.write_text(yaml.safe_dump(recipe))
    process = subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(file), str(settings.home / SOURCE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def prepared(preparing: subprocess.Popen[str]) -> None:
    said, _ = preparing.communicate(timeout=900)
    assert preparing.returncode == 0, said


@pytest.fixture
def tab(request: pytest.FixtureRequest) -> Iterator[browser.Tab]:
    failed = request.session.testsfailed
    with browser.open_tab() as tab:
        yield tab
        if request.session.testsfailed > failed:
            tab.picture(f"failed_{request.node.name}")
        assert tab.refused <= ASKED_IN_VAIN


@pytest.fixture(scope="module")
def backfilled(stack: StackState, prepared: None) -> str:
    """The page of a backfill that was started from its form, once it is completed."""
    with browser.open_tab() as tab:
        form(tab, stack)
        tab.fill(source=SOURCE, product=SOURCE, start="2000-07-06", end="2000-07-08", members="2")
        tab.page.mouse.wheel(0, -10_000)
        tab.picture("prefect_form")
        tab.fill(checkpoint="models:/stvd-gcm@champion", steps="2", cell_frames="8")
        tab.submit()
        tab.see(f"{SOURCE} from 2000-07-06 to 2000-07-08")
        tab.see("Running", exact=True)
        tab.picture("prefect_running")
        tab.see("Completed", exact=True)
        return str(tab.page.url).split("?")[0]


def form(tab: browser.Tab, stack: StackState) -> None:
    """From the list of deployments to the form of a backfill."""
    page = tab.page
    page.goto(f"{stack.prefect_url}/v2/deployments")
    row = page.get_by_role("row").filter(has=page.get_by_text("backfill", exact=True))
    row.get_by_role("link", name="stvd", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_role("heading", name="Parameters").wait_for()


def experiment(tab: browser.Tab, stack: StackState, name: str, search: str) -> None:
    """The one run of an experiment of MLflow that a search finds."""
    page = tab.page
    page.goto(f"{stack.mlflow_url}/#/experiments")
    page.get_by_role("button", name="Close", exact=True).click()  # the assistant
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name=name, exact=True).first.click()
    box = page.get_by_placeholder("metrics.rmse")
    box.fill(search)
    box.press("Enter")
    tab.see("1 matching run")


def test_the_form_refuses_and_names_what_is_wrong(
    stack: StackState, preparing: object, tab: browser.Tab
) -> None:
    form(tab, stack)
    tab.fill(source=SOURCE, members="0")
    send = tab.page.get_by_role("button", name="Submit", exact=True)
    send.click()
    members = tab.field("members").locator("input")
    assert members.evaluate("box => box.validationMessage").endswith("equal to 1.")
    tab.fill(members="2", start="6 July")
    send.click()
    tab.see("'6 July' is not valid")
    tab.field("start").scroll_into_view_if_needed()
    tab.picture("prefect_wrong_date")
    assert tab.page.url.split("?")[0].endswith("/run"), "nothing was started"


def test_what_only_the_record_can_tell_fails_at_once_by_name(
    stack: StackState, preparing: object, tab: browser.Tab
) -> None:
    wrong = {
        "no catalog has a source 'nowhere'": {"source": "nowhere"},
        "ValueError: period ends before it starts: start 2000-07-08, end 2000-07-06": {
            "source": SOURCE,
            "start": "2000-07-08",
            "end": "2000-07-06",
        },
    }
    pages = {}
    for message, values in wrong.items():
        form(tab, stack)
        tab.fill(**values)
        tab.submit()
        tab.page.wait_for_url("**/runs/flow-run/**")
        pages[message] = tab.page.url.split("?")[0]
    for message, url in pages.items():
        tab.page.goto(f"{url}?tab=Details")
        tab.see("Failed", exact=True)
        tab.see(message)
    tab.picture("prefect_refused")


def test_a_backfill_from_its_form_shows_partitions_and_artifacts(
    settings: Settings, backfilled: str, tab: browser.Tab
) -> None:
    page = tab.page
    page.goto(f"{backfilled}?tab=SubflowRuns")
    page.get_by_role("tab", name="Subflow Runs").click()
    for cell in (CELL, "000016-000024_m000-002"):
        tab.see(f"{SOURCE} {cell}")
    tab.picture("prefect_run")
    page.get_by_role("tab", name="Artifacts").click()
    tab.see(f"{SOURCE}: 2 published")
    tab.see(f"{SOURCE}, 2 partitions: 2 of 2")
    tab.see(f"Plan for {settings.product_uri(SOURCE)}, 2 partitions")
    tab.picture("prefect_artifacts")
    page.get_by_role("link", name=f"plan-{SOURCE}").first.click()
    page.get_by_role("link", name=re.compile(r"^[0-9a-f]{8}$")).first.click()
    tab.see(CELL)
    tab.see("2000-07-06T00:00:00/2000-07-07T00:00:00")
    tab.picture("prefect_plan")


def test_the_run_of_a_partition_is_found_by_its_tag_and_has_figures(
    stack: StackState, backfilled: str, tab: browser.Tab
) -> None:
    page = tab.page
    experiment(tab, stack, f"product/{SOURCE}", f"tags.`stvd.partition` = '{CELL}'")
    tab.picture("mlflow_search")
    page.get_by_role("link", name="2000-07-06").first.click()
    tab.see("models:/stvd-gcm/1")
    tab.see("pr_mean_mmh")
    page.get_by_role("tab", name="Artifacts").click()
    tab.see("figures", exact=True).click()
    tab.see("wettest.png").click()
    figure = page.locator("img[src^='blob:']").first
    figure.wait_for()
    tab.see("area_mean.png")
    page.wait_for_timeout(1000)  # the tree of files opens slowly
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    tab.picture("mlflow_partition")


def test_a_training_has_curves_and_sample_figures(
    stack: StackState, prepared: None, tab: browser.Tab
) -> None:
    page = tab.page
    experiment(tab, stack, "training", f"tags.`stvd.model` = 'stvd-{SOURCE}'")
    page.get_by_role("link", name=SOURCE, exact=True).first.click()
    page.get_by_role("tab", name="Model metrics").click()
    curves = page.locator(".js-plotly-plot .scatterlayer path.js-line")
    curves.first.wait_for(state="attached")
    for name in ("loss", "gradient_norm", "learning_rate"):
        tab.see(f"{SOURCE} ({name})")
    tab.picture("mlflow_curves")
    page.get_by_role("tab", name="Artifacts").click()
    tab.see("samples", exact=True).click()
    tab.see("members.png").click()
    page.locator("img[src^='blob:']").first.wait_for()


def test_the_registered_model_has_its_alias_and_digest(
    stack: StackState, prepared: None, tab: browser.Tab
) -> None:
    page = tab.page
    page.goto(f"{stack.mlflow_url}/#/models/stvd-gcm")
    page.get_by_role("button", name="Close", exact=True).click()  # the assistant
    tab.see("@ champion")
    page.get_by_role("link", name="Version 1").click()
    tab.see("@ champion")
    tab.see(Card.read(ROOT / "checkpoints" / "gcm").digest)
    tab.picture("mlflow_model")
