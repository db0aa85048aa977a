"""The lab's models, one file each, read from top to bottom.

`dense.py` is the Llama-shaped decoder; `huggingface.py` carries it to and from a Hugging Face folder; `moe.py` is the Mixtral-shaped one.
Who trains them: `begat_lab.training`.  Who makes one from another: `begat_lab.descent`.
"""
