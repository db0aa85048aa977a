"""Mixture of Grouped Experts (arXiv:2505.21411): a mixture layer that is balanced between devices by construction.  `from begat_lab.moge import MoGE`.

Reading order: `router.py` (which experts a token visits), `experts.py` (what these compute), `layer.py` (both, with the shared expert),
`losses.py` (two auxiliary losses, kept apart), `balance.py` (imbalance score, load statistics), `parallel.py` (experts spread over ranks).
Nothing here knows of a whole model: that is `begat_lab.models.pangu_pro_moe`.
"""

from begat_lab.moge.balance import Load, imbalance_score, imbalance_scores, load_of, rows_per_part
from begat_lab.moge.experts import grouped_matmul_fits, pack_experts
from begat_lab.moge.layer import MoGE
from begat_lab.moge.losses import paper_balance_loss, released_balance_loss
from begat_lab.moge.router import Grouping, Routing, route

__all__ = [
    "Grouping",
    "Load",
    "MoGE",
    "Routing",
    "grouped_matmul_fits",
    "imbalance_score",
    "imbalance_scores",
    "load_of",
    "pack_experts",
    "paper_balance_loss",
    "released_balance_loss",
    "route",
    "rows_per_part",
]
