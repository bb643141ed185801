"""In a room of one file a thing, each file has its line in the room's table."""

from __future__ import annotations

import ast

import pytest

from tests.contracts.source_tree import HOST, tree_of

SHARED = {
    "families": {"__init__", "base", "latents"},
    "networks": {
        *("__init__", "base", "options", "probes"),
        *("autoencoder", "feature_cache", "image_prompt", "ldm_names", "pruned", "residuals"),
        "unet",
    },
}
"""Room -> its modules that declare none of its things."""


def modules_in_the_table(room: str) -> set[str]:
    """Return the modules that the table names: FAMILIES of `families`, NETWORKS of `networks`."""
    for node in tree_of(HOST / room / "__init__.py").body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(values=values)):
                if name == room.upper():
                    return {
                        value.value.id
                        for value in values
                        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name)
                    }
    raise AssertionError(f"{room} has no table {room.upper()}")


@pytest.mark.parametrize("room", SHARED)
def test_every_file_of_a_room_has_its_line_in_the_table(room: str) -> None:
    files = {path.stem for path in HOST.glob(f"{room}/*.py")}
    assert SHARED[room] <= files
    assert modules_in_the_table(room) == files - SHARED[room]
