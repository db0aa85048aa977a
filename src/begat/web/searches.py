"""Pages: search by path, by file or from a model of the index; a job's progress; a search's result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from begat.errors import InputError, printable
from begat.fingerprint_file import loads
from begat.index.ask import ask, fingerprint_of
from begat.index.search import SearchResult, search
from begat.report import search_html
from begat.web.app import Explorer, entry_of, form, to_job
from begat.web.jobs import Job
from begat.web.uploads import MOST_BYTES, MOST_FILES, declared, receive

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

#: uploads at once
UPLOADS = 2
#: kind of job → where its result is shown
RESULTS = {"search": "/search/", "compare": "/compared/", "tree": "/tree/"}


def routes(x: Explorer) -> list[Route]:
    """The pages' addresses."""
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, RedirectResponse, Response
    from starlette.routing import Route

    def ask_page(_: Request) -> Response:
        return x.page("ask.html.j2", at="search", most=MOST_BYTES, files=MOST_FILES)

    async def by_path(request: Request) -> Response:
        fields = await form(request)
        text, base_text = (fields.get(k, [""])[0].strip() for k in ("path", "base"))
        path = await run_in_threadpool(x.roots.find, text)
        base = await run_in_threadpool(x.roots.find, base_text) if base_text else None

        def work(job: Job) -> SearchResult:
            return ask(path, x.index, base=base, progress=job)

        return to_job(request, x.jobs.submit("search", f"Search for relatives of {path.name}", work, asked=str(path)))

    async def by_upload(request: Request) -> Response:
        files = declared(request.query_params.get("files", ""))
        name = printable(request.query_params.get("name", "") or "dropped file", 200)
        if x.receiving >= UPLOADS:
            raise InputError("the server is busy", found=f"{UPLOADS} uploads on their way", fix="try again in a moment")
        x.receiving += 1
        try:
            upload = await receive(files, name, request.stream())
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            x.receiving -= 1

        def work(job: Job) -> SearchResult:
            query = fingerprint_of(upload.model, name=upload.name, progress=job)
            with x.open() as store:
                return search(query, store, progress=job)

        return to_job(
            request, x.jobs.submit("search", f"Search for relatives of {name}", work, after=upload.folder.cleanup, asked="")
        )

    async def by_model(request: Request) -> Response:
        with x.open() as store:
            entry = entry_of(store, request.path_params["id"])

        def work(job: Job) -> SearchResult:
            with x.open() as store:
                return search(loads(store.get(entry.id), entry.name), store, progress=job)

        title = f"Search for relatives of {entry.name}"
        return to_job(request, x.jobs.submit("search", title, work, model=entry.id, asked=entry.source))

    def job_page(request: Request) -> Response:
        job = known(request)
        return (
            RedirectResponse(RESULTS[job.kind] + job.id, 303)
            if job.state == "done"
            else x.page("job.html.j2", at="", job=job, ahead=x.jobs.ahead(job))
        )

    def job_json(request: Request) -> Response:
        job = known(request)
        return JSONResponse(state_of(job, x.jobs.ahead(job)))

    async def cancel(request: Request) -> Response:
        job = known(request)
        job.cancel()
        return RedirectResponse(f"/job/{job.id}", 303)

    def result(request: Request) -> Response:
        job = known(request, "search")
        return x.page("found.html.j2", at="search", job=job, own=job.result.same[0] if job.result.same else "",
                      **search_html.context(job.result, job.about["asked"]))  # fmt: skip

    def known(request: Request, kind: str = "") -> Job:
        job = x.jobs.get(request.path_params["job"])
        if job is None or (kind and (job.kind != kind or job.state != "done")):
            raise HTTPException(404)
        return job

    return [
        Route("/search", ask_page), Route("/search", by_path, methods=["POST"]), Route("/upload", by_upload, methods=["POST"]),
        Route("/model/{id}/search", by_model, methods=["POST"]), Route("/job/{job}", job_page), Route("/job/{job}/state", job_json),
        Route("/job/{job}/cancel", cancel, methods=["POST"]), Route("/search/{job}", result),
    ]  # fmt: skip


def state_of(job: Job, ahead: int) -> dict[str, Any]:
    """A job's progress, for the script."""
    return {
        "state": job.state, "task": job.task, "at": job.at, "total": job.total, "ahead": ahead, "error": printable(job.error, 600),
        "result": RESULTS[job.kind] + job.id if job.state == "done" else None,
    }  # fmt: skip
