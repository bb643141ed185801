"""What a package's manifest promises is what its bytes have to be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import write_atomic
from edgegen.core.manifest import load_manifest
from edgegen.core.package import Artifact, Evidence, PackageManifest
from edgegen.packaging.external_data import external_locations
from edgegen.packaging.integrity import (
    manifest_sha256,
    verify_files,
)
from tests.parity.faithful_side import MANIFEST


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with(*locations: str) -> onnx.ModelProto:
    graph = helper.make_graph(
        [], "g", [], [], [external(f"w{i}", it) for i, it in enumerate(locations)]
    )
    return helper.make_model(graph)


def seal(package: Path, **changes: Any) -> PackageManifest:
    """Write a manifest that lists the files as they are."""
    files = tuple(
        Artifact(
            path=path.relative_to(package).as_posix(),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=path.stat().st_size,
        )
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.name not in ("edgegen.json", "evidence.json")
    )
    manifest = dataclasses.replace(MANIFEST, **{"files": files, **changes})
    (package / "edgegen.json").write_text(dump_json(manifest))
    return manifest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name in ("unet", "text_encoder"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.onnx").write_bytes(
            model_with("model.onnx_data").SerializeToString()
        )
        (folder / name / "model.onnx_data").write_bytes(os.urandom(16))
    (folder / "golden").mkdir()
    (folder / "golden" / "image.npy").write_bytes(b"x" * 100)
    seal(folder)
    return folder


def verify(package: Path) -> None:
    verify_files(package, load_manifest(package))


def edit_manifest(package: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = package / "edgegen.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_package_as_it_was_built_is_accepted(package: Path) -> None:
    verify(package)
    (package / "evidence.json").write_text("{}")  # written later, and never listed
    verify(package)


def test_a_manifest_comes_back_as_it_was_written(package: Path) -> None:
    assert load_manifest(package) == seal(package)


def test_every_single_changed_byte_is_found(package: Path) -> None:
    for artifact in load_manifest(package).files:
        path = package / artifact.path
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            changed = bytearray(whole)
            changed[position] ^= 1
            path.write_bytes(changed)
            with pytest.raises(IntegrityError, match=artifact.path) as caught:
                verify(package)
            assert caught.value.exit_code == 8
        path.write_bytes(whole)
    verify(package)


def cut(package: Path) -> None:
    path = package / "unet" / "model.onnx_data"
    path.write_bytes(path.read_bytes()[:-1])


def remove(package: Path) -> None:
    (package / "unet" / "model.onnx").unlink()


def add(package: Path) -> None:
    (package / "unet" / "evil.so").write_bytes(b"")


def link_inside(package: Path) -> None:
    (package / "text_encoder" / "model.onnx_data").rename(package.parent / "data")
    (package / "text_encoder" / "model.onnx_data").symlink_to(package / "unet" / "model.onnx_data")


def link_outside(package: Path) -> None:
    (package / "unet" / "model.onnx_data").rename(package.parent / "data")
    (package / "unet" / "model.onnx_data").symlink_to(package.parent / "data")


def link_folder(package: Path) -> None:
    (package / "unet").rename(package.parent / "unet")
    (package / "unet").symlink_to(package.parent / "unet")


def link_unlisted(package: Path) -> None:
    (package / "more").symlink_to(package.parent)


def make_folder(package: Path) -> None:
    (package / "golden" / "image.npy").unlink()
    (package / "golden" / "image.npy").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "unet/model.onnx_data has 15 bytes, not 16"),
        (remove, "unet/model.onnx is missing"),
        (add, "unet/evil.so is not in the manifest"),
        (link_inside, "text_encoder/model.onnx_data is a symbolic link"),
        (link_outside, "leaves the folder"),
        (link_folder, "leaves the folder"),
        (link_unlisted, "more is a symbolic link"),
        (make_folder, "golden/image.npy is missing"),
    ],
)
def test_a_package_that_was_changed_is_refused(
    change: Callable[[Path], None], message: str, package: Path
) -> None:
    change(package)
    with pytest.raises(IntegrityError, match=message):
        verify(package)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "unet/../../secret", "C:/x", "a\\b", ""]
)
def test_a_path_that_leaves_the_package_is_refused(path: str, package: Path) -> None:
    (package.parent / "secret").write_bytes(b"x")

    def in_files(data: dict[str, Any]) -> None:
        data["files"].append({"path": path, "sha256": "0", "size_bytes": 1})

    def in_component(data: dict[str, Any]) -> None:
        data["components"][0]["path"] = path

    def in_golden(data: dict[str, Any]) -> None:
        data["golden"]["folder"] = path

    for change in (in_files, in_component, in_golden):
        seal(package)
        edit_manifest(package, change)
        with pytest.raises(IntegrityError, match="leaves the folder"):
            verify(package)


def test_a_file_that_is_listed_twice_or_under_another_spelling_is_refused(package: Path) -> None:
    edit_manifest(package, lambda data: data["files"].append(data["files"][0]))
    with pytest.raises(IntegrityError, match="is listed 2 times"):
        verify(package)
    seal(package)
    edit_manifest(package, lambda data: data["files"][0].update(path="golden//image.npy"))
    with pytest.raises(IntegrityError, match="no name for a listed file"):
        verify(package)


def test_a_component_whose_file_is_not_listed_is_refused(package: Path) -> None:
    edit_manifest(package, lambda data: data["components"][0].update(path="unet/other.onnx"))
    with pytest.raises(IntegrityError, match=r"unet/other\.onnx, of unet, is not listed"):
        verify(package)


@pytest.mark.parametrize("location", ["../model.onnx_data", "/dev/zero", "..\\x"])
def test_weights_outside_of_the_package_are_refused(location: str, package: Path) -> None:
    path = package / "unet" / "model.onnx"
    path.write_bytes(model_with("model.onnx_data", location).SerializeToString())
    seal(package)
    with pytest.raises(IntegrityError, match="leaves the folder"):
        verify(package)


def test_weights_in_a_file_that_is_not_listed_are_refused(package: Path) -> None:
    path = package / "unet" / "model.onnx"
    path.write_bytes(model_with("more_data").SerializeToString())
    seal(package)
    with pytest.raises(IntegrityError, match="keeps weights in more_data, which is not listed"):
        verify(package)


def test_external_data_is_found_wherever_a_model_can_have_it(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [], [external("w", "subgraph")])
    sparse = onnx.SparseTensorProto(values=external("v", "sparse"), dims=[4])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["z"], value=external("k", "attribute")),
    ]
    function = helper.make_function(
        "local",
        "F",
        [],
        ["o"],
        [helper.make_node("Constant", [], ["o"], value=external("f", "function"))],
        [helper.make_opsetid("", 18)],
    )
    plain = onnx.numpy_helper.from_array(np.ones(1000, np.float32), "plain")
    graph = helper.make_graph(nodes, "g", [], [], [plain, external("i", "initializer")])
    graph.sparse_initializer.append(sparse)
    model = helper.make_model(graph, functions=[function])
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert external_locations(path) == tuple(
        sorted(["subgraph", "sparse", "attribute", "function", "initializer"])
    )


def test_what_is_no_model_is_an_error_and_never_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    whole = model_with("data").SerializeToString()
    random = np.random.default_rng(3)
    contents = [b"", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f", *(whole[:n] for n in range(1, 20))]
    contents += [bytes(random.integers(0, 256, 60, dtype=np.uint8)) for _ in range(200)]
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            external_locations(path)
        except IntegrityError:
            refused += 1
    assert refused > 150


def test_nested_graphs_without_end_are_refused(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        size, remaining = b"", len(content)
        while remaining > 0x7F:
            size, remaining = size + bytes([remaining & 0x7F | 0x80]), remaining >> 7
        return bytes([number << 3 | 2]) + size + bytes([remaining]) + content

    graph = b""
    for _ in range(1000):  # a node with an attribute that holds a graph; protobuf refuses 100
        graph = field(1, field(5, field(6, graph)))
    path = tmp_path / "model.onnx"
    path.write_bytes(field(7, graph))
    with pytest.raises(IntegrityError, match="nested too deeply"):
        external_locations(path)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda data: data.update(recipie={}), "unknown key 'recipie'", "'recipe'"),
        (lambda data: data["recipe"].update(storag="x"), "'recipe.storag'", "'storage'"),
        (lambda data: data.update(schema_version=3), "schema version 3", "--upgrade edgegen"),
        (lambda data: data.update(schema_version=1), "schema version 1", "Build the package again"),
        (lambda data: data.update(schema_version="1"), "no schema_version", "Build"),
        (lambda data: data.pop("files"), "'files' is missing", "files"),
        (lambda data: data["facts"].update(guidance="classifier"), "guidance", "classifier-free"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_what_to_do(
    change: Callable[[dict[str, Any]], None], message: str, hint: str, package: Path
) -> None:
    edit_manifest(package, change)
    with pytest.raises(ConfigError, match=message) as caught:
        load_manifest(package)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_what_is_no_package_says_what_to_give_instead(package: Path) -> None:
    def hint(path: Path, message: str) -> str:
        with pytest.raises(ConfigError, match=message) as caught:
            load_manifest(path)
        return caught.value.hint

    assert "edgegen package MODEL" in hint(package / "nothing", "There is no package")
    assert f"Did you mean {package}?" in hint(package.parent, "is no package")
    (package / "unet" / "model_index.json").write_text("{}")
    assert "edgegen package" in hint(package / "unet", "is a model, not a package")
    (package / "edgegen.json").write_text("{")
    assert hint(package, "not JSON")


def test_evidence_is_written_whole_and_names_its_manifest(package: Path) -> None:
    evidence = Evidence(manifest_sha256=manifest_sha256(package))
    path = package / "evidence.json"
    write_atomic(path, dump_json(evidence))
    assert load_json(Evidence, path) == evidence
    assert sorted(it.name for it in package.iterdir() if it.is_file()) == [
        "edgegen.json",
        "evidence.json",
    ]
    verify(package)
