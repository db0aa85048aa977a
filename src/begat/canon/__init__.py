"""ROOM 2: names → roles → canonical tensors.

Enters: a `Checkpoint`.  Leaves: a `Canonical`: tensors under canonical names and in one layout, head counts, and which axes are
symmetries.  Bytes are the neighbour's before (`begat.source`), statistics the neighbour's after (`begat.signals`).
"""

from begat.canon.model import Canonical, CanonTensor, Geometry
from begat.canon.resolve import resolve
from begat.canon.roles import ROLES, Role
from begat.canon.unread import buffer_values, read_parameters, unread_parameters

__all__ = [
    "ROLES", "CanonTensor", "Canonical", "Geometry", "Role", "buffer_values", "read_parameters", "resolve", "unread_parameters",
]  # fmt: skip
