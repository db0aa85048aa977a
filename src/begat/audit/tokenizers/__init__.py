"""Tokenizer ancestry: was a tokenizer made from another?

Enters: two places where a tokenizer lies.  Leaves: a `TokenizerResult`. Judged by the *order* of shared tokens and merges, never by how many are shared:
unrelated tokenizers share up to 86 % of their tokens, because languages have common words, but not the order in which training found them.
Sharing a tokenizer is common and allowed; it is never evidence about weights. Vocabulary formats: `begat.source.tokens`.
"""
