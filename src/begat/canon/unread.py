"""How many parameters of a model no test can see, and why.

Enters: a `Canonical`.  Leaves: reason → parameters.  Who sees the rest is the neighbour's question: `begat.pipeline.coverage`.

A stored weight is read, or it is one of these: of a type nobody decodes (`Checkpoint.unread`), of a name no rule knows, or mapped but
of a layout that cannot be told (a fused tensor whose head counts are unknown). Buffers (masks, position numbers, rotary tables) are
computed from the config and no parameters; they are counted apart, so that a weight that hides under a buffer's name can be seen.
"""

from __future__ import annotations

import math
from collections import Counter

from begat.canon.layout import UNCUT
from begat.canon.model import Canonical
from begat.canon.rules import Drop, load, template_of

#: the reason for names without a rule
UNKNOWN = "names begat does not know"


def unread_parameters(model: Canonical) -> dict[str, int]:
    """Reason → parameters of weights that are in the files and in no canonical tensor, most first; reasons name no tensor.

    A packed weight counts as the parameters it stands for; where their number is not known it counts as nothing, and its name is in
    `Checkpoint.unread` all the same.
    """
    found: Counter[str] = Counter()
    entries, unread = model.checkpoint.entries, model.checkpoint.unread
    for name, note in unread.items():
        if name in entries or not isinstance(load().match(template_of(name)[0]), Drop):
            found[note.why] += note.parameters
    for name in model.unmapped:
        found[UNKNOWN] += entries[name].size
    for name, why in model.dropped:
        if why in UNCUT:
            found[why] += entries[name].size
    return {why: n for why, n in found.most_common() if n}


def read_parameters(model: Canonical) -> int:
    """Parameters under canonical names."""
    return sum(math.prod(t.shape) for t in model.tensors.values())


def buffer_values(model: Canonical) -> dict[str, int]:
    """Reason → values of stored tensors that were dropped because they are no weights (buffers, scales without a weight), most first."""
    found: Counter[str] = Counter()
    for name, why in model.dropped:
        if why not in UNCUT and name not in model.checkpoint.unread:
            found[why] += model.checkpoint.entries[name].size
    return dict(found.most_common())
