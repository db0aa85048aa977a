"""Copied: the parent's values, stored in the member's own `dtype`: a bf16 release converted to float16, or plainly renamed."""

from __future__ import annotations

from begat_lab.descent.base import EVERY, Child, Job, kind


@kind("copied", "copy, in its own number type", knows=EVERY, expects=frozenset({"identical", "re-encoded"}))
def copied(job: Job) -> Child:
    """Load and store."""
    return job.store(job.parent())
