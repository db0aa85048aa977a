"""ROOM 4: counts → e-values, p bounds and power. Floats and a passed generator; never weights.

Enters: hit counts of `begat.signals.order`.  Leaves: log10 e-values and p bounds, each with its null stated where it is computed.
"""
