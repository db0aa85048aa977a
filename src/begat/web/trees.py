"""Pages: a family tree of models of the index, as a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from begat.errors import InputError
from begat.index.family import family_of
from begat.report.tree_html import rows, sentence
from begat.report.tree_layout import picture
from begat.report.tree_svg import legend
from begat.tree import Tree
from begat.web.app import Explorer, entry_of, form, to_job
from begat.web.jobs import Job
from begat.web.listing import chosen, wish_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

#: models of a tree: every pair of them is compared
MOST = 64


def routes(x: Explorer) -> list[Route]:
    """The pages' addresses."""
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    def ask_page(request: Request) -> Response:
        wish = wish_of(request.query_params)
        with x.open() as store:
            kept, problem = chosen(x.manifest.entries(store), wish)
        return x.page("ask_tree.html.j2", at="tree", wish=wish, found=len(kept), most=MOST, problem=problem, sample=kept[:8])

    async def grow(request: Request) -> Response:
        fields = await form(request)
        with x.open() as store:
            ids = [entry_of(store, id).id for id in dict.fromkeys(fields.get("m", []))]
            if not ids:
                wish = wish_of({k: v[0] for k, v in fields.items()})
                ids = [e.id for e in chosen(x.manifest.entries(store), wish)[0]]
        if not 2 <= len(ids) <= MOST:
            raise InputError(
                "cannot lay out a family tree",
                expected=f"2 to {MOST} models",
                found=f"{len(ids)}",
                fix="tick models in the list, or filter it",
            )

        def work(job: Job) -> Tree:
            with x.open() as store:
                return family_of(ids, store, progress=job)

        return to_job(request, x.jobs.submit("tree", f"Family tree of {len(ids)} models", work, ids=ids))

    def result(request: Request) -> Response:
        job = x.jobs.get(request.path_params["job"])
        if job is None or job.kind != "tree" or job.state != "done":
            raise HTTPException(404)
        tree, ids = job.result, job.about["ids"]
        p = picture(tree)
        return x.page(
            "family.html.j2", at="tree", tree=tree, picture=p, keys=legend(p), sentence=sentence(tree), threshold=f"{tree.threshold:.1f}", edges=rows(tree),
            members=[(id, tree.nodes[i].name) for i, id in enumerate(ids)],
        )  # fmt: skip

    return [Route("/tree", ask_page), Route("/tree", grow, methods=["POST"]), Route("/tree/{job}", result)]
