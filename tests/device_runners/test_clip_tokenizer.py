"""The runner's CLIP tokenizer, held against transformers' CLIPTokenizer."""

import json
import random
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.tokenizers.clip import ClipTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

EMOJI = Path(__file__).parents[2] / "edgegen/builtin/data/emoji/tokenizer"
LENGTH = 24
START, END = "<|startoftext|>", "<|endoftext|>"

# Prose to train merges on: repeated words, contractions, and letters of more than one byte.
PROSE = """
a photo of an astronaut riding a horse on mars, highly detailed, 4k, trending on artstation
a painting of a fox in the style of van gogh, oil on canvas, the brush strokes don't blend
the quick brown fox jumps over the lazy dog; it's what we've seen and they'll paint it again
a portrait of a woman in a red dress, cinematic lighting, 35mm photograph, sharp focus, bokeh
an isometric render of a tiny house in a forest, soft shadows, pastel colours, octane render
das schöne Mädchen läuft über die Straße, où l'été est déjà passé; el niño está aquí, señor
красная площадь ночью, красивая картина, 日本の風景 日本の山 日本の海, صورة جميلة صورة قديمة
"""
PROMPTS = [
    "",
    " ",
    "a photo of an astronaut riding a horse on mars",
    "A Portrait of a Woman, 35mm, f/1.8, (highly detailed:1.3), [bokeh]",
    "it's don't we're I've I'm you'll he'd O'Neil's 'tis 'S 'RE ''s !'s",
    "cat's 'sat 'll' ' 't't'd",
    f"a cat{END}a dog {START} x {END}",
    "<|ENDOFTEXT|>x !<|STARTOFTEXT|>!! <|endoftext| > <|<|EndOfText|>|>",
    "wow!!! really?!... a cat! !",
    "tabs\tand\nnew\r\nlines\x0band\x0cmore\x85and\xa0no-break\u3000wide\u2028line\u200azero\u200bwidth",
    "\x00\x01\x1b[0m\x1c\x1d\x1e\x1f\x7f\x9f",
    "😀👍🏽👩\u200d🚀🏳️\u200d🌈 🇫🇷 1️⃣ a😀b",
    "日本の風景、漢字とカタカナ。한국어 \u1112\u1161\u11ab 中文字符",
    "صورة قديمة ١٢٣ עברית नमस्ते १२ ไทย",
    "café cafe\u0301 ﬁ ﬀ Å \u212b \u0344 a\u0328\u0301 q\u0323\u0307 \u0301x",
    "ΑΣ ΟΔΥΣΣΕΥΣ Σ. İstanbul ISPARTA STRASSE Straße ẞ ǅ Ⅷ ⓐ ½ x² ₂",
    "under_score kebab-case CamelCase snake__x --ar 16:9 #tag @me $5 100% 1,234.5",
    "[PAD] <x> <x>_1 <x>_10 <Cat-Toy> <cat-toy>a<Special><special>",
    *(f"a {f'Zq{n}-'.lower()}a Zq{n}-Zq{n}-\u3000Zq{n}-_éZq{n}-\u0301 ½Zq{n}-½" for n in range(32)),
    "cat cats catcat cat_cat cat\u200dcat cat\u0301 (cat) ⓒcatⓒ cat‿ Ⅷcat ²cat² 猫cat \ncat\t1cat",
]
PIECES = [
    *("a", "b", "cat", "Dog", "THE", "riding", "1", "42", "!", "!!", "?", ",", "-", "_", "'", '"'),
    *(
        "'s",
        "'S",
        "'re",
        "'ll",
        " ",
        "  ",
        "\t",
        "\n",
        "\u3000",
        "\x1c",
        "\x00",
        "\u200d",
        "\ufeff",
    ),
    *(START, END, "<|ENDOFTEXT|>", "<|", "|>", "<", "|", ">", "[PAD]", "<x>", "<x>_1", "<Cat-Toy>"),
    *(
        "é",
        "e\u0301",
        "\u0301",
        "ß",
        "Σ",
        "ΑΣ",
        "İ",
        "ﬁ",
        "Å",
        "½",
        "Ⅷ",
        "x²",
        "ж",
        "漢字",
        "日本",
        "한",
    ),
    *(
        "\u1112\u1161\u11ab",
        "عربي",
        "१२",
        "ไทย",
        "😀",
        "👩\u200d🚀",
        "🏽",
        "\ufe0f",
        "𝔘",
        "\U00020000",
    ),
]


