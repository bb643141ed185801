"""Packages that are not as they were built: for verify, run and bench."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.command import contents
from tests.faults.conftest import Edgegen
from tests.tiny_packages import change_manifest, onnx_package

Spoil = Callable[[Path], None]


def change_component_path(package: Path, path: str) -> None:
    components = json.loads((package / "edgegen.json").read_text())["components"]
    components[0]["path"] = path
    change_manifest(package, components=components)


def unknown_key(package: Path) -> None:
    change_manifest(package, recepi="fp16")


def other_version(package: Path) -> None:
    change_manifest(package, schema_version=99)


def cut_manifest(package: Path) -> None:
    path = package / "edgegen.json"
    path.write_bytes(path.read_bytes()[:200])


def no_manifest(package: Path) -> None:
    (package / "edgegen.json").unlink()


def wrong_hash(package: Path) -> None:
    path = package / "unet/model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_file(package: Path) -> None:
    path = package / "unet/model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def missing_file(package: Path) -> None:
    (package / "unet/model.onnx").unlink()


def file_too_many(package: Path) -> None:
    (package / "unet/model.onnx_data2").touch()


def component_outside(package: Path) -> None:
    shutil.copy(package / "unet/model.onnx", package.parent / "model.onnx")
    change_component_path(package, "../model.onnx")


def component_absolute(package: Path) -> None:
    change_component_path(package, str(package / "unet/model.onnx"))


def component_behind_a_link(package: Path) -> None:
    outside = package.parent / "model.onnx"
    (package / "unet/model.onnx").rename(outside)
    (package / "unet/model.onnx").symlink_to(os.path.relpath(outside, package / "unet"))


def file_outside(package: Path) -> None:
    files = json.loads((package / "edgegen.json").read_text())["files"]
    change_manifest(package, files=[*files, files[0] | {"path": "../../etc/passwd"}])


def missing_companion(package: Path) -> None:
    """As in a copy that was cut short: not the file that is opened, but one beside it."""
    (package / "scheduler/scheduler_config.json").unlink()


def pipe_for_a_file(package: Path) -> None:
    (package / "unet/model.onnx").unlink()
    os.mkfifo(package / "unet/model.onnx")


def device_for_a_file(package: Path) -> None:
    (package / "unet/model.onnx").unlink()
    (package / "unet/model.onnx").symlink_to("/dev/zero")


def pipe_for_the_manifest(package: Path) -> None:
    (package / "edgegen.json").unlink()
    os.mkfifo(package / "edgegen.json")


def manifest_behind_a_link(package: Path) -> None:
    (package / "edgegen.json").rename(package.parent / "edgegen.json")
    (package / "edgegen.json").symlink_to("../edgegen.json")


def pipe_for_the_evidence(package: Path) -> None:
    os.mkfifo(package / "evidence.json")


def folder_for_the_evidence(package: Path) -> None:
    (package / "evidence.json").mkdir()


REFUSED_BY_ALL = [
    (unknown_key, 2, "unknown key 'recepi'. Did you mean 'recipe'?"),
    (cut_manifest, 2, "is not JSON"),
    (no_manifest, 2, "edgegen.json"),
    (other_version, None, "schema version 99"),
    (missing_file, 8, "is missing"),
    (missing_companion, 8, "scheduler/scheduler_config.json is missing"),
    (component_outside, 8, "leaves"),
    (component_absolute, 8, "leaves"),
    (component_behind_a_link, 8, "unet/model.onnx"),
    (wrong_hash, 8, "unet/model.onnx has another sha256"),
    (cut_file, 8, "bytes, not"),
    (file_too_many, 8, "is not in the manifest"),
    (file_outside, 8, "leaves"),
    (pipe_for_a_file, 8, "unet/model.onnx is "),
    (device_for_a_file, 8, "leaves"),
    (pipe_for_the_manifest, 2, "it is a pipe, not a file"),
    (manifest_behind_a_link, 8, "leaves"),
    (pipe_for_the_evidence, 8, "evidence.json is no file"),
    (folder_for_the_evidence, 8, "evidence.json is no file"),
]


@pytest.mark.parametrize(("spoil", "code", "says"), REFUSED_BY_ALL)
def test_verify_refuses_what_is_not_as_it_was_built(
    spoil: Spoil, code: int | None, says: str, place: Path, edgegen: Edgegen
) -> None:
    package = onnx_package(place / "package")
    spoil(package)
    before = contents(place)
    edgegen("verify", package).assert_failed(code or 2, *says.split(". "))
    assert contents(place) == before


@pytest.mark.parametrize(("spoil", "code", "says"), REFUSED_BY_ALL)
@pytest.mark.parametrize("command", ["run", "bench"])
def test_run_and_bench_refuse_a_manifest_that_is_not_sound(
    command: str, spoil: Spoil, code: int | None, says: str, place: Path, edgegen: Edgegen
) -> None:
    package = onnx_package(place / "package")
    spoil(package)
    before = contents(place)
    output = {"run": "-o", "bench": "--html"}[command]
    outcome = edgegen(command, package, "--prompt", "x", output, place / "written.png")
    assert outcome.code == code or code is None
    outcome.assert_failed(outcome.code, *says.split(". "))
    assert contents(place) == before
