"""The kits' sources: every file can be read by a grammar, and every kit says what was never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.shipped import shipped
from tests.kits.syntax import SUFFIXES, faults

KITS = sorted(shipped("targets").glob("*/kit*"))
SOURCES = sorted(path for kit in KITS for path in kit.rglob("*") if path.suffix in SUFFIXES)
HARNESS = Path(__file__).with_name("Harness.kt")

BROKEN = {
    ".kt": b"fun draw(: Int) { return }",
    ".kts": b"dependencies { implementation(",
    ".cpp": b"int main() { return 0; ",
    ".hpp": b"void write(;",
    ".swift": b"struct Painter { func draw( -> Int { }",
    ".py": b"def draw(:\n    pass\n",
}


def _name(path: Path) -> str:
    return path.name


def test_each_target_with_a_kit_is_found() -> None:
    assert [kit.parent.name for kit in KITS] == ["coreml", "onnx", "openvino", "tflite"]
    assert {path.suffix for path in SOURCES} == SUFFIXES


@pytest.mark.parametrize("path", [*SOURCES, HARNESS], ids=_name)
def test_a_source_has_no_fault_of_syntax(path: Path) -> None:
    assert faults(path.read_bytes(), path.suffix) == []


@pytest.mark.parametrize("suffix", BROKEN)
def test_a_fault_of_syntax_is_found(suffix: str) -> None:
    assert faults(BROKEN[suffix], suffix)


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.parent.name)
def test_a_kit_says_what_was_checked(kit: Path) -> None:
    text = (kit / "README.md").read_text(encoding="utf-8")
    assert "## What was checked, and what was not" in text


def test_the_page_of_the_kits_links_each(request: pytest.FixtureRequest) -> None:
    page = (request.config.rootpath / "docs" / "guides" / "kits.md").read_text(encoding="utf-8")
    for kit in KITS:
        assert f"(../../targets/{kit.parent.name}/{kit.name}/README.md)" in page
