"""Manifests and evidence that say anything at all, in packages that are checked and verified."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.core.codec import MAXIMUM_ITEMS, load_json
from edgegen.core.errors import ConfigError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import Evidence
from edgegen.core.progress import SilentProgress
from edgegen.packaging.integrity import verify_files
from edgegen.packaging.remembered import require_unchanged
from edgegen.packaging.replace import require_replaceable
from tests.fuzz.harness import case, fuzzing
from tests.tiny_packages import onnx_package

EVIDENCE: dict[str, Any] = {
    "manifest_sha256": "0" * 64,
    "parity": [{"layer": "image", "name": "image", "threshold_db": 30.0, "passed": True}],
    "costs": [{"stage": "parity", "wall_s": 1.0, "cpu_s": 1.0}],
    "emulated": False,
}
HOSTILE = st.sampled_from(
    [
        "../../etc/passwd",
        "/dev/zero",
        "unet",
        ".",
        "",
        "a" * 5000,
        "a/" * 3000 + "b",
        "\0",
        "\x1b[2J",
        "C:\\x",
        "edgegen.json",
        10**30,
        2**63,
        -1,
        1e308,
        True,
        None,
        [],
        {},
        [[[]]],
        {"": {}},
    ]
) | st.text(max_size=20)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value within a JSON value."""
    found = [at] if at else []
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(item, (*at, key))
    return found


@st.composite
def changed(draw: st.DrawFn, value: dict[str, Any]) -> str:
    """Return a JSON value as a text, with some of its values, keys or letters changed."""
    spoiled = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 4))):
        *outer, last = draw(st.sampled_from(places(spoiled)))
        parent = spoiled
        for key in outer:
            parent = parent[key]
        match draw(st.integers(0, 3)):
            case 0:
                del parent[last]
            case 1 if isinstance(parent, dict):
                parent[draw(st.text(max_size=9))] = parent.pop(last)
            case 2 if isinstance(parent, list):
                parent += [parent[last]] * draw(st.sampled_from([1, 2, 300]))
            case _:
                parent[last] = copy.deepcopy(draw(HOSTILE))
        if not places(spoiled):
            break
    text = json.dumps(spoiled)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["NaN", "[" * 5000, "1" * 5000, "\\ud800", ","]))
    return text


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("fuzzed") / "package")


def test_a_manifest_of_any_content_ends_orderly(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path))
    path = package / "edgegen.json"
    whole = json.loads(path.read_text())

    @fuzzing()
    @given(text=changed(whole))
    @example(text=json.dumps(whole))
    def ends_orderly(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with case("manifest"):
            require_replaceable(package, force=True)
        with case("manifest"):
            manifest = load_manifest(package)
            require_unchanged(package, manifest, SilentProgress())
            verify_files(package, manifest)

    ends_orderly()
    path.write_text(json.dumps(whole))
    verify_files(package, load_manifest(package))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "says"),
    [
        (lambda file: [file] * (MAXIMUM_ITEMS + 1), "entries"),
        (lambda file: [file] * 900_000, "larger than 16,384 KiB"),
        (lambda file: [[]] * 3_900_000, "entries"),
    ],
    ids=["too-many", "nine-hundred-thousand", "lists"],
)
def test_a_manifest_of_many_files_is_refused_before_they_are_read(
    files: Callable[[Any], list[Any]], says: str, tmp_path: Path
) -> None:
    package = onnx_package(tmp_path / "package")
    path = package / "edgegen.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "files": files(whole["files"][0])}))
    with case("manifest"):
        require_replaceable(package, force=True)
    with case("manifest"), pytest.raises(ConfigError, match=says):
        load_manifest(package)


@fuzzing()
@given(text=changed(EVIDENCE))
def test_evidence_of_any_content_ends_orderly(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "evidence.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with case("evidence"):
        load_json(Evidence, path)
