"""LEAF: `begat serve`, a local web explorer over one index (extra `web`: starlette, uvicorn).

Enters: an index's place and settings.  Leaves: pages.  Options, one library call, one presenter, as in the neighbour
`begat.cli`; no statistics here. Every module imports without the extra: starlette is imported inside functions.

    app.py         create_app: the routes and what they share
    guard.py       which requests are let through: Host, Origin, and the headers of every answer
    roots.py       which paths may be read
    uploads.py     files dropped onto the page: names, sizes, a folder that vanishes
    jobs.py        heavy work: one at a time, with progress and cancel
    listing.py     models of the index, filtered, sorted, in pages
    render.py      templates; words and pictures are those of `begat.report`
    models.py      pages: the list, a model
    searches.py    pages: search by path or file, a job's progress, a result
    comparisons.py pages: two models by fingerprint, and by their weights
    trees.py       pages: a family tree
"""
