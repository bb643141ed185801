"""Checkpoints that are broken at random: cut, with shapes swapped, of two models mixed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import EdgegenError
from edgegen.core.reading import Reading
from edgegen.models.binding import bind
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.networks import network_of
from edgegen.reference.modules import build_module
from tests.checkpoints.original import write_original
from tests.conftest import TinyPipeline

FILES = int(os.environ.get("EDGEGEN_FUZZ_CASES", "20"))
"""Of each kind of damage; `make fuzz` breaks more."""
SHAPES: dict[tuple[str, str], Mapping[str, tuple[int, ...]]] = {}


@pytest.fixture(scope="module")
def folders(tiny_pipeline: TinyPipeline) -> dict[str, Path]:
    return {"1": tiny_pipeline("sd15"), "xl": tiny_pipeline("sdxl")}


@pytest.fixture(scope="module")
def headers(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Return what whole files have in their headers, by their form."""
    place = tmp_path_factory.mktemp("whole")
    return {
        form: header_of(write_original(folder, form, place / f"{form}.safetensors"))
        for form, folder in folders.items()
    }


def header_of(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    del header["__metadata__"]
    return header


def write(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write a file of zeros with these tensors, which takes no room on the disk."""
    at, header = 0, {}
    for key, shape in shapes.items():
        size = 4
        for axis in shape:
            size *= axis
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + at)


def read_all(file: Path, folder: Path, form: str) -> None:
    """Do what `package` does of a model before any weight is read."""
    found = resolve(str(file), reading=Reading(config=str(folder)))
    spec = read_pipeline(found)
    source = open_source(folder_source(found.path))
    for component in {it.folder: it for it in spec.components}.values():
        weights = source.weights(component.folder, component.variant)
        rules = network_of(component.class_name).keys
        if (form, component.folder) not in SHAPES:
            module = build_module(folder / component.folder, component.class_name)
            SHAPES[form, component.folder] = {
                name: tuple(it.shape) for name, it in module.state_dict().items()
            }
        bind(weights, SHAPES[form, component.folder], rules)


def files_in(*places: Path) -> set[Path]:
    return {path for place in places for path in place.rglob("*")}


def refused(file: Path, folder: Path, form: str) -> EdgegenError | None:
    """Return the error of a broken file, which leaves nothing beside it."""
    before = files_in(file.parent)
    caught = None
    try:
        read_all(file, folder, form)
    except EdgegenError as error:
        caught = error
    assert files_in(file.parent) == before
    assert caught is None or (caught.message and caught.hint)
    return caught


def is_same(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two shapes are of the same axes; one pixel's kernel is a matrix."""
    return sorted(it for it in one if it > 1) == sorted(it for it in other if it > 1)


def damaged(
    kind: str, headers: Mapping[str, dict[str, Any]], form: str, chance: random.Random
) -> Iterator[tuple[str, tuple[int, ...]]]:
    shapes = {key: tuple(it["shape"]) for key, it in headers[form].items()}
    shapes = {key: it for key, it in shapes.items() if not key.endswith("position_ids")}
    if kind == "swapped":
        while True:
            one, other = chance.sample(sorted(shapes), 2)
            if not is_same(shapes[one], shapes[other]) and "logit_scale" not in one + other:
                break
        shapes[one], shapes[other] = shapes[other], shapes[one]
    elif kind == "lacking":
        kept = [key for key in shapes if "logit_scale" not in key]
        for key in chance.sample(kept, chance.randrange(1, 4)):
            del shapes[key]
    else:
        theirs = {
            key: tuple(it["shape"]) for key, it in headers["xl" if form == "1" else "1"].items()
        }
        taken = [key for key in theirs if key not in shapes and "logit_scale" not in key]
        taken = [key for key in taken if not key.endswith("position_ids")]
        for key in chance.sample(taken, chance.randrange(1, 30)):
            shapes[key] = theirs[key]
    yield from shapes.items()


def test_a_file_that_was_cut_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    chance = random.Random(1)
    whole = write_original(folders["1"], "1", tmp_path / "whole.safetensors").read_bytes()
    file = tmp_path / "broken.safetensors"
    for _ in range(FILES):
        end = chance.choice((chance.randrange(len(whole)), chance.randrange(60_000)))
        file.write_bytes(whole[:end])
        error = refused(file, folders["1"], "1")
        assert error is not None
        assert "broken.safetensors" in error.message


@pytest.mark.parametrize("kind", ["swapped", "lacking", "mixed"])
def test_a_file_that_is_no_whole_model_is_refused_with_what_is_wrong(
    kind: str, folders: dict[str, Path], headers: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    chance = random.Random(kind)
    file = tmp_path / "broken.safetensors"
    accepted = []
    for number in range(FILES):
        form = chance.choice(sorted(folders))
        shapes = dict(damaged(kind, headers, form, chance))
        write(file, shapes)
        os.utime(file, ns=(number, number))  # files of one size within a tick are told apart
        if refused(file, folders[form], form) is None:
            accepted.append(number)
    assert not accepted
