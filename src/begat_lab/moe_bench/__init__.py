"""MoGE against ordinary top-K routing of equal size: load, speed, quality. An ablation of our own; the paper publishes none.

Enters: a `Plan` (`plan.py`).  Leaves: a `Report` of tables (`report.py`, drawn by `pictures.py`).  One question, one file: `load.py` (rows
per rank), `kernels.py` (grouped products or a loop), `layers.py` (one layer), `parallel.py` (over real ranks), `models.py` (prefill,
decode, training step), `quality.py` (validation loss). How time is taken, and what the machine could do at best: `clock.py`.

Both sides have the same weights, the same number of picks a token and the same input; top-K is `Grouping(N, 1, K)`. Speeds are ratios of
runs that alternate, with their quartiles: a bare time says more about the machine than about the routing.
"""
