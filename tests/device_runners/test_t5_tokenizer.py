"""The runner's T5 tokenizer gives the ids of transformers', and refuses broken files."""

from __future__ import annotations

import base64
import importlib
import json
import random
import shutil
import struct
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.tokenizers import load_tokenizer
from edgegen_runner.tokenizers.charsmap import CharsMap
from edgegen_runner.tokenizers.sentencepiece import read_model
from edgegen_runner.tokenizers.t5 import T5Tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken
from transformers import T5Tokenizer as TheirTokenizer

from tests.device_runners.test_clip_tokenizer import (
    PIECES,
    PROMPTS,
    PROSE,
    known_characters,
    token,
    write_json,
)

SENTENCEPIECE = Path(__file__).parents[1] / "data" / "t5" / "spiece.model"
LENGTH = 40
MORE_PROMPTS = (
    "<sep>a<sep> b </s> <pad>x <unk> <extra_id_0>a <extra_id_99> <extra_id_100>",
    "a\u2581b \u2581\u2581c \u2581 \u2581",
    "<unk><unk>a ☃☃☃ a☃",
)
MORE_PIECES = ("<sep>", "<extra_id_5>", "</s>", "<unk>", "\u2581", "①\u0301", "ª\u0903")


@dataclass(frozen=True)
class Pair:
    """The same folder, loaded by both."""

    ours: T5Tokenizer
    theirs: Any


def sentencepiece_alone(folder: Path) -> None:
    shutil.copy(SENTENCEPIECE, folder / "spiece.model")


