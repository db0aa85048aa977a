"""Licences: which text a file holds and whether it was edited, what model licences ask for, and whether a release does it.

Enters: texts of a release, its card, measured ancestry.  Leaves: `LicenceText`s and findings. Tables: `licences.toml` (what each licence asks),
`models.toml` (which model is under which), `texts/` (published wordings).
"""
