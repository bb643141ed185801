"""What a new family has to declare, and that nothing outside its room asks for its name."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.families import FAMILIES, pipeline_class_names
from edgegen.networks import NETWORKS
from edgegen.networks.base import Autoencoder, Denoiser, TextEncoder
from tests.contracts.source_tree import HOST, RUNNER, tree_of

ROOMS = (
    *(HOST / "families", HOST / "networks", HOST / "builtin", HOST / "checkpoints"),
    RUNNER / "pipelines",
)
"""Where names of families and of networks may stand; a built-in model's own files have some."""
ENTRIES = ("unet", "vae", "text_encoder_2", "vae_")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_stands_under_its_own_name(name: str) -> None:
    assert FAMILIES[name].name == name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_s_slots_are_filled_by_networks_of_one_kind_that_are_known(name: str) -> None:
    kinds = []
    for slot in FAMILIES[name].slots:
        assert slot.classes, f"{slot.name} names no network"
        (kind,) = {type(NETWORKS[class_name]) for class_name in slot.classes}
        assert (kind is TextEncoder) == (slot.tokenizer is not None), slot.name
        kinds.append(kind)
    assert kinds.count(Denoiser) == 1
    assert kinds.count(Autoencoder) <= 1


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_draws_from_text_where_it_has_a_text_encoder(name: str) -> None:
    family = FAMILIES[name]
    has_text = any(slot.tokenizer is not None for slot in family.slots)
    assert family.facts.takes_text == has_text
    assert has_text == bool(family.text_outputs)
    assert family.facts.takes_negative_prompt <= has_text
    assert family.facts.starts, "say how an image begins"


@pytest.mark.parametrize("name", FAMILIES)
def test_diffusers_has_the_pipelines_of_a_family(name: str) -> None:
    import diffusers

    for class_name in (*FAMILIES[name].pipelines, *FAMILIES[name].reference.classes):
        assert hasattr(diffusers, class_name), class_name


def test_families_of_one_pipeline_are_told_apart_by_entries_or_by_channels() -> None:
    for one, other in itertools.combinations(FAMILIES.values(), 2):
        if set(one.pipelines) & set(other.pipelines):
            assert (one.without, one.channels(4)) != (other.without, other.channels(4))
            if one.without == other.without:
                assert one.slots == other.slots


def modules_outside() -> list[Path]:
    paths = sorted((*HOST.rglob("*.py"), *RUNNER.rglob("*.py")))
    return [path for path in paths if not any(room in path.parents for room in ROOMS)]


def names_in(path: Path, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and node.value in names:
            yield f"{path.relative_to(HOST.parent)}:{node.lineno}: {node.value!r}"


def test_nothing_outside_the_rooms_asks_for_the_name_of_a_family_or_a_network() -> None:
    """Ask one of its facts; where there is none for the question, declare it."""
    names = {*FAMILIES, *NETWORKS, *pipeline_class_names(), *ENTRIES}
    found = [line for path in modules_outside() for line in names_in(path, names)]
    assert not found, "\n".join(found)


def names_taken_apart_in(path: Path) -> Iterator[str]:
    """Yield where a method of a name is called: `spec.family.startswith(…)`."""
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="family" | "class_name"), attr=method):
                yield f"{path.relative_to(HOST.parent)}:{node.lineno}: .{method}"


def test_nothing_outside_the_rooms_takes_a_family_s_name_apart() -> None:
    found = [line for path in modules_outside() for line in names_taken_apart_in(path)]
    assert not found, "\n".join(found)
