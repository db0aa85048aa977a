"""ROOM 3: arrays → numbers. One signal is one file; none reads a file, knows a threshold or draws randomness of its own.

- `order.py`: the order test on arrays of units; `axes/`: one file per symmetric axis, saying which tensors hold its units.
- `agreement.py`: same-index cosine, R², slope (the inheritance map); `grid.py`: equality on a quantisation grid.
- `published/`: statistics from the literature, shown beside a verdict and never part of one.
"""
