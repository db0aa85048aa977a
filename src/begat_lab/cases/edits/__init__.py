"""What is done to toy models: pure functions from `Toy` to `Toy`, which carry along where every
tensor comes from.

- `training.py`: fine-tunes, twins and siblings, averages over steps, noise.
- `layers.py`: left out, repeated, in another order, of another model.
- `units.py`: MLP units, heads and the residual stream, reordered, rotated, left out, split.
- `experts.py`: of mixtures, the same.
- `vocabulary.py`: token rows.
- `parts.py`: heads, towers, names, configs.
- `merging.py`: merges and low-rank additions.
- `encoded.py`: number types and packed layouts.
"""
