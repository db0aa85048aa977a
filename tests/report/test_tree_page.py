"""The tree's page in a browser: it moves, zooms, finds, and runs nothing that a name holds. Skipped without Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from begat.report.tree_html import render_html
from report.test_tree_report import evil, star

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"), pytest.mark.slow]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


def opened(browser, tree, tmp_path: Path):
    (tmp_path / "t.html").write_text(render_html(tree), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    trouble: list[str] = []
    page.on("console", lambda m: trouble.append(m.text))
    page.on("pageerror", lambda e: trouble.append(str(e)))
    page.on("dialog", lambda d: (trouble.append("dialog"), d.dismiss()))
    page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith("file:") else None)
    page.goto((tmp_path / "t.html").as_uri())
    return page, trouble


def box(page) -> list[float]:
    return [float(x) for x in page.evaluate("document.querySelector('#view svg').getAttribute('viewBox')").split()]


def test_zoom_move_and_find(browser, tmp_path: Path) -> None:
    page, trouble = opened(browser, star(60), tmp_path)
    whole = box(page)
    page.hover("#view")
    page.mouse.wheel(0, -400)
    near = box(page)
    assert near[2] < whole[2]
    page.mouse.down()
    page.mouse.move(300, 400)
    page.mouse.up()
    moved = box(page)
    assert moved[2] == pytest.approx(near[2]) and moved[:2] != near[:2]
    page.fill("input[type=search]", "MODEL-041")
    assert page.inner_text("output") == "1 found"
    assert page.evaluate("document.querySelectorAll('.n.on').length") == 2  # the model and its one neighbour
    page.click("text=Whole tree")
    assert box(page) == pytest.approx(whole)
    assert trouble == []


def test_nothing_a_name_holds_runs(browser, tmp_path: Path) -> None:
    page, trouble = opened(browser, evil(), tmp_path)
    assert "<script>alert(1)</script>" in page.inner_text("body")
    assert trouble == []
