"""Code ancestry of a release, per class and function.

Enters: a release folder and references (`CodeReference`: path → source text).  Leaves: a `CodeReport`. Python is read with `ast`; nothing
that came with a release or a reference is imported or executed. Notices and licences of the matched versions: `begat.audit`.
"""

from begat.audit.code.ancestry import code_ancestry
from begat.audit.code.index import CodeIndex, build_index, load_index
from begat.audit.code.references import read_reference
from begat.audit.code.types import CodeReference, CodeReport, FileMatch, Source, Span, UnitMatch

__all__ = [
    "CodeIndex",
    "CodeReference",
    "CodeReport",
    "FileMatch",
    "Source",
    "Span",
    "UnitMatch",
    "build_index",
    "code_ancestry",
    "load_index",
    "read_reference",
]