@cache
def known_characters() -> list[str]:
    """Return those in this Python's Unicode tables; the module's docstring tells of the others."""
    every = map(chr, range(0x110000))
    return [it for it in every if unicodedata.category(it) not in ("Cs", "Cn", "Co")]


@dataclass(frozen=True)
class Pair:
    """The same folder, loaded by both."""

    ours: ClipTokenizer
    theirs: Any


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def train_byte_level_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a vocabulary in CLIP's layout (bytes, bytes that end a word, merges, specials)."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1200, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(PROSE.lower().splitlines() * 3, trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet)]
    tokens += [left + right for left, right in merges]
    vocab = {token: i for i, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    assert len(merges) > 300
    return vocab, merges


def token(content: str, normalized: bool = True, **more: object) -> dict[str, object]:
    return {
        "content": content,
        "lstrip": False,
        "normalized": normalized,
        "rstrip": False,
        "single_word": False,
        **more,
    }


def stable_diffusion_1(folder: Path, vocab: Mapping[str, int]) -> None:
    kind = {"__type": "AddedToken"}
    config = {
        "bos_token": token(START, **kind),
        "eos_token": token(END, **kind),
        "unk_token": token(END, **kind),
        "pad_token": END,
        "model_max_length": LENGTH,
        "do_lower_case": True,
        "tokenizer_class": "CLIPTokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)
    specials = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END)}
    write_json(folder / "special_tokens_map.json", {**specials, "pad_token": END})


def stable_diffusion_2(folder: Path, vocab: Mapping[str, int]) -> None:
    stable_diffusion_1(folder, vocab)
    specials = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END)}
    write_json(folder / "special_tokens_map.json", {**specials, "pad_token": "!"})


def stable_diffusion_xl_second(folder: Path, vocab: Mapping[str, int]) -> None:
    listed = [token("!", normalized=False), token(START), token(END)]
    config = {
        "added_tokens_decoder": {
            str(vocab[str(t["content"])]): {**t, "special": True} for t in listed
        },
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": "!",
        "model_max_length": LENGTH,
    }
    write_json(folder / "tokenizer_config.json", config)


def no_configuration(folder: Path, vocab: Mapping[str, int]) -> None:
    """Leave the vocabulary alone in its folder."""


def textual_inversion(folder: Path, vocab: Mapping[str, int]) -> None:
    stable_diffusion_1(folder, vocab)
    added = ["<Cat-Toy>", "<x>", "<x>_1"]  # the last one starts with another
    write_json(folder / "added_tokens.json", {t: len(vocab) + i for i, t in enumerate(added)})
    specials = json.loads((folder / "special_tokens_map.json").read_text(encoding="utf-8"))
    specials["extra_special_tokens"] = ["<Special>"]
    write_json(folder / "special_tokens_map.json", specials)


