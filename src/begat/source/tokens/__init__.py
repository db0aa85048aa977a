"""Tokenizer files → which string each row of an embedding table stands for.

Enters: what the user gave to compare (folder, weight file, `.gguf`).  Leaves: a `Vocabulary`, or None where there is no tokenizer; two of
them give the rows that stand for one string (`shared.py`).  Nothing is tokenised here, and no tokenizer package is needed.

**Canonical spelling.** A token's key is the bytes of the text it stands for, so that one token in two formats is one key (`spelling.py`):

- byte-level BPE ("Ġthe"): GPT-2's printable letters back to their bytes, b" the"; tiktoken stores those bytes as they are;
- sentencepiece ("▁the"): the mark becomes a space, b" the";
- WordPiece ("the", "##ing"): the start of a word gets the space it follows, b" the", and a continuation none, b"ing". Punctuation and
  CJK characters, which WordPiece splits off everywhere, get none either. Word lists (WordLevel) are spelled like word starts;
- "the</w>" ends a word: b"the ";
- byte tokens ("<0x0A>"): the byte, unless a token of its own spells that character: then the byte token is never produced and its row
  is not trained, so it counts as unused;
- added tokens that are text: that text. Special tokens (control, unknown, padding, `<|…|>`) and rows kept for later (`<unused12>`,
  `[unused5]`, `<|reserved_special_token_3|>`) are no text; they are listed apart and not shared.

Case and Unicode normalisation are left alone: an uncased vocabulary shares its lower-case tokens with a cased one.

**Which file wins** when a folder has several: `tokenizer.json`, `tekken.json`, tiktoken ranks (`*.tiktoken`, `tiktoken.model`, or a `tokenizer.model`
that is one), sentencepiece `tokenizer.model`, `vocab.json`, `vocab.txt`; a GGUF file's own metadata comes first for that file, last for
a folder. Those without special tokens of their own are completed from `added_tokens.json` and `tokenizer_config.json`. Files that
disagree with the winner about the size are named in `Vocabulary.notes`.

A new format is one file beside this one with a `@TOKEN_FORMATS.add("name")` class, imported in `read.py`;
`tests/contracts/test_token_contract.py` and `tests/attacks/test_attack_tokens.py` pick it up.
"""

from begat.source.tokens.base import Vocabulary
from begat.source.tokens.read import read_vocabulary
from begat.source.tokens.shared import SharedTokens, same_rows, shared_tokens

__all__ = ["SharedTokens", "Vocabulary", "read_vocabulary", "same_rows", "shared_tokens"]
