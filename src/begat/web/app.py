"""`create_app`: the explorer as an ASGI app.

Enters: an index's place, roots, host names.  Leaves: an app for uvicorn, or for a test client.  Pages live in `models.py`,
`searches.py`, `comparisons.py`, `trees.py`; who may ask is decided by the neighbour `guard.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from begat.errors import BegatError, InputError
from begat.index.store import Entry, Store, open_store
from begat.web.guard import LOCAL, App, Guard
from begat.web.jobs import Jobs
from begat.web.listing import Manifest
from begat.web.render import render, script, stylesheet, tree_script
from begat.web.roots import Roots

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: bytes of a form that is no upload
_FORM = 64 << 10


@dataclass(slots=True)
class Explorer:
    """What the pages share.

    Attributes:
        index: where the index lies. roots: what may be read by path. manifest: its entries. jobs: heavy work.
        one: held while two fingerprints are compared inside a request. receiving: uploads on their way.
    """

    index: str
    roots: Roots
    manifest: Manifest = field(default_factory=Manifest)
    jobs: Jobs = field(default_factory=Jobs)
    one: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    receiving: int = 0

    def open(self) -> Store:
        """The index, for reading, for one request."""
        return open_store(self.index)

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """An HTML answer."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(render(template, **{"index": self.index, "roots": self.roots.folders, "at": "", **context}), status)


def create_app(index: str, roots: Sequence[str | Path] = (), names: Sequence[str] = (), any_address: bool = False) -> App:
    """The explorer over the index at `index`.

    Args:
        roots: folders below which models may be searched for by path.
        names: host names to answer to, beside this machine's own.
        any_address: answer to any IP address.

    Raises:
        InputError: no index there, a root that is no folder.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    from begat.web import comparisons, models, searches, trees

    with open_store(index):
        pass
    x = Explorer(str(index), Roots(roots))

    def bad_input(_: Request, err: Exception) -> Response:
        return x.page(
            "error.html.j2", 400, title="That did not work", words=err.line() if isinstance(err, InputError) else str(err)
        )

    def no_page(_: Request, err: Exception) -> Response:
        status = err.status_code if isinstance(err, HTTPException) else 500
        words = {404: "There is no such page, or it has been forgotten.", 405: "Not that way.", 413: "That is too much at once."}
        return x.page(
            "error.html.j2",
            status,
            title="Nothing here" if status == 404 else "That did not work",
            words=words.get(status, "An error."),
        )

    def failed(_: Request, err: Exception) -> Response:
        return x.page(
            "error.html.j2",
            500,
            title="That did not work",
            words=f"Internal error ({type(err).__name__}); the server's log says more.",
        )

    statics = (
        ("style.css", stylesheet, "text/css"),
        ("begat.js", script, "text/javascript"),
        ("tree.js", tree_script, "text/javascript"),
    )
    routes = [Route(f"/static/{name}", _static(text, kind)) for name, text, kind in statics]
    for module in (models, searches, comparisons, trees):
        routes += module.routes(x)
    app = Starlette(routes=routes, exception_handlers={BegatError: bad_input, HTTPException: no_page, Exception: failed})
    app.state.explorer = x
    return Guard(app, (*LOCAL, *names), any_address)


def _static(text: Any, kind: str) -> Any:
    def answer(_: Request) -> Response:
        from starlette.responses import Response

        return Response(text(), media_type=kind)

    return answer


# --- what handlers share ------------------------------------------------------------------------------------


async def form(request: Request) -> dict[str, list[str]]:
    """A small urlencoded form. HTTPException 413 when it is none."""
    from starlette.exceptions import HTTPException

    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM:
            raise HTTPException(413)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=600)
    except ValueError:
        raise InputError("form cannot be read", expected="fields as a browser sends them") from None


def wants_json(request: Request) -> bool:
    """Does the page's script ask, rather than a person?"""
    return "application/json" in request.headers.get("accept", "")


def entry_of(store: Store, id: str) -> Entry:
    """A model of the index. HTTPException 404 when there is none."""
    from starlette.exceptions import HTTPException

    if len(id) == 64 and set(id) <= set("0123456789abcdef"):
        for entry in store.manifest(id=id):
            return entry
    raise HTTPException(404)


def to_job(request: Request, job: Any) -> Response:
    """Send a browser to a job's page, or tell the script its address."""
    from starlette.responses import JSONResponse, RedirectResponse

    place = f"/job/{job.id}"
    return JSONResponse({"job": place}) if wants_json(request) else RedirectResponse(place, 303)
