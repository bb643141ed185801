"""The Core ML kit's script, with a stand-in for Apple's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgegen.core.shipped import shipped

SCRIPT = shipped("targets") / "coreml" / "kit" / "assemble.sh"

XCRUN = """#!/bin/sh
# plays `xcrun`: finds the compiler, and "compiles" by making the folder that it would make
if [ "$1" = --find ]; then exit {found}; fi
[ "$1 $2" = "coremlcompiler compile" ] || exit 9
case "$3" in *{broken}*) echo "error: cannot compile"; exit 1;; esac
mkdir "$4/$(basename "$3" .mlpackage).mlmodelc"
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name in ("text_encoder/TextEncoder", "unet/UnetChunk1", "unet/UnetChunk2"):
        (folder / f"{name}.mlpackage").mkdir(parents=True)
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    for name in ("edgegen.json", "LICENSE", "NOTICE.txt", "MODEL_CARD.md", "evidence.json"):
        (folder / name).write_text("{}")
    return folder


def run(
    tmp_path: Path, *arguments: Path, found: int = 0, broken: str = "nothing"
) -> subprocess.CompletedProcess[str]:
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "xcrun").write_text(XCRUN.format(found=found, broken=broken))
    (tools / "xcrun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", str(SCRIPT), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_folder_has_what_apples_package_looks_for(package: Path, tmp_path: Path) -> None:
    done = run(tmp_path, package, tmp_path / "Resources")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "Resources").iterdir()) == [
        "TextEncoder.mlmodelc",
        "UnetChunk1.mlmodelc",
        "UnetChunk2.mlmodelc",
        "edgegen.json",
        "licences",
        "merges.txt",
        "scheduler_config.json",
        "vocab.json",
    ]
    assert sorted(path.name for path in (tmp_path / "Resources" / "licences").iterdir()) == [
        "LICENSE",
        "MODEL_CARD.md",
        "NOTICE.txt",
    ]


def test_a_package_without_its_scheduler_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "scheduler" / "scheduler_config.json").unlink()
    done = run(tmp_path, package, tmp_path / "Resources")
    assert done.returncode == 2
    assert "scheduler_config.json" in done.stderr
    assert not list(tmp_path.glob("Resources*"))


def test_a_model_that_does_not_compile_leaves_nothing(package: Path, tmp_path: Path) -> None:
    done = run(tmp_path, package, tmp_path / "Resources", broken="UnetChunk2")
    assert done.returncode == 4
    assert "cannot compile" in done.stderr
    assert not list(tmp_path.glob("Resources*"))


def test_without_xcode_it_says_what_to_install(package: Path, tmp_path: Path) -> None:
    done = run(tmp_path, package, tmp_path / "Resources", found=1)
    assert done.returncode == 3
    assert "install Xcode" in done.stderr


def test_nothing_is_replaced(package: Path, tmp_path: Path) -> None:
    (tmp_path / "Resources").mkdir()
    done = run(tmp_path, package, tmp_path / "Resources")
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert not list((tmp_path / "Resources").iterdir())


def test_another_folder_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path, tmp_path / "Resources")
    assert done.returncode == 2
    assert "edgegen.json" in done.stderr


def test_the_script_has_no_fault_of_syntax() -> None:
    shell = shutil.which("sh") or "sh"
    assert subprocess.run([shell, "-n", str(SCRIPT)], check=False).returncode == 0
