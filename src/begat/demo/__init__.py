"""The offline demonstration: a shipped family of tiny trained checkpoints, every member compared with its parent.

Enters: nothing.  Leaves: one `DemoPair` per member.  The checkpoints lie in `data/` with `truth.json`, which says how they were made
(`begat_lab.demo_family`); the command is `begat.cli.demo`.
"""

from begat.demo.family import DemoPair, data_folder, run_demo, truth

__all__ = ["DemoPair", "data_folder", "run_demo", "truth"]