def tokens_of_every_kind(folder: Path, vocab: Mapping[str, int]) -> None:
    """Add tokens with each combination of transformers' five settings."""
    stable_diffusion_1(folder, vocab)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    settings = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for number in range(32):
        chosen = {name: bool(number >> bit & 1) for bit, name in enumerate(settings)}
        added = AddedToken(f"Zq{number}-", **chosen)
        tokenizer.add_tokens([added], special_tokens=chosen["special"])
    tokenizer.add_tokens([AddedToken("cat", single_word=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("<x>"), AddedToken("<x>_1"), AddedToken("<x>_2")])
    tokenizer.save_pretrained(folder)


def new_padding_token(folder: Path, vocab: Mapping[str, int]) -> None:
    write_json(
        folder / "tokenizer_config.json",
        {"pad_token": "[PAD]", "model_max_length": 1000000000000000019884624838656},
    )


def contradicting_definitions(folder: Path, vocab: Mapping[str, int]) -> None:
    kind = {"__type": "AddedToken"}
    config = {
        "eos_token": token(END, normalized=False, **kind),
        "unk_token": token(END, **kind),
        "pad_token": token(END, normalized=False, **kind),
    }
    write_json(folder / "tokenizer_config.json", config)


def tokenizer_json_alone(folder: Path, vocab: Mapping[str, int]) -> None:
    stable_diffusion_2(folder, vocab)
    saved = CLIPTokenizer.from_pretrained(folder)
    for path in folder.iterdir():
        path.unlink()
    saved.save_pretrained(folder)
    assert not (folder / "vocab.json").exists()


def tokenizer_json_beside_another_vocabulary(folder: Path, vocab: Mapping[str, int]) -> None:
    tokenizer_json_alone(folder, vocab)
    write_json(folder / "vocab.json", {t: i for i, t in enumerate(reversed(list(vocab)))})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


LAYOUTS: tuple[Callable[[Path, Mapping[str, int]], None], ...] = (
    stable_diffusion_1,
    stable_diffusion_2,
    stable_diffusion_xl_second,
    no_configuration,
    textual_inversion,
    tokens_of_every_kind,
    new_padding_token,
    contradicting_definitions,
    tokenizer_json_alone,
    tokenizer_json_beside_another_vocabulary,
)
NAMES = ("emoji", *(layout.__name__ for layout in LAYOUTS))


def write_vocabulary(folder: Path) -> dict[str, int]:
    vocab, merges = train_byte_level_vocabulary()
    write_json(folder / "vocab.json", vocab)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return vocab


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folders = {"emoji": EMOJI}
    for layout in LAYOUTS:
        folder = tmp_path_factory.mktemp(layout.__name__)
        layout(folder, write_vocabulary(folder))
        folders[layout.__name__] = folder
    return {
        name: Pair(ClipTokenizer.from_folder(folder), CLIPTokenizer.from_pretrained(folder))
        for name, folder in folders.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the files of Stable Diffusion 1's tokenizer, with a small vocabulary."""
    stable_diffusion_1(tmp_path, write_vocabulary(tmp_path))
    return tmp_path


def assert_same(pair: Pair, texts: Iterable[str]) -> None:
    texts = list(texts)
    padded = pair.theirs(texts, padding="max_length", truncation=True, max_length=LENGTH).input_ids
    whole = pair.theirs(texts, add_special_tokens=False).input_ids
    for text, padded_ids, ids in zip(texts, padded, whole, strict=True):
        assert pair.ours.encode(text) == ids, repr(text)
        assert pair.ours(text, LENGTH).ids == tuple(padded_ids), repr(text)


@pytest.mark.parametrize("name", NAMES)
def test_prompts_encode_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    assert_same(pairs[name], PROMPTS)


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_pieces_encode_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    source = random.Random(f"pieces {name}")
    assert_same(
        pairs[name], ("".join(source.choices(PIECES, k=source.randrange(14))) for _ in range(1500))
    )


@pytest.mark.parametrize("name", ["emoji", "stable_diffusion_1", "stable_diffusion_2"])
def test_random_unicode_encodes_as_in_transformers(pairs: dict[str, Pair], name: str) -> None:
    source = random.Random(f"unicode {name}")
    known = known_characters()
    texts = ("".join(source.choices(known, k=source.randrange(20))) for _ in range(2000))
    assert_same(pairs[name], texts)


def test_every_character_encodes_as_in_transformers(pairs: dict[str, Pair]) -> None:
    # Between letters, a character shows whether it is a letter, a number, a symbol or a space.
    known = known_characters()
    texts = ["".join(f"Q{c}Q{c}{c} " for c in known[i : i + 40]) for i in range(0, len(known), 40)]
    theirs = pairs["stable_diffusion_1"].theirs(texts, add_special_tokens=False).input_ids
    for text, ids in zip(texts, theirs, strict=True):
        assert pairs["stable_diffusion_1"].ours.encode(text) == ids, ascii(text)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    text=st.text(st.characters(exclude_categories=("Cs", "Cn"))),
    name=st.sampled_from(
        ["emoji", "stable_diffusion_1", "stable_diffusion_2", "textual_inversion"]
    ),
)
def test_any_text_encodes_as_in_transformers(pairs: dict[str, Pair], text: str, name: str) -> None:
    assert_same(pairs[name], [text])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(st.sampled_from("acdeghinorst' !<|>\u0301É"), max_size=80))
def test_long_words_merge_in_the_order_of_transformers(pairs: dict[str, Pair], text: str) -> None:
    assert_same(pairs["stable_diffusion_1"], [text, text.replace(" ", "")])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [2, 3, 24, 77])
def test_long_prompt_is_cut_and_named_as_diffusers_names_it(
    pairs: dict[str, Pair], name: str, length: int
) -> None:
    source = random.Random(name)
    prompt = " ".join(source.choices(PROSE.split(), k=1000))
    pair = pairs[name]
    encoded = pair.ours(prompt, length)
    theirs = pair.theirs(prompt, padding="max_length", truncation=True, max_length=length)
    assert encoded.ids == tuple(theirs.input_ids)
    # diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py, encode_prompt
    untruncated = pair.theirs([prompt], padding="longest").input_ids
    assert encoded.truncated_text == pair.theirs.batch_decode([untruncated[0][length - 1 : -1]])[0]


