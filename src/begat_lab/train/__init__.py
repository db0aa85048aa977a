"""Training the openPangu decoders on one or many ranks: `torchrun --nproc-per-node 2 -m begat_lab.train CONFIG`, or `python -m begat_lab.train CONFIG`.

Enters: a TOML file (`config.py`).  Leaves, in the run's folder: `model/` (a Hugging Face folder), `checkpoints/`, `log.jsonl` and
`training.svg`.  Reading order: `config.py`, `loop.py`, `checkpoint.py` (resumes bit-exactly), `log.py`.  Small models of a pedigree are
trained by `begat_lab.training`, in one process; the loss and the windows are the same functions.
"""
