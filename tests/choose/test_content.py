"""Keys change with all that results depend on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

import edgegen
from edgegen.choose import content
from tests.contracts.source_tree import ROOT
from tests.contracts.test_layers import LAYERS

ROOMS: Mapping[str, tuple[str, ...]] = {
    "build": content.BUILDS,
    "evaluate": content.EVALUATES,
    "measure": content.MEASURES,
}
ALL, JUDGED = {"build", "evaluate", "measure"}, {"evaluate"}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small edgegen, with a file in each room."""
    root = tmp_path / "edgegen"
    files = {
        **{f"{room}/work.py": "" for rooms in ROOMS.values() for room in rooms},
        "drawer.py": "",
        "evaluate/suites/known.toml": "pictures = 2",
        "scenes/objects.csv": "ball,red",
        "builtin/data/tiny/unet/model.safetensors": "weights",
        "report/page.css": "",
    }
    (root / "core").mkdir(parents=True)
    files.pop("drawer/work.py")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(edgegen, "__file__", str(root / "__init__.py"))
    return root


def keys() -> dict[str, str]:
    content.code_of.cache_clear()
    found = {kind: content.code_of(rooms) for kind, rooms in ROOMS.items()}
    content.code_of.cache_clear()
    return found


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("core/work.py", ALL),
        ("drawer.py", ALL),
        ("runner/work.py", ALL),
        ("exporters/work.py", {"build", "evaluate"}),
        ("statistics/work.py", JUDGED),
        ("evaluate/suites/known.toml", JUDGED),
        ("scenes/objects.csv", JUDGED),
        ("builtin/data/tiny/unet/model.safetensors", set()),
        ("report/page.css", set()),
    ],
)
def test_a_file_that_work_depends_on_changes_its_keys(
    name: str, changes: set[str], source: Path
) -> None:
    before = keys()
    (source / name).write_text("changed")
    after = keys()
    assert {kind for kind in ROOMS if before[kind] != after[kind]} == changes


def test_a_file_that_moves_changes_the_key(source: Path) -> None:
    before = keys()
    (source / "core" / "work.py").rename(source / "devices" / "other.py")
    assert keys() != before


@pytest.mark.parametrize("kind", ROOMS)
def test_rooms_are_those_that_do_the_work_and_all_that_they_import(kind: str) -> None:
    first = {"build": "packaging", "evaluate": "evaluate", "measure": "measure"}[kind]
    found, left = set(), [first]
    while left:
        room = left.pop()
        found.add(room)
        left += LAYERS[room] - found
    assert set(ROOMS[kind]) >= found
    root = Path(edgegen.__file__).parent
    assert all((root / room).is_dir() or (root / f"{room}.py").is_file() for room in ROOMS[kind])


@pytest.mark.parametrize("name", ["tokenizer/spiece.model", "model_index.json", "LICENSE"])
def test_a_small_file_of_a_model_changes_its_hash(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"a")
    before = content.small_files_sha256(tmp_path)
    file.write_bytes(b"b")
    assert content.small_files_sha256(tmp_path) != before


def test_the_toolkits_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = {
        re.split(r"[^A-Za-z0-9-]", line, maxsplit=1)[0]
        for extra in ("reference", "onnx", "openvino", "coreml", "tflite", "evaluate")
        for line in extras[extra]
    }
    assert wanted - {"edgegen"} <= set(content.TOOLKITS)
