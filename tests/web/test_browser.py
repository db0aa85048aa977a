"""The explorer in headless Chromium, served by `begat serve` itself: search, compare, tree, hostile names, dark mode."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from begat.fingerprint_file import save
from begat.pipeline.sketch import sketch
from web.small_index import CONTROL, IMAGE, LONG, SCRIPT, Family

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
if CHROMIUM is None:
    pytest.skip("no chromium is installed: the explorer was not tried in a browser", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the explorer was not tried in a browser")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow

HERE = ("http://127.0.0.1:", "http://localhost:", "data:", "blob:")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def address(small: Family) -> Iterator[str]:
    command = [sys.executable, "-m", "begat", "serve", str(small.index), "--port", "0", "--root", str(small.root / "models")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert "http://127.0.0.1:" in line
    yield line.split("served at ")[1].split()[0].rstrip("/")
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that fails the test for a dialog, a script's error, a refusal of the page's own policy, or a request to anywhere else."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("dialog", lambda d: (wrong.append(f"dialog: {d.message}"), d.dismiss()))
    page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("request", lambda r: wrong.append(f"request: {r.url}") if not r.url.startswith(HERE) else None)
    page.scheme, page.expected = request.param, None
    yield page
    context.close()
    assert [w for w in wrong if page.expected is None or page.expected not in w] == []


def ground(page: Any) -> float:
    """How light the page's background is, 0 to 1."""
    rgb = page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].rstrip(")").split(",")
    return sum(float(v) for v in rgb[:3]) / 765


def test_dark_and_light(page: Any, address: str) -> None:
    for path in ("/", "/search", "/tree"):
        page.goto(address + path)
        assert (ground(page) > 0.9) == (page.scheme == "light")
        ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color").split("(")[1].rstrip(")").split(",")
        assert abs(sum(float(v) for v in ink[:3]) / 765 - ground(page)) > 0.7
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_list_filters_as_one_types(page: Any, address: str) -> None:
    page.goto(address)
    assert page.locator(".models tbody tr").count() == 8
    assert page.locator("#compare").is_disabled()
    page.get_by_label("name, source, note or id").fill("strange")
    sync_api.expect(page.locator(".models tbody tr")).to_have_count(1)
    assert page.locator(".models tbody a").inner_text() == "stranger"
    assert "q=strange" in page.url
    page.reload()
    assert page.locator(".models tbody tr").count() == 1


def test_search_by_path_shows_relatives_and_a_tree(page: Any, address: str) -> None:
    page.goto(address + "/search")
    page.locator("input[name=path]").fill("child")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/search/*", timeout=60_000)
    assert "was not made independently of 6 of 8 models" in page.locator("h1").inner_text()
    assert "parent" in page.locator(".relatives").first.inner_text()
    assert page.locator("#view.live svg .n").count() >= 3
    page.locator("#view").scroll_into_view_if_needed()
    before = page.evaluate("document.querySelector('#view svg').getAttribute('viewBox')")
    page.get_by_role("button", name="Larger").click()
    assert page.evaluate("document.querySelector('#view svg').getAttribute('viewBox')") != before
    page.locator(".relatives a", has_text="parent").first.click()
    page.wait_for_url("**/model/*")
    assert page.locator("h1").inner_text() == "parent"


def test_a_wrong_path_is_answered_in_words(page: Any, address: str) -> None:
    page.expected = "status of 400"
    page.goto(address + "/search")
    page.locator("input[name=path]").fill("/etc/passwd")
    with page.expect_response("**/search") as answer:
        page.get_by_role("button", name="Search").click()
    assert answer.value.status == 400
    assert "is not below an allowed folder" in page.locator(".wrong").inner_text()


def test_a_dropped_fingerprint_is_searched(page: Any, address: str, small: Family, tmp_path: Path) -> None:
    save(sketch(small.models["stitched"]), tmp_path / "s.begat")
    page.goto(address + "/search")
    page.set_input_files(".drop input", tmp_path / "s.begat")
    page.wait_for_url("**/search/*", timeout=60_000)
    assert "“stitched” was not made independently of 6 of 8" in page.locator("h1").inner_text()


def test_a_dropped_folder_is_searched(page: Any, address: str, small: Family) -> None:
    page.goto(address + "/search")
    page.set_input_files(".drop input", [*sorted(small.models["stranger"].iterdir())])
    page.wait_for_url("**/search/*", timeout=60_000)
    assert "was not made independently of the" not in page.locator("h1").inner_text()
    assert page.locator(".relatives a", has_text="stranger").count() == 1


