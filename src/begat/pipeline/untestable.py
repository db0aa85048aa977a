"""Why two readable models cannot be compared, and what would make it possible.

Enters: two canonical models, what ran and what did not.  Leaves: a clause for the headline of
`cannot-test`.  Errors are for input that is broken; two sound models that have nothing comparable
are an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from begat.alignment import Alignment
from begat.canon.model import Canonical
from begat.errors import InputError, printable
from begat.pipeline.inherit import common_keys
from begat.pipeline.words import shape_words
from begat.source.tokens import read_vocabulary
from begat.types import AxisResult, Checkpoint

_NAMES = "docs/formats.md lists the names that are known"


def nothing_comparable(
    a: Canonical, b: Canonical, axes: Sequence[AxisResult], alignment: Alignment | None
) -> str:
    """The reason, or "" where something was comparable."""
    if any(x.tests for x in axes):
        return ""
    if alignment is not None and any(r.log10_e is not None for r in alignment.routes):
        return ""
    unknown = [no_known_tensor(name, m) for name, m in (("A", a), ("B", b)) if not m.tensors]
    if unknown:
        return (
            "; ".join(unknown)
            + "; it could only have been seen that all their tensors are equal, and not all are"
        )
    for name, m in (("A", a), ("B", b)):
        if all(g.width is None and not g.symmetric for g in m.geometry.values()):
            known = f"{len(m.mapped)} of its {len(m.mapped) + len(m.unmapped)} tensors have known names"
            little = f"of {name} begat knows too little: {known}, and none shows a layer or a residual stream"
            return undecoded(name, m) or f"{little} ({_NAMES})"
    common = {k.tower for k in a.tensors} & {k.tower for k in b.tensors}
    if not common:
        return f"their architectures have nothing in common (A is {shape_words(a)}; B is {shape_words(b)})"
    if not _share_a_width(a, b):
        widths = f"their widths differ (A is {shape_words(a)}; B is {shape_words(b)})"
        return f"{widths}, and {_tokens(a, b)}"
    if not common_keys(a, b):
        return f"no tensor has one shape in both (A is {shape_words(a)}; B is {shape_words(b)})"
    return ""


def tokenless(a: Checkpoint, b: Checkpoint) -> str:
    """Beside which of two no tokenizer lies, as a clause; "" where both have one that can be
    read.
    """
    lacks = []
    for name, c in (("A", a), ("B", b)):
        try:
            if read_vocabulary(c.path) is None:
                lacks.append(name)
        except InputError as err:
            return f"the tokenizer beside {name} cannot be used ({printable(err.problem)})"
    if not lacks:
        return ""
    return f"no tokenizer lies beside {'either' if len(lacks) == 2 else lacks[0]}"


def _tokens(a: Canonical, b: Canonical) -> str:
    """Why tokens do not bridge unlike widths."""
    for name, m in (("A", a), ("B", b)):
        if not any(k.tower == "text" and k.role == "embed.tokens" for k in m.tensors):
            return f"{name} has no token embedding by which they could be laid over each other"
    missing = tokenless(a.checkpoint, b.checkpoint)
    if missing.startswith("no tokenizer"):
        both = missing.endswith("either")
        return f"{missing}; with {'one beside each' if both else 'one'}, widths may differ"
    return missing or "their tokenizers have no token in common"


def no_known_tensor(name: str, model: Canonical) -> str:
    """Why nothing of one model is mapped, as a clause."""
    if len(model.checkpoint.unread) >= len(model.unmapped) and (said := undecoded(name, model)):
        return said
    if not model.unmapped:
        return f"{name} holds no weights, only buffers"
    some = printable(model.unmapped[0], 80)
    return f"none of the {len(model.unmapped)} tensors of {name} has a name that begat knows (“{some}”, …; {_NAMES})"


def undecoded(name: str, model: Canonical) -> str:
    """That weights are in a form nobody decodes, as a clause; "" where all are decoded."""
    unread = model.checkpoint.unread
    if not unread:
        return ""
    why = Counter(u.why for u in unread.values()).most_common(1)[0][0]
    form = f"{len(unread)} tensors: {printable(why, 160)}"
    return f"weights of {name} are stored in a form that begat does not decode ({form}); a copy in plain floats can be tested"


def _share_a_width(a: Canonical, b: Canonical) -> bool:
    return any(t in b.geometry and g.width == b.geometry[t].width for t, g in a.geometry.items())
