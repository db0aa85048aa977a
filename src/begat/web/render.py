"""Templates of the explorer, beside those of the reports, in one environment: autoescape on, every string through
`begat.errors.printable`.

Enters: a template's name and what it shows.  Leaves: text.
"""

from __future__ import annotations

import time
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader

from begat.errors import printable
from begat.report.html import environment as report_environment
from begat.report.search_words import quoted
from begat.web.listing import short


@cache
def environment() -> Environment:
    """The reports' environment with the explorer's templates before theirs."""
    reports = report_environment()
    assert reports.loader is not None
    env = reports.overlay(loader=ChoiceLoader([PackageLoader("begat.web", "templates"), reports.loader]))
    env.filters = {**reports.filters, "short": short, "cut": cut, "quoted": quoted, "ago": ago}
    return env


def render(template: str, **context: Any) -> str:
    """A page's text."""
    return environment().get_template(template).render(**context)


@cache
def stylesheet() -> str:
    """All styles: house style, pictures, explorer."""
    return render("style.css.j2")


@cache
def script() -> str:
    """The explorer's own script."""
    return resources.files("begat.web").joinpath("static", "begat.js").read_text("utf-8")


@cache
def tree_script() -> str:
    """Pan, zoom and search of a family tree, as in its report."""
    return resources.files("begat.report").joinpath("templates", "tree.js").read_text("utf-8")


def cut(text: object, limit: int = 80) -> str:
    """Text on one line, cut at `limit` characters."""
    return printable(text, limit)


def ago(seconds: float) -> str:
    """A time as hours and minutes of today."""
    return time.strftime("%H:%M", time.localtime(seconds))
