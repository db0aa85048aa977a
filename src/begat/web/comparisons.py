"""Pages: two models of the index, by their fingerprints and, where both lie below a root, by their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from begat.errors import InputError
from begat.fingerprint_file import loads
from begat.index.search import parts
from begat.pipeline.fingerprints import compare_fingerprints
from begat.report import match_words, search_words, words
from begat.report.gridmap import STEPS
from begat.report.layermatch import layer_picture
from begat.signals.axes import AXES
from begat.types import Verdict
from begat.verdict.policy import POLICY
from begat.web.app import Explorer, entry_of, form, to_job
from begat.web.guard import REPORT_HEADERS
from begat.web.jobs import Job

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

#: seconds that a request waits for its turn
PATIENCE = 5.0


def routes(x: Explorer) -> list[Route]:
    """The pages' addresses."""
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    def compare_page(request: Request) -> Response:
        ids = request.query_params.getlist("m")
        if len(ids) != 2 or ids[0] == ids[1]:
            raise InputError("choose two models to compare", found=f"{len(set(ids))}", fix="tick two in the list of models")
        with x.open() as store:
            a, b = (entry_of(store, id) for id in ids)
            f, g = (loads(store.get(e.id), e.name) for e in (a, b))
        if not x.one.acquire(timeout=PATIENCE):
            raise InputError("the server is busy", fix="try again in a moment")
        try:
            m = compare_fingerprints(f, g)
        finally:
            x.one.release()
        dependent = m.log10_e is not None and m.log10_e >= POLICY.dependence_log10_e
        axes = [(AXES[name].title if name in AXES else name, words.log10_words(e)) for name, e in m.axes]
        can = {e.id: x.roots.allows(e.source) for e in (a, b)}
        job = x.jobs.latest("compare", a=a.id, b=b.id)
        return x.page(
            "compare.html.j2", at="models", a=a, b=b, m=m, headline=match_words.headline(m, dependent), badge=match_words.badge(m, dependent),
            tone=match_words.tone(m, dependent), means=match_words.means(m, dependent), e=words.e_value(m.log10_e), p=match_words.p_bound(m), axes=axes,
            searched=None if m.search_log10_e is None else words.log10_words(m.search_log10_e), parts=parts(m), angle=search_words.angle(m),
            cosine=search_words.cosine(m), slots=match_words.slots(m), picture=layer_picture(f.layers, [(b.name, m)]), steps=STEPS,
            command=search_words.compare_command(a.source, b.source), readable=all(can.values()), outside=[e for e in (a, b) if not can[e.id]], job=job,
        )  # fmt: skip

    async def by_weights(request: Request) -> Response:
        fields = await form(request)
        with x.open() as store:
            a, b = (entry_of(store, fields.get(k, [""])[0]) for k in ("a", "b"))
        paths = [await run_in_threadpool(x.roots.find, e.source) for e in (a, b)]

        def work(job: Job) -> Verdict:
            from begat.pipeline.compare import compare

            return compare(paths[0], paths[1], progress=job)

        return to_job(
            request,
            x.jobs.submit(
                "compare", f"Compare the weights of {a.name} and {b.name}", work, a=a.id, b=b.id, names=(a.name, b.name)
            ),
        )

    def done(request: Request) -> Job:
        job = x.jobs.get(request.path_params["job"])
        if job is None or job.kind != "compare" or job.state != "done":
            raise HTTPException(404)
        return job

    def compared(request: Request) -> Response:
        job = done(request)
        return x.page("compared.html.j2", at="models", job=job)

    def report(request: Request) -> Response:
        from begat.report.html import render_html

        return HTMLResponse(render_html(done(request).result), headers=REPORT_HEADERS)

    return [
        Route("/compare", compare_page), Route("/compare", by_weights, methods=["POST"]), Route("/compared/{job}", compared),
        Route("/compared/{job}/report", report),
    ]  # fmt: skip