def test_prompt_that_just_fits_is_not_cut(pairs: dict[str, Pair]) -> None:
    ours = pairs["stable_diffusion_1"].ours
    fits = ours("1 " * 22, 24)
    assert (len(fits.ids), fits.ids.count(ours.eos_id), fits.truncated_text) == (24, 1, "")
    assert ours("1 " * 23, 24).truncated_text == "1"


def test_word_of_ten_thousand_letters_is_merged(pairs: dict[str, Pair]) -> None:
    assert_same(pairs["stable_diffusion_1"], ["photograph" * 1000])


CONCEPTS = {"<toy>": 3, "<Style>": 2, "<one>": 1, "toy": 2}


@pytest.fixture(scope="module")
def concepts(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return the tokenizer of a pipeline that learned concepts of several vectors."""
    folder = tmp_path_factory.mktemp("concepts")
    stable_diffusion_1(folder, write_vocabulary(folder))
    theirs = CLIPTokenizer.from_pretrained(folder)
    for name, vectors in CONCEPTS.items():  # as load_textual_inversion names them
        theirs.add_tokens([name, *(f"{name}_{i}" for i in range(1, vectors))])
    for how in (
        {"lstrip": True},
        {"rstrip": True, "normalized": False},
        {"single_word": True},
    ):
        name = f"<{next(iter(how))}>"
        theirs.add_tokens([AddedToken(name, **how), f"{name}_1"])
    theirs.save_pretrained(folder)
    return Pair(ClipTokenizer.from_folder(folder), CLIPTokenizer.from_pretrained(folder))


@pytest.mark.parametrize(
    "prompt",
    [
        "a <toy> on the moon",
        "<toy><toy>, <one> in <Style>; <style>",
        "a toy and two toys, <Toy>",
        "no concept at all",
        "a <lstrip> b<lstrip>c <rstrip> d<rstrip>e <single_word> f<single_word>g",
        "",
    ],
)
def test_a_concept_of_several_vectors_is_spelled_out_as_in_diffusers(
    concepts: Pair, prompt: str
) -> None:
    from diffusers.loaders import TextualInversionLoaderMixin

    expanded = TextualInversionLoaderMixin().maybe_convert_prompt(prompt, concepts.theirs)

    assert concepts.ours.expand(prompt) == expanded
    assert_same(concepts, [expanded])


def test_padding_token_is_the_folders_own(pairs: dict[str, Pair]) -> None:
    for name, content in [("stable_diffusion_1", END), ("stable_diffusion_2", "!")]:
        pair = pairs[name]
        assert pair.ours("a", 5).ids[-1] == pair.ours.pad_id == pair.theirs.get_vocab()[content]


def test_length_defaults_to_the_models_own(pairs: dict[str, Pair]) -> None:
    assert len(pairs["stable_diffusion_1"].ours("a cat").ids) == LENGTH


@pytest.mark.parametrize("name", ["no_configuration", "new_padding_token"])
def test_length_must_be_given_where_the_folder_sets_none(pairs: dict[str, Pair], name: str) -> None:
    with pytest.raises(ValueError, match="pass length"):
        pairs[name].ours("a cat")


def test_length_without_room_is_refused(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="no room"):
        pairs["emoji"].ours("a cat", 1)


def test_half_a_surrogate_pair_is_refused(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="not valid Unicode"):
        pairs["emoji"].ours.encode("a \ud83d cat")


def test_folder_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vocab\.json"):
        ClipTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", '{"a": 0', "vocab.json is not valid JSON"),
        ("vocab.json", "[]", "vocab.json holds no JSON object"),
        ("vocab.json", '{"a": "b"}', "no number"),
        ("vocab.json", '{"a": 0}', "not in the vocabulary"),
        ("merges.txt", "#version: 0.2\na b c\n", "line 2: expected two tokens"),
        ("merges.txt", "#version: 0.2\n日 本\n", "needs the token '日'"),
        ("tokenizer.json", '{"model": {"type": "Unigram"}}', "no byte-pair encoding"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}}}', "broken model"),
        ("tokenizer.json", '{"model": {"vocab": ["a"], "merges": []}}', "broken model"),
        ("tokenizer_config.json", '{"added_tokens_decoder": []}', "special tokens are broken"),
        ("special_tokens_map.json", '{"pad_token": null}', "pad_token is null"),
        ("special_tokens_map.json", '{"pad_token": 3}', "neither a string nor an object"),
        (
            "special_tokens_map.json",
            '{"unk_token": "[UNK]"}',
            "'\\[UNK\\]' is not in the vocabulary",
        ),
    ],
)
def test_broken_file_is_refused(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        ClipTokenizer.from_folder(folder)
