"""Kinds of descent, one file each: a model enters, a new model made from it leaves, the first is untouched.

`finetune.py` trains on; `four_bit.py` re-encodes.  To add a kind, add a file; whoever builds families of known ancestry
(`begat_lab.demo_family` is the smallest) calls it and writes the truth down.
"""
