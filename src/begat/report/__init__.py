"""LEAF: a finished `Verdict` → text, JSON or one HTML file. Presenters compute no statistics, only layout.

Enters: `begat.types.Verdict`.  Leaves: strings.  What it says was decided by the neighbour `begat.verdict`, measured by
`begat.pipeline`; who prints it is `begat.cli`.  Every word from a model folder passes `begat.errors.printable` on its way out.

    text.py    render_text, print_text: one page for a terminal
    json.py    to_json, dumps, load_schema: everything, for machines (schema/verdict-1.schema.json)
    html.py    render_html: one self-contained page (templates/)
    layout.py  parts and roles condensed, the picture of hits against chance
    gridmap.py the picture of the inheritance map
    words.py   numbers as words
"""
