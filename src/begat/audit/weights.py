"""Were weights reused? What `begat.pipeline.compare` says, passed on.

Enters: the release's folder, a reference's.  Leaves: a `WeightsResult`. Nothing is judged again here: the verdict's own exit code says whether dependence was
found, and its own sentence is quoted.
"""

from __future__ import annotations

from pathlib import Path

from begat.audit.folder import Tree
from begat.audit.types import WeightsResult
from begat.errors import InputError
from begat.pipeline.compare import compare
from begat.types import Progress
from begat.verdict import POLICY

ENDINGS = (".safetensors", ".gguf", ".onnx", ".bin", ".pt", ".pth")
#: direction of `compare(reference, release)` that says the reference was made from the release
REVERSED = "B → A"
#: verdicts that say trained weights were taken over; the others that find dependence leave that open
_TRAINED = ("identical", "re-encoded", "derived", "partly-derived")


def has_weights(tree: Tree) -> bool:
    """Is there a weight file in the folder itself?"""
    return any("/" not in name and name.endswith(ENDINGS) and name != "training_args.bin" for name in tree.sizes)


def compare_weights(release: Tree, reference: Tree, name: str, nonce: str, progress: Progress | None) -> WeightsResult:
    """Compare the release with one reference."""
    if not has_weights(release):
        return not_run(name, "the release holds no weights")
    if not has_weights(reference) or reference.root is None:
        return not_run(
            name, "the reference holds no weights" if reference.root is not None else "weights inside an archive are not compared"
        )
    try:
        verdict = compare(Path(reference.path), Path(release.path), nonce=nonce, progress=progress)
    except InputError as err:
        return not_run(name, str(err))
    dependent = POLICY.exit_codes[verdict.verdict] == 1
    return WeightsResult(
        reference=name, verdict=verdict.verdict, sentence=verdict.sentence, log10_e=verdict.log10_e, log10_p=verdict.log10_p,
        direction=verdict.direction, derived=dependent and verdict.verdict in _TRAINED,
    )  # fmt: skip


def level_of(result: WeightsResult) -> str:
    """The level of a weights answer. "not-found" where the reference was made from the release: then nothing came from it."""
    if result.direction == REVERSED:
        return "not-found"
    if result.verdict is None or POLICY.exit_codes[result.verdict] == 3:
        return "not-determinable"
    if result.derived:
        return "established"
    return "indicated" if POLICY.exit_codes[result.verdict] == 1 else "not-found"


def not_run(name: str, why: str) -> WeightsResult:
    """A comparison that did not take place."""
    return WeightsResult(name, None, f"Weights were not compared: {why}.", None, None, "undetermined", False, why)
