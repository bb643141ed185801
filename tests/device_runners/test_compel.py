"""compel's syntax: it is read as compel reads it, and draws as compel's embeddings do."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.prompts import PromptError, read_compel

from tests.device_runners.test_prompts import assert_same, drawn, drawn_by_diffusers, loaded
from tests.tiny_packages import torch_package

WRITTEN = [
    "a fox++ in snow",
    "a (red fox)++ in the snow",
    "(red fox)1.3, snow",
    "a (red (small)+ fox)1.2",
    "well-known a+b c-",
    "(fox:1.3)",
    'a "tall man"++ here',
    "(unbalanced fox",
    '("a cat", "a dog").and(1,0.5)',
    "fox++, (snow)0.5 hill",
    "(it's = x)++",
    "((x)+)+",
    "(a b)+1.5",
    "()++ x",
    r"\(lit\) x (a \) b)+",
    "(x y).attend(++) z.attend(1.5)",
    "(1.5)2 3",
]
PIECES = [
    *("fox", "a", " ", " ", " ", "(", ")", "++", "-", "+", '"', ",", ".", "1.3", ":", r"\("),
    *(".attend(", "(b c)", '"x y"', "5", "=", "well-known", "\\", "\n"),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_by_compel(parser: Any, prompt: str) -> list[tuple[list[tuple[str, float]], float]]:
    found = parser.parse_conjunction(prompt)
    return [
        ([(it.text, pytest.approx(it.weight)) for it in part.children], weight)
        for part, weight in zip(found.prompts, found.weights, strict=True)
    ]


def test_prompts_are_read_as_compel_reads_them() -> None:
    from compel.prompt_parser import PromptParser

    parser, drawn_by_chance = PromptParser(), random.Random(7)
    prompts = [
        "".join(drawn_by_chance.choices(PIECES, k=drawn_by_chance.randint(1, 12)))
        for _ in range(25)
    ]
    for prompt in [*WRITTEN, *prompts]:
        expected = read_by_compel(parser, prompt)
        parts = read_compel(prompt)
        found = [([(it.text, it.weight) for it in part.spans], part.weight) for part in parts]
        assert found == (expected or [([("", 1.0)], 1.0)]), prompt


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ('("a cat", "a dog").blend(1, 1)', "mixes prompts"),
        ("a cat.swap(dog)", "swaps words"),
        ("a cat withLora(fluffy, 0.8)", "a LoRA"),
        ('("a", "b").and(1)', "1 numbers for 2 prompts"),
        ('("a", "b").and(one, two)', "takes numbers"),
        ('("a", "b").and() c', "Nothing may follow"),
        ("(" * 100 + "a" + ")" * 100, "nests deeper"),
        ("(" * 1000, "nests deeper"),
    ],
)
def test_what_compel_has_and_edgegen_lacks_is_refused(prompt: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        read_compel(prompt)


def test_brackets_that_fit_nothing_take_no_time() -> None:
    assert len(read_compel('("' * 30 + "a" * 3000 + "+" * 3000)) == 1


PROMPTS = {
    "stronger": ("a (cat)1.4 and the dog++", "the er+"),
    "weaker": ("a (cat)0.6 and the dog-, (singing)1.2", "(the)0.5 er"),
    "parts": ('("a cat+", "the dog").and(1, 0.7)', "er"),
    "equal parts": ('("a cat+", "the dog").and()', "er"),
    "too long": (", ".join(["a cat and the dog"] * 12) + " (er)0.5 (er)1.5", "er"),
    "plain": ("a cat and the dog", ""),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if case in ("weaker", "equal parts") else case
        for case in PROMPTS
    ],
)
def test_it_draws_as_compels_embeddings_do_in_diffusers(
    case: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    from compel import Compel
    from compel.embeddings_provider import DownweightMode

    prompt, negative = PROMPTS[case]
    source = tiny_pipeline("sd15")
    theirs = loaded("StableDiffusionPipeline", source)
    folder = torch_package("sd15", source, tmp_path / "package")
    made = Compel(theirs.tokenizer, theirs.text_encoder, downweight_mode=DownweightMode.REMOVE)
    embeds = made.pad_conditioning_tensors_to_same_length([made(prompt), made(negative)])
    names = ("prompt_embeds", "negative_prompt_embeds")
    expected = drawn_by_diffusers(
        theirs, guidance_scale=6.0, **dict(zip(names, embeds, strict=True))
    )
    request = {"prompt_syntax": "compel", "guidance": 6.0, "negative_prompt": negative}
    assert_same(drawn(folder, theirs, prompt, **request), expected)
    if case not in ("plain", "too long"):
        plain = drawn(folder, theirs, prompt, guidance=6.0, negative_prompt=negative)
        assert np.abs(plain - expected).max() > 1e-3


@pytest.mark.parametrize("case", ["weaker", "equal parts"])
def test_both_encoders_of_sdxl_are_weighted_and_the_whole_prompt_is_pooled(
    case: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    import torch
    from compel import Compel, ReturnedEmbeddingsType
    from compel.embeddings_provider import DownweightMode

    prompt, negative = PROMPTS[case]
    source = tiny_pipeline("sdxl")
    theirs = loaded("StableDiffusionXLPipeline", source)
    folder = torch_package("sdxl", source, tmp_path / "package")
    state = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
    arguments: dict[str, Any] = {"guidance_scale": 6.0, "height": 32, "width": 32}
    sides: list[list[Any]] = []
    for number in ("", "_2"):
        made = Compel(
            getattr(theirs, f"tokenizer{number}"),
            getattr(theirs, f"text_encoder{number}"),
            downweight_mode=DownweightMode.REMOVE,
            returned_embeddings_type=state,
            requires_pooled=number == "_2",
        )
        told = [made(each) for each in (prompt, negative)]
        if number:
            arguments["pooled_prompt_embeds"], arguments["negative_pooled_prompt_embeds"] = (
                pooled for _, pooled in told
            )
            told = [states for states, _ in told]
        sides.append(made.pad_conditioning_tensors_to_same_length(told))
    both = [torch.cat(pair, dim=-1) for pair in zip(*sides, strict=True)]
    arguments["prompt_embeds"], arguments["negative_prompt_embeds"] = both
    request = {"prompt_syntax": "compel", "guidance": 6.0, "negative_prompt": negative}
    mine = drawn(folder, theirs, prompt, **request)
    assert_same(mine, drawn_by_diffusers(theirs, **arguments))
