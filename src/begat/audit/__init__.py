"""ROOM 8: `begat audit`, a release folder held against references: what is reused, what is attributed, what the licences ask.

Enters: a release folder and references as bytes and text.  Leaves: findings, each with its evidence and its level; never a legal conclusion.
Code ancestry per class and function is in `begat.audit.code`. Nothing that came with a release is imported or executed.
"""
