"""Broken and foreign files of adapters: cut, spoiled, of other shapes, of two models in one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.core.errors import EdgegenError
from edgegen.core.folders import cache_folder
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.source import resolve
from tests.adapters.writers import FORMS, every, kohya, modules_in, with_component, write
from tests.conftest import TinyPipeline
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.mutations import mutated

CHANGES = ("cut", "bytes", "header", "shapes", "mixed", "config")


@pytest.fixture(scope="module")
def model(tiny_pipeline: TinyPipeline) -> Path:
    return tiny_pipeline("sd15")


@pytest.fixture(scope="module")
def good(model: Path, tiny_pipeline: TinyPipeline, tmp_path_factory: Any) -> list[bytes]:
    """Return whole files: one of each form, and one of another family."""
    folder = tmp_path_factory.mktemp("good")
    modules = [
        ("unet", name, weight) for name, weight in every(12, modules_in(model / "unet").items())
    ]
    files = []
    for name, form in FORMS.items():
        write(folder / f"{name}.safetensors", modules, form, kohya)
        files.append((folder / f"{name}.safetensors").read_bytes())
    other = tiny_pipeline("pixart") / "transformer"
    foreign = [("transformer", name, weight) for name, weight in modules_in(other).items()]
    write(folder / "other.safetensors", every(12, foreign), FORMS["lora"], with_component)
    return [*files, (folder / "other.safetensors").read_bytes()]


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode(errors="surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def with_swapped_shapes(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a file in which tensors of the same size have each other's shape, or a turned one."""
    header, data = header_of(content)
    names = [name for name in header if name != "__metadata__"]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=4)):
        header[name]["shape"] = draw(st.permutations(header[name]["shape"]))
    return packed(header, data)


def mixed(one: bytes, other: bytes) -> bytes:
    """Return one file with the tensors of two."""
    header, data = header_of(one)
    more, more_data = header_of(other)
    for name, entry in more.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            header[name] = {**entry, "data_offsets": [begin + len(data), end + len(data)]}
    return packed(header, data + more_data)


@st.composite
def broken(draw: st.DrawFn) -> tuple[int, int, str, Any]:
    """Return which files are taken, and what is done to the first."""
    first, second = (draw(st.integers(0, len(FORMS))) for _ in range(2))
    return first, second, draw(st.sampled_from(CHANGES)), draw(st.data())


def changed(plan: tuple[int, int, str, Any], good: list[bytes]) -> bytes:
    first, second, change, data = plan
    content = good[first]
    if change == "cut":
        return content[: data.draw(st.integers(0, len(content)))]
    if change == "bytes":
        spoiled = bytearray(content)
        for _ in range(data.draw(st.integers(1, 8))):
            spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
        return bytes(spoiled)
    if change == "header":
        header, rest = header_of(content)
        return packed(data.draw(mutated(header)), rest)
    if change == "shapes":
        return data.draw(st.composite(with_swapped_shapes)(content))
    return mixed(content, good[second]) if change == "mixed" else content


def left_behind() -> set[str]:
    place = cache_folder() / "adapted"
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def read_all(folder: Path) -> Iterator[Any]:
    for name in ("unet", "text_encoder"):
        weights = open_source(folder_source(folder)).weights(name)
        for key in weights.entries:
            yield weights.array(key)


@fuzzing()
@given(plan=broken())
def test_a_broken_adapter_ends_orderly_and_leaves_nothing(
    plan: tuple[int, int, str, Any], model: Path, good: list[bytes], tmp_path_factory: Any
) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "fuzzed_adapters"
    folder.mkdir(exist_ok=True)
    file = folder / "adapter_model.safetensors"
    file.write_bytes(changed(plan, good))
    config = folder / "adapter_config.json"
    config.unlink(missing_ok=True)
    if plan[2] == "config":
        settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"a.b": 2}}
        config.write_text(json.dumps(plan[3].draw(mutated(settings))), "utf-8", "surrogatepass")
    before = left_behind()
    with case("adapters"):
        try:
            adapted = with_adapters(resolve(str(model)), [str(folder)])
        except EdgegenError:
            assert left_behind() == before
            raise
        for array in read_all(adapted.path):
            assert array.dtype != np.float64


@fuzzing(0.5)
@given(header=mutated({"<toy>": {"dtype": "F32", "shape": [2, 32], "data_offsets": [0, 256]}}))
@example(header={"clip_l": {"dtype": "F32", "shape": [2, 32], "data_offsets": [0, 256]}})
def test_a_broken_textual_inversion_ends_orderly_and_leaves_nothing(
    header: Any, model: Path, tmp_path_factory: Any
) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "fuzzed_words.safetensors"
    file.write_bytes(packed(header, bytes(256)))
    before = left_behind()
    with case("textual inversions"):
        try:
            adapted = with_adapters(resolve(str(model)), [], [str(file)])
        except EdgegenError:
            assert left_behind() == before
            raise
        for _ in read_all(adapted.path):
            pass
