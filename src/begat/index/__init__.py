"""Known models: store their fingerprints, screen them, find relatives.

Enters: fingerprints (`begat.pipeline.sketch`).  Leaves: entries, hits and fingerprints again.  `store/` keeps them in a local folder or on
object storage and knows nothing of what a fingerprint holds.  The exact test between two fingerprints and its e-value live in the rooms of
signals and statistics; nothing here computes evidence.
"""
