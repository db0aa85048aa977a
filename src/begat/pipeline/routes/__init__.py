"""Exact ways around disguises and changes of shape: one file each, one registry, one contract test (`tests/contracts/test_route_contract.py`).

Enters: two canonical models whose plain order test found nothing or could not speak of all parts.  Leaves: `RouteResult`s. Each aligns the models on
one thing and tests the order of another, so each e-value is exact on its own; over routes they are averaged, never multiplied
(`begat.pipeline.align`), because several look at the same orders.
"""

from begat.pipeline.routes.base import ROUTES, Context, Route

# one import per route, in the order tried
# isort: off
from begat.pipeline.routes import same_basis, embedding, expert_orders, subset, layer_units, residual_columns  # noqa: F401
# isort: on

__all__ = ["ROUTES", "Context", "Route"]
