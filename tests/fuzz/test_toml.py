"""Profiles, recipes and targets in TOML that say anything at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.core.codec import load_toml
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Recipe
from edgegen.core.shipped import shipped
from edgegen.core.target import TargetSpec
from tests.fuzz.harness import case, fuzzing, kept

KINDS: tuple[tuple[type, str, str], ...] = (
    (DeviceProfile, "profiles", "*.toml"),
    (Recipe, "targets", "*/recipes/*.toml"),
    (TargetSpec, "targets", "*/target.toml"),
)

VALUES = st.sampled_from(
    [
        "9" * 1000,
        "-" + "9" * 900,
        "0x" + "f" * 900,
        "1e999",
        "nan",
        "-inf",
        "2026-01-01T00:00:00Z",
        "true",
        '"' + "x" * 900 + '"',
        r'"\u0000\u001b[2J"',
        "[" * 300,
        "[" * 40 + "]" * 40,
        "{a = {a = {a = 1}}}",
        "[0, [1, [2, {}]]]",
        "''",
        "[[]]",
    ]
)
WORDS = st.text(min_size=1, max_size=20)


@st.composite
def spoiled(draw: st.DrawFn, source: str) -> str:
    """Return a file's text with some of its values, keys, lines or letters replaced."""
    lines = source.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                lines[at] = re.sub(r"=.*", lambda _: "= " + draw(VALUES), lines[at])
            case 1:
                lines[at] = re.sub(r"^\w+", lambda _: draw(WORDS), lines[at])
            case 2:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 3:
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case 4:
                lines[at] += draw(st.text(max_size=5))
            case _:
                lines[at : at + 1] = [".".join("a" * draw(st.integers(1, 511))) + " = 1"]
    return "\n".join(lines)


def read(cls: type, data: bytes, folder: Path) -> None:
    path = folder / "fuzzed.toml"
    path.write_bytes(data)
    with case("toml"):
        load_toml(cls, path)


@pytest.mark.parametrize(("cls", "root", "pattern"), KINDS, ids=[it[1] for it in KINDS])
def test_a_toml_file_of_any_content_ends_orderly(
    cls: type, root: str, pattern: str, tmp_path: Path
) -> None:
    texts = [path.read_text() for path in sorted(shipped(root).glob(pattern))]
    assert texts

    @fuzzing()
    @given(data=st.sampled_from(texts).flatmap(spoiled).map(str.encode) | st.binary(max_size=100))
    @example(data=b"a = " + b"9" * 5000)
    @example(data=b"a = [\n" + b"[],\n" * 30_000 + b"]")
    @example(data=(b"a" + b".a" * 500 + b" = 1\n") * 127)
    def ends_orderly(data: bytes) -> None:
        read(cls, data, tmp_path)

    ends_orderly()


@pytest.mark.parametrize("path", kept("toml"), ids=lambda path: path.name)
def test_a_toml_file_that_once_failed_ends_orderly(path: Path, tmp_path: Path) -> None:
    for cls, _, _ in KINDS:
        read(cls, path.read_bytes(), tmp_path)
