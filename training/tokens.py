"""The model's tokenizer: byte-pair merges learned from the captions, in the files of CLIP's."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.settings import CAPTION_TOKENS, VOCABULARY

_END_OF_WORD = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def make_tokenizer(captions: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Learn merges from captions; write `vocab.json` and `merges.txt`; return the tokenizer.

    Every letter and digit is in the vocabulary, alone and at a word's end, so that any prompt in
    English can be written with it. They are given to the trainer, which would number those at a
    word's end in another order each time.
    """
    letters = string.digits + string.ascii_lowercase
    alphabet = [*letters, *(letter + _END_OF_WORD for letter in letters)]
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END_OF_WORD))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        end_of_word_suffix=_END_OF_WORD,
        special_tokens=alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = dict(learned["vocab"])
    for token in _SPECIAL:
        vocabulary[token] = len(vocabulary)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in learned["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        model_max_length=CAPTION_TOKENS,
    )
