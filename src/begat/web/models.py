"""Pages: the list of models, and one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from begat.fingerprint import Fingerprint
from begat.fingerprint_file import loads
from begat.report import search_html, words
from begat.signals.axes import AXES
from begat.web.app import Explorer, entry_of
from begat.web.listing import SORTS, list_models, wish_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of what a fingerprint holds: axis in words, frame, sites, units of the axis, units sampled of each site."""

    title: str
    frame: str
    sites: int
    units: int
    sampled: int


def routes(x: Explorer) -> list[Route]:
    """The pages' addresses."""
    from starlette.routing import Route

    def models(request: Request) -> Response:
        wish = wish_of(request.query_params)
        with x.open() as store:
            listing = list_models(x.manifest.entries(store), wish)
        return x.page("models.html.j2", at="models", listing=listing, wish=listing.wish, sorts=SORTS)

    def model(request: Request) -> Response:
        with x.open() as store:
            entry = entry_of(store, request.path_params["id"])
            fingerprint = loads(store.get(entry.id), entry.name)
            total = store.count()
        job = x.jobs.latest("search", model=entry.id)
        found = None if job is None else search_html.context(job.result, entry.source)
        read = words.of_total(fingerprint.bytes_read, fingerprint.bytes_total)
        return x.page(
            "model.html.j2",
            at="models",
            e=entry,
            f=fingerprint,
            kept=kept(fingerprint),
            read=read,
            total=total,
            found=found,
            job=job,
        )

    return [Route("/", models), Route("/model/{id}", model)]


def kept(f: Fingerprint) -> list[Kept]:
    """What a fingerprint holds, a line per axis, frame and size."""
    frames = {"stored": "as stored", "tokens": "in the token frame"}
    lines = [
        Kept(
            AXES[o.axis].title if o.axis in AXES else o.axis,
            frames.get(o.frame, o.frame),
            len(o.place_S3),
            o.units,
            o.bits_SMB.shape[1],
        )
        for o in f.orders
    ]
    merged: dict[tuple[str, str, int, int], int] = {}
    for k in lines:
        merged[k.title, k.frame, k.units, k.sampled] = merged.get((k.title, k.frame, k.units, k.sampled), 0) + k.sites
    return [Kept(title, frame, sites, units, sampled) for (title, frame, units, sampled), sites in merged.items()]