def test_what_is_no_model_is_refused_before_it_is_sent(page: Any, address: str, tmp_path: Path) -> None:
    (tmp_path / "x.exe").write_bytes(b"MZ")
    page.goto(address + "/search")
    page.set_input_files(".drop input", tmp_path / "x.exe")
    assert "Nothing among it" in page.locator("#dropped").inner_text()


def test_a_models_page_searches_by_itself(page: Any, address: str, small: Family) -> None:
    page.goto(f"{address}/model/{small.ids['stitched']}")
    page.wait_for_selector("#relatives .relatives", timeout=60_000)
    assert "was not made independently of 6 of 8" in page.locator("#relatives").inner_text()


def test_compare_two_and_read_the_map(page: Any, address: str, small: Family) -> None:
    page.goto(address)
    for name in ("parent", "child"):
        page.locator(f"input[value='{small.ids[name]}']").check()
    page.get_by_role("button", name="Compare two").click()
    page.wait_for_url("**/compare?*")
    assert "were not made independently" in page.locator("h1").inner_text()
    page.get_by_role("button", name="Compare the weights").click()
    page.wait_for_url("**/compared/*", timeout=120_000)
    report = page.frame_locator("iframe")
    assert "Inheritance map" in report.locator("body").inner_text()
    assert report.locator(".cells rect, .grid rect").count() > 10
    box = report.locator("body").evaluate("b => getComputedStyle(b).backgroundColor").split("(")[1].split(",")[0]
    assert (float(box) > 200) == (page.scheme == "light")


def test_a_family_tree_is_zoomed_and_searched(page: Any, address: str, small: Family) -> None:
    page.goto(address)
    for name in ("parent", "child", "stranger"):
        page.locator(f"input[value='{small.ids[name]}']").check()
    page.get_by_role("button", name="Family tree").click()
    page.wait_for_url("**/tree/*", timeout=60_000)
    assert page.locator("#view svg .n").count() == 3

    def box() -> list[float]:
        return [float(v) for v in page.evaluate("document.querySelector('#view svg').getAttribute('viewBox')").split()]

    start = box()
    page.locator("#view").hover()
    page.mouse.wheel(0, -300)
    for _ in range(100):
        if box()[2] < start[2] - 1:
            break
        page.wait_for_timeout(20)
    zoomed = box()
    page.mouse.down()
    page.mouse.move(500, 500, steps=4)
    page.mouse.up()
    assert box()[:2] != zoomed[:2] and box()[2:] == zoomed[2:]
    page.get_by_label("Find a model").fill("strang")
    assert page.locator(".tools output").inner_text() == "1 found"
    page.get_by_role("button", name="Whole tree").click()
    assert box() == pytest.approx(start, abs=1.0)


def test_hostile_names_run_nothing(page: Any, address: str, small: Family) -> None:
    page.goto(address)
    assert SCRIPT in page.locator(".models").inner_text() and IMAGE in page.locator(".models").inner_text()
    for name in (SCRIPT, IMAGE, CONTROL, LONG):
        page.goto(f"{address}/model/{small.ids[name]}")
        page.wait_for_selector("#relatives .relatives", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("img").count() == 0
    page.goto(f"{address}/compare?m={small.ids[SCRIPT]}&m={small.ids[IMAGE]}")
    assert SCRIPT in page.locator("h1").inner_text()
    page.goto(address)
    for name in (SCRIPT, IMAGE, CONTROL, LONG):
        page.locator(f"input[value='{small.ids[name]}']").check()
    page.get_by_role("button", name="Family tree").click()
    page.wait_for_url("**/tree/*", timeout=60_000)
    page.get_by_label("Find a model").fill(IMAGE)
    assert page.locator(".tools output").inner_text() == "1 found"
    assert page.locator("img").count() == 0
    page.goto(f"{address}/search")
    page.locator("input[name=path]").fill("evil-0")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/search/*", timeout=60_000)


def test_a_stranger_page_cannot_post_or_read(page: Any, address: str, small: Family, tmp_path: Path) -> None:
    """A page of another origin starts nothing and learns nothing; what the server itself says to it: `test_forms_from_other_sites_are_refused`."""
    other = f"http://localhost:{address.rsplit(':', 1)[1]}"  # same server, another origin to the browser
    page.goto(f"{other}/search")
    page.expected = "console: "  # the page's own policy, which blocks both before they are sent, says so
    got = page.evaluate(
        """async ([there, id]) => {
            const say = p => p.then(r => r.type + r.status, e => "blocked");
            return [await say(fetch(there + "/model/" + id + "/search", {method: "POST", mode: "no-cors"})), await say(fetch(there + "/", {mode: "no-cors"}))];
        }""",
        [address, small.ids["stranger"]],
    )
    assert set(got) == {"blocked"}
