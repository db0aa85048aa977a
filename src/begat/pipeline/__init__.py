"""The main job, end to end: open → resolve → sample → order tests → map → judge.

Enters: two paths.  Leaves: a `Verdict`.  This is the only room that may join files to statistics; it decides nothing
(`begat.verdict`) and prints nothing (`begat.report`).

- `sampling.py`: which rows, from a public seed; reading them; the byte budget.
- `exact.py`: the order tests of every axis → `AxisResult`s.   - `inherit.py`: the inheritance map, sampled or full.
- `equality.py`: identical, or equal on a quantisation grid.   - `parts.py`: which layers and components show dependence.
- `words.py`: labels and caveats.   - `beside.py`: published statistics.   - `compare.py`: the conductor.
"""