def as_pixart_was_saved(folder: Path) -> None:
    """Write what transformers 4.3x wrote, with 100 sentinels as added tokens."""
    sentencepiece_alone(folder)
    size = len(read_model(SENTENCEPIECE.read_bytes()).pieces)
    sentinels = [f"<extra_id_{index}>" for index in range(100)]
    ids = {sentinel: size + 99 - index for index, sentinel in enumerate(sentinels)}
    write_json(folder / "added_tokens.json", ids)
    specials = {name: token(it) for name, it in named_tokens().items()}
    specials_map = {**specials, "additional_special_tokens": sentinels}
    write_json(folder / "special_tokens_map.json", specials_map)
    special = {"special": True, "normalized": False}
    decoder = {str(i): token(it, **special) for i, it in enumerate(("<pad>", "</s>", "<unk>"))}
    strip = {"lstrip": True, "rstrip": True}
    decoder |= {str(i): token(it, **special) | strip for it, i in ids.items()}
    config = {
        **named_tokens(),
        "added_tokens_decoder": decoder,
        "additional_special_tokens": sentinels,
        "extra_ids": 100,
        "legacy": True,
        "model_max_length": LENGTH,
        "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)


def older(folder: Path) -> None:
    """Leave out the list of added tokens, as before transformers 4.34."""
    as_pixart_was_saved(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["added_tokens_decoder"]
    write_json(path, config)


def serialized(folder: Path) -> None:
    as_pixart_was_saved(folder)
    saved = their_tokenizer(folder)
    for path in folder.iterdir():
        path.unlink()
    saved.save_pretrained(folder)
    assert not (folder / "spiece.model").exists()


def serialized_as_t5_base(folder: Path) -> None:
    """Write the normalizer and pre-tokenizer that `t5-base/tokenizer.json` has."""
    serialized(folder)
    path = folder / "tokenizer.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "Lowercase"}, saved["normalizer"]],
    }
    saved["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    write_json(path, saved)


def without_normalization(folder: Path) -> None:
    serialized(folder)
    path = folder / "tokenizer.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"normalizer": None})


def tokens_of_every_kind(folder: Path) -> None:
    as_pixart_was_saved(folder)
    tokenizer = their_tokenizer(folder)
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for number in range(32):
        chosen = {name: bool(number >> bit & 1) for bit, name in enumerate(names)}
        added = AddedToken(f"Zq{number}-", **chosen)
        tokenizer.add_tokens([added], special_tokens=chosen["special"])
    tokenizer.add_tokens([AddedToken("cat", single_word=True, normalized=False), "ﬁx", "½"])
    for path in folder.iterdir():
        path.unlink()
    tokenizer.save_pretrained(folder)


LAYOUTS: tuple[Callable[[Path], None], ...] = (
    sentencepiece_alone,
    as_pixart_was_saved,
    older,
    serialized,
    serialized_as_t5_base,
    without_normalization,
    tokens_of_every_kind,
)
NAMES = tuple(layout.__name__ for layout in LAYOUTS)


def named_tokens() -> dict[str, str]:
    return {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def their_tokenizer(folder: Path) -> Any:
    """Load a folder by transformers; the package `sentencepiece`, which it asks for, isn't used."""
    # by its path: transformers has a function of the same name
    reader = importlib.import_module("transformers.convert_slow_tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "requires_backends", lambda *_: None)
        return TheirTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    found = {}
    for layout in LAYOUTS:
        folder = tmp_path_factory.mktemp(layout.__name__)
        layout(folder)
        found[layout.__name__] = Pair(T5Tokenizer.from_folder(folder), their_tokenizer(folder))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    as_pixart_was_saved(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    serialized(folder)
    return folder


def assert_same(pair: Pair, texts: Iterable[str]) -> None:
    texts = list(texts)
    padded = pair.theirs(texts, padding="max_length", truncation=True, max_length=LENGTH)
    whole = pair.theirs(texts, add_special_tokens=False).input_ids
    for text, ids, mask, unpadded in zip(
        texts, padded.input_ids, padded.attention_mask, whole, strict=True
    ):
        assert pair.ours.encode(text) == unpadded, ascii(text)
        encoded = pair.ours(text, LENGTH)
        assert encoded.ids == tuple(ids), ascii(text)
        assert encoded.mask == tuple(mask), ascii(text)


@pytest.mark.parametrize("name", NAMES)
def test_prompts_encode_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    assert_same(pairs[name], (*PROMPTS, *MORE_PROMPTS))


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_pieces_encode_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    source = random.Random(f"pieces {name}")
    pieces = (*PIECES, *MORE_PIECES, *(f"Zq{n}-" for n in range(32)))
    assert_same(
        pairs[name], ("".join(source.choices(pieces, k=source.randrange(14))) for _ in range(1500))
    )


@pytest.mark.parametrize("name", ["sentencepiece_alone", "tokens_of_every_kind"])
def test_random_unicode_encodes_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    source = random.Random(f"unicode {name}")
    known = known_characters()
    texts = ("".join(source.choices(known, k=source.randrange(20))) for _ in range(2000))
    assert_same(pairs[name], texts)


def test_marks_on_characters_that_are_replaced_encode_as_in_transformers(
    pairs: dict[str, Pair],
) -> None:
    # Where tokenizers maps whole grapheme clusters, their borders show.
    small = [c for c in known_characters() if c < "\u3000"]
    marks = [c for c in small if unicodedata.category(c) in ("Mn", "Me", "Mc", "Cf")]
    replaced = [c for c in known_characters() if unicodedata.normalize("NFKC", c) != c]
    source = random.Random("marks")
    texts = [
        "".join(
            source.choice(source.choice((replaced, small)))
            + "".join(source.choices(marks, k=source.randrange(4)))
            for _ in range(8)
        )
        for _ in range(3000)
    ]
    assert_same(pairs["sentencepiece_alone"], texts)


def test_every_character_encodes_as_in_transformers(pairs: dict[str, Pair]) -> None:
    known = known_characters()
    texts = ["".join(f"Q{c}Q{c}{c} " for c in known[i : i + 40]) for i in range(0, len(known), 40)]
    theirs = pairs["sentencepiece_alone"].theirs(texts, add_special_tokens=False).input_ids
    for text, ids in zip(texts, theirs, strict=True):
        assert pairs["sentencepiece_alone"].ours.encode(text) == ids, ascii(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    text=st.text(st.characters(exclude_categories=("Cs", "Cn"))),
    name=st.sampled_from(["sentencepiece_alone", "serialized", "tokens_of_every_kind"]),
)
def test_any_text_encodes_as_in_transformers(pairs: dict[str, Pair], text: str, name: str) -> None:
    assert_same(pairs[name], [text])


@pytest.mark.parametrize("name", ["as_pixart_was_saved", "serialized"])
@pytest.mark.parametrize("length", [1, 2, 24, 120, 300])
def test_long_prompt_is_cut_and_named_as_diffusers_names_it(
    pairs: dict[str, Pair], name: str, length: int
) -> None:
    source = random.Random(name)
    prompt = " ".join(source.choices(PROSE.split(), k=1000))
    pair = pairs[name]
    encoded = pair.ours(prompt, length)
    theirs = pair.theirs(prompt, padding="max_length", truncation=True, max_length=length)
    assert encoded.ids == tuple(theirs.input_ids)
    assert set(encoded.mask) == {1}
    # diffusers/pipelines/pixart_alpha/pipeline_pixart_alpha.py, encode_prompt
    untruncated = pair.theirs([prompt], padding="longest").input_ids
    removed = pair.theirs.batch_decode([untruncated[0][length - 1 : -1]])[0]
    assert encoded.truncated_text == removed.strip()


def test_a_short_prompt_is_padded_and_the_padding_masked(pairs: dict[str, Pair]) -> None:
    ours = pairs["serialized"].ours
    encoded = ours("cat", 6)
    count = len(ours.encode("cat")) + 1
    assert encoded.ids[count - 1] == ours.eos_id
    assert encoded.ids[count:] == (ours.pad_id,) * (6 - count)
    assert encoded.mask == (1,) * count + (0,) * (6 - count)
    assert encoded.truncated_text == ""


def test_long_texts_take_linear_time(pairs: dict[str, Pair]) -> None:
    ours = pairs["sentencepiece_alone"].ours
    for text in ("photograph", "a", "é", "\u0301", "☃"):
        assert_same(pairs["sentencepiece_alone"], [text * 1000])
        started = time.thread_time()
        ours.encode(text * (100_000 // len(text)))
        assert time.thread_time() - started < 5


def test_the_table_opens_it(folder: Path) -> None:
    assert load_tokenizer("t5", folder)("a cat").ids == T5Tokenizer.from_folder(folder)("a cat").ids


def test_length_defaults_to_the_models_own(pairs: dict[str, Pair]) -> None:
    assert len(pairs["as_pixart_was_saved"].ours("a cat").ids) == LENGTH
    with pytest.raises(ValueError, match="pass length"):
        pairs["sentencepiece_alone"].ours("a cat")


def test_length_without_room_is_refused(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="no room"):
        pairs["serialized"].ours("a cat", 0)


def test_half_a_surrogate_pair_is_refused(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="not valid Unicode"):
        pairs["serialized"].ours.encode("a \ud83d cat")


def test_folder_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"spiece\.model"):
        T5Tokenizer.from_folder(tmp_path)


def field(number: int, kind: int, value: bytes) -> bytes:
    return bytes([number << 3 | kind]) + value


def sized(number: int, value: bytes) -> bytes:
    return field(number, 2, bytes([len(value)]) + value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too few for T5"),
        (SENTENCEPIECE.read_bytes()[:-1], "ends in the middle"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "does not end"),
        (b"\x0a\x80\x80\x80\x80\x80\x40abc", "ends in the middle"),
        (field(1, 3, b""), "wire type 3"),
        (field(1, 0, b"\x01"), "a number where bytes"),
        (sized(1, sized(1, b"\xff")), "utf-8"),
        (sized(1, sized(2, b"a")), "bytes where a number"),
        (sized(1, field(2, 5, struct.pack("<f", float("nan")))), "not a number"),
        (sized(2, field(3, 0, b"\x02")), "model type is 2"),
    ],
)
def test_broken_sentencepiece_model_is_refused(folder: Path, data: bytes, message: str) -> None:
    (folder / "spiece.model").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        T5Tokenizer.from_folder(folder)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "BPE", "vocab": {}, "merges": []}, "no unigram model"),
        ({"type": "Unigram"}, "broken model"),
        ({"type": "Unigram", "vocab": [["a"]]}, "broken model"),
        ({"type": "Unigram", "vocab": [["a", "b"]] * 3}, "broken model"),
        ({"type": "Unigram", "vocab": [["a", 1e999]] * 3}, "not a number"),
        ({"type": "Unigram", "vocab": [["a", 0]]}, "too few for T5"),
        ({"type": "Unigram", "vocab": [["a" * 1001, 0]] * 3}, "letters in a token"),
    ],
)
def test_broken_serialized_model_is_refused(folder: Path, model: Any, message: str) -> None:
    write_json(folder / "tokenizer.json", {"model": model})
    with pytest.raises(ValueError, match=message):
        T5Tokenizer.from_folder(folder)


@pytest.mark.parametrize(
    ("charsmap", "message"),
    [
        ("!", "broken model"),
        (base64.b64encode(b"abc").decode(), "too short"),
        (base64.b64encode(struct.pack("<I", 8) + b"abcd").decode(), "in a trie"),
        (base64.b64encode(struct.pack("<I", 3) + b"abcd").decode(), "in a trie"),
    ],
)
def test_broken_normalization_is_refused(saved: Path, charsmap: str, message: str) -> None:
    changed = saved.parent / "changed"
    shutil.copytree(saved, changed, dirs_exist_ok=True)
    content = json.loads((changed / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    write_json(changed / "tokenizer.json", content)
    with pytest.raises(ValueError, match=message):
        T5Tokenizer.from_folder(changed)


def test_a_normalization_whose_texts_are_broken_is_refused() -> None:
    units = [0] * 512
    units[0] = 256 << 10  # the root's children begin at 256
    units[256 ^ 0x61] = 0x100 | 0x61  # "a" is an entry; its text begins at 0
    units[256 ^ 0x61 ^ 0] |= 1 << 10
    data = struct.pack("<I512I", 2048, *units)
    assert CharsMap(data + b"e\0")("b") == "b"
    with pytest.raises(ValueError, match="normalization is broken"):
        CharsMap(data + b"\xff\0")("a")


@pytest.mark.parametrize("unit", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x161, 0x3FF61])
def test_a_normalization_that_points_nowhere_changes_nothing(unit: int) -> None:
    charsmap = CharsMap(struct.pack("<3I", 8, unit, unit))
    text = "".join(map(chr, range(1, 0x300)))
    assert len(charsmap(text)) <= len(text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", '{"extra_ids": -1}', "'extra_ids' is -1"),
        ("tokenizer_config.json", '{"added_tokens_decoder": []}', "special tokens are broken"),
        ("tokenizer_config.json", '{"pad_token": null, "added_tokens_decoder": {}}', "is null"),
        ("tokenizer.json", "[]", "holds no JSON object"),
    ],
)
def test_broken_file_is_refused(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        T5Tokenizer.from_folder(folder)
