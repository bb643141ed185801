"""Weights, chunks and clip skip: the image that diffusers draws from such embeddings.

The embeddings are computed here with torch, transformers' own encoders and tokenizers, and chunks
that are written out by hand: none of the runner's reading is in them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import load_package
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.pipelines.emphasis import final_norm
from edgegen_runner.prompts import Chunk, PromptError, Span, chunks_of, read_a1111
from edgegen_runner.request import Request
from edgegen_runner.residency import Components

from tests.tiny_packages import TorchBackend, torch_package

TOLERANCE = 1e-4
LENGTH = 77
Spans = Sequence[tuple[str, float]]


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [  # the examples of stable-diffusion-webui, modules/prompt_parser.py
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        ),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        ("(fox:-1)", [("fox", -1.0)]),
        ("time: 12:30)", [("time: 12:30)", 1.0)]),
        ("a]b)", [("a]b)", 1.0)]),
        ("back\\slash", [("backslash", 1.0)]),
    ],
)
def test_brackets_weigh_as_in_the_web_ui(prompt: str, spans: Spans) -> None:
    (read,) = read_a1111(prompt)
    assert [span.text for span in read] == [text for text, _ in spans]
    assert [span.weight for span in read] == pytest.approx([weight for _, weight in spans])


def test_break_parts_a_prompt_in_brackets_too() -> None:
    assert read_a1111("a BREAK b") == ((Span("a"),), (Span("b"),))
    assert read_a1111("(a BREAK b:2) BREAKING") == (
        (Span("a", 2.0),),
        (Span("b", 2.0), Span(" BREAKING")),
    )


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a [cat:dog:0.5]", "changes with the steps"),
        ("a [dog: 3]", "changes with the steps"),
        ("a [cat|dog] on a hill", "changes with the steps"),
        ("a cat AND a dog", "several prompts"),
        ("a cat <lora:fluffy:0.8>", "a network"),
        ("(fox:1.2.3)", "not a number"),
    ],
)
def test_what_the_web_ui_has_and_edgegen_lacks_is_refused(prompt: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        read_a1111(prompt)


def test_an_escaped_bracket_asks_for_nothing() -> None:
    assert read_a1111(r"\[cat|dog\] at 12:30") == ((Span("[cat|dog] at 12:30"),),)


def encode_words(text: str) -> list[int]:
    """Return a token a word; a comma is 0."""
    return [0 if word == "," else int(word) for word in text.split()]


def numbers(first: int, last: int) -> str:
    return " ".join(map(str, range(first, last)))


def test_a_long_prompt_goes_on_in_another_chunk() -> None:
    found = chunks_of([[Span(numbers(1, 12), 2.0)]], encode_words, 0, 5)
    assert [chunk.ids for chunk in found] == [(1, 2, 3, 4, 5), (6, 7, 8, 9, 10), (11,)]
    assert found[2].weights == (2.0,)


def test_a_chunk_ends_behind_a_comma_that_is_near() -> None:
    found = chunks_of([[Span(f"{numbers(1, 4)} , 4 5 6")]], encode_words, 0, 5)
    assert [chunk.ids for chunk in found] == [(1, 2, 3, 0), (4, 5, 6)]
    far = chunks_of([[Span(f"1 , {numbers(2, 30)}")]], encode_words, 0, 25)
    assert [len(chunk.ids) for chunk in far] == [25, 5]


def test_breaks_leave_chunks_unfilled_and_none_behind_the_last() -> None:
    parts = [[Span("1")], [], [Span("2 3")], []]
    assert chunks_of(parts, encode_words, 0, 5) == [
        Chunk((1,), (1.0,)),
        Chunk(),
        Chunk((2, 3), (1.0, 1.0)),
    ]
    assert chunks_of([[]], encode_words, 0, 5) == [Chunk()]


def embeddings(
    tokenizer: Any, encoder: Any, chunks: Sequence[Spans], state: int | None, norm: bool = True
) -> tuple[Any, Any]:
    """Return hidden states and the pooled text by the web UI's rule.

    `state` counts hidden states from the end, None is the last behind the final norm.
    """
    import torch

    states, pooled = [], None
    for spans in chunks:
        ids, weights = [tokenizer.bos_token_id], [1.0]
        for text, weight in spans:
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += tokens
            weights += [weight] * len(tokens)
        ids.append(tokenizer.eos_token_id)
        ids += [tokenizer.pad_token_id] * (LENGTH - len(ids))
        weights += [1.0] * (LENGTH - len(weights))
        with torch.no_grad():
            output = encoder(torch.tensor([ids]), output_hidden_states=True)
            found = output.last_hidden_state if state is None else output.hidden_states[state]
            if state is not None and norm:
                model = getattr(encoder, "text_model", encoder)
                found = model.final_layer_norm(found)
        mean = found.mean()
        found = found * torch.tensor(weights)[None, :, None]
        states.append(found * (mean / found.mean()))
        pooled = output[0] if pooled is None else pooled
    return torch.cat(states, dim=1), pooled


PROMPT = "a (cat:1.4) and [the dog], (singing"
CHUNKS: list[Spans] = [
    [("a ", 1.0), ("cat", 1.4), (" and ", 1.0), ("the dog", 1 / 1.1), (", ", 1.0), ("singing", 1.1)]
]
LONG = ", ".join(["a cat and the dog"] * 12)
"""In the tiny vocabulary a prompt of several chunks."""
CASES: dict[str, tuple[str, list[Spans], str, list[Spans], int]] = {
    "weights": (PROMPT, CHUNKS, "the (er:0.7)", [[("the ", 1.0), ("er", 0.7)]], 0),
    "no weights": ("a cat", [[("a cat", 1.0)]], "", [[]], 0),
    "BREAK": (
        "a (cat:1.4) BREAK the dog",
        [[("a ", 1.0), ("cat", 1.4)], [("the dog", 1.0)]],
        "er",
        [[("er", 1.0)], []],
        0,
    ),
    "clip skip": (PROMPT, CHUNKS, "the er", [[("the er", 1.0)]], 1),
}


def drawn(folder: Path, theirs: Any, prompt: str, **request: Any) -> Any:
    """Return the latents that the runner draws."""
    package = load_package(folder)
    components = Components(package, TorchBackend(theirs), "sequential", lambda *_, **__: None)
    pipeline = open_pipeline(components, Request(steps=3, **request))
    conditioning = pipeline.encode(prompt)
    *_, last = pipeline.denoise(conditioning, pipeline.prepare(11))
    return last.latents


def drawn_by_diffusers(theirs: Any, **arguments: Any) -> Any:
    import torch

    generator = torch.Generator("cpu").manual_seed(11)
    arguments = {"num_inference_steps": 3, "output_type": "latent", **arguments}
    return theirs(generator=generator, **arguments).images.numpy()


def assert_same(mine: Any, yours: Any) -> None:
    assert np.isfinite(yours).all()
    assert yours.std() > 0.01
    assert np.abs(mine - yours).max() <= TOLERANCE * max(1.0, np.abs(yours).max())


def loaded(name: str, source: Path) -> Any:
    import diffusers

    pipeline = getattr(diffusers, name).from_pretrained(source)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    ("family", "case"),
    [
        *(("sd15", case) for case in CASES),
        ("sd21", "clip skip"),
        ("lcm", "weights"),
        *(
            pytest.param(family, case, marks=pytest.mark.slow)
            for family, fast in (("sd21", "clip skip"), ("lcm", "weights"))
            for case in CASES
            if case != fast
        ),
    ],
)
def test_a_weighted_prompt_draws_as_its_embeddings_do_in_diffusers(
    family: str, case: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    prompt, chunks, negative, negative_chunks, skip = CASES[case]
    source = tiny_pipeline(family)
    name = "LatentConsistencyModelPipeline" if family == "lcm" else "StableDiffusionPipeline"
    theirs = loaded(name, source)
    folder = torch_package(family, source, tmp_path / "package")
    state = -1 - skip if skip else None
    parts = theirs.tokenizer, theirs.text_encoder
    arguments = {"prompt_embeds": embeddings(*parts, chunks, state)[0], "guidance_scale": 6.0}
    request = {"prompt_syntax": "a1111", "clip_skip": skip, "guidance": 6.0}
    if family != "lcm":
        arguments["negative_prompt_embeds"] = embeddings(*parts, negative_chunks, state)[0]
        request["negative_prompt"] = negative
    assert_same(drawn(folder, theirs, prompt, **request), drawn_by_diffusers(theirs, **arguments))


@pytest.mark.parametrize("case", CASES)
def test_a_weighted_prompt_of_sdxl_weighs_both_encoders_and_pools_the_first_chunk(
    case: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    import torch

    prompt, chunks, negative, negative_chunks, skip = CASES[case]
    source = tiny_pipeline("sdxl")
    theirs = loaded("StableDiffusionXLPipeline", source)
    folder = torch_package("sdxl", source, tmp_path / "package")
    arguments: dict[str, Any] = {"guidance_scale": 6.0}
    for prefix, own in (("", chunks), ("negative_", negative_chunks)):
        first, _ = embeddings(theirs.tokenizer, theirs.text_encoder, own, -2 - skip, norm=False)
        second, pooled = embeddings(
            theirs.tokenizer_2, theirs.text_encoder_2, own, -2 - skip, norm=False
        )
        arguments[f"{prefix}prompt_embeds"] = torch.cat([first, second], dim=-1)
        arguments[f"{prefix}pooled_prompt_embeds"] = pooled
    request = {"prompt_syntax": "a1111", "clip_skip": skip, "guidance": 6.0}
    mine = drawn(folder, theirs, prompt, negative_prompt=negative, **request)
    assert_same(mine, drawn_by_diffusers(theirs, height=32, width=32, **arguments))


def test_a_prompt_beyond_the_limit_is_drawn_to_its_end(tiny_pipeline: Any, tmp_path: Path) -> None:
    source = tiny_pipeline("sd15")
    theirs = loaded("StableDiffusionPipeline", source)
    folder = torch_package("sd15", source, tmp_path / "package")
    tokens = theirs.tokenizer(LONG, add_special_tokens=False)["input_ids"]
    comma = theirs.tokenizer(",", add_special_tokens=False)["input_ids"][0]
    last_comma = max(place for place in range(LENGTH - 2) if tokens[place] == comma)
    assert LENGTH - 2 < len(tokens) < 2 * (LENGTH - 2)
    phrases = LONG.split(", ")
    first = tokens[: last_comma + 1].count(comma)
    chunks: list[Spans] = [
        [(", ".join(phrases[:first]) + ",", 1.0)],
        [(", ".join(phrases[first:]), 1.0)],
    ]
    parts = theirs.tokenizer, theirs.text_encoder
    arguments = {
        "prompt_embeds": embeddings(*parts, chunks, None)[0],
        "negative_prompt_embeds": embeddings(*parts, [[], []], None)[0],
    }
    mine = drawn(folder, theirs, LONG, prompt_syntax="a1111")
    assert_same(mine, drawn_by_diffusers(theirs, **arguments))
    shorter = drawn(folder, theirs, ", ".join(phrases[:-1]), prompt_syntax="a1111")
    assert np.abs(shorter - mine).max() > 10 * TOLERANCE


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_plain_prompt_skips_layers_as_diffusers_does(
    family: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline(family)
    name = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    theirs = loaded(name, source)
    folder = torch_package(family, source, tmp_path / "package")
    if family == "sd15":  # diffusers 0.42 looks for the norm where transformers 5 has it no more
        encoder = theirs.text_encoder
        where = SimpleNamespace(final_layer_norm=encoder.final_layer_norm)
        object.__setattr__(encoder, "text_model", where)
    words = {"prompt": "a (cat:1.4)", "negative_prompt": "the er", "clip_skip": 1}
    mine = drawn(folder, theirs, "a (cat:1.4)", negative_prompt="the er", clip_skip=1)
    size = {"height": 32, "width": 32, "guidance_scale": 7.5}
    assert_same(mine, drawn_by_diffusers(theirs, **words, **size))
    whole = drawn(folder, theirs, "a (cat:1.4)", negative_prompt="the er")
    assert np.abs(whole - mine).max() > 10 * TOLERANCE


def test_more_chunks_than_a_fixed_shape_takes_are_refused(
    tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    theirs = loaded("StableDiffusionPipeline", source)
    folder = torch_package("sd15", source, tmp_path / "package")
    manifest = json.loads((folder / "edgegen.json").read_text())
    for component in manifest["components"]:
        for tensor in component["spec"]["inputs"]:
            if tensor["name"] == "encoder_hidden_states":
                tensor["shape"][1] = LENGTH
    (folder / "edgegen.json").write_text(json.dumps(manifest))
    drawn(folder, theirs, "a (cat)", prompt_syntax="a1111")
    with pytest.raises(RunnerFailure, match="2 chunks of 77 tokens"):
        drawn(folder, theirs, "a cat BREAK a dog", prompt_syntax="a1111")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"prompt_syntax": "a1111", "negative_prompt": "(er:1.2.3)"}, "not a number"),
        ({"clip_skip": 40}, "2 layers"),
    ],
)
def test_what_cannot_be_read_is_refused(
    request_: dict[str, Any], says: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    theirs = loaded("StableDiffusionPipeline", source)
    folder = torch_package("sd15", source, tmp_path / "package")
    with pytest.raises(RunnerFailure, match=says):
        drawn(folder, theirs, "a cat", **request_)


def test_a_text_encoder_without_the_states_says_what_to_do(
    tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    folder = torch_package("sd15", source, tmp_path / "package")
    package = load_package(folder)
    encoder = package.components["text_encoder"]
    kept = {name: it for name, it in encoder.outputs.items() if name == "last_hidden_state"}
    components = {**package.components, "text_encoder": replace(encoder, outputs=kept)}
    package = replace(package, components=components)
    backend = TorchBackend(loaded("StableDiffusionPipeline", source))
    opened = Components(package, backend, "sequential", lambda *_, **__: None)
    with pytest.raises(RunnerFailure, match=r"no output hidden_states\.1") as caught:
        open_pipeline(opened, Request(clip_skip=1)).encode("a cat")
    assert "onnx" in caught.value.hint


@pytest.mark.parametrize("request_", [{"prompt_syntax": "a1111"}, {"clip_skip": 1}])
def test_a_model_without_clip_refuses_what_is_clips(
    request_: dict[str, Any], tiny_pipeline: Any, tmp_path: Path
) -> None:
    folder = torch_package("ddpm", tiny_pipeline("ddpm"), tmp_path / "package")
    components = Components(load_package(folder), TorchBackend(None), "all", lambda *_, **__: None)
    with pytest.raises(RunnerFailure, match="CLIP"):
        open_pipeline(components, Request(**request_))


def test_the_final_norm_is_found_from_the_states_on_both_sides_of_it() -> None:
    """At CLIP-L's width, with channels far larger than the others, as trained encoders have."""
    import torch

    generator = torch.Generator().manual_seed(0)
    norm = torch.nn.LayerNorm(768)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(768, generator=generator) * 2 + 0.1)
        norm.bias.copy_(torch.randn(768, generator=generator) * 0.2)
        last, earlier = (torch.randn(1, LENGTH, 768, generator=generator) for _ in range(2))
        for states in (last, earlier):
            states[..., 7] += 28.0
            states[..., 300] -= 9.0
            states[:, 0] *= 20
        found = final_norm(last.numpy(), norm(last).numpy(), 1e-5)(earlier.numpy())
        assert np.abs(found - norm(earlier).numpy()).max() < 1e-5
