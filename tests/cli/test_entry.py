"""The entry guesses which runner a command line needs; what it guesses wrong harms nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.cli.entry import drawn_package
from tests.tiny_packages import onnx_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("entry") / "package")


def test_it_is_the_folder_that_holds_a_manifest(package: Path) -> None:
    line = ["--quiet", "run", "--prompt", "a fox", str(package), "-o", "x.png"]
    assert drawn_package(line) == str(package)


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["run"],
        ["run", "--prompt", "x" * 5000],
        ["run", "nothing-here", "--prompt", "a\0b"],
        ["inspect", "PACKAGE"],
        ["run", "PACKAGE", "--help"],
        ["run", "PACKAGE", "--device", "ssh://pi@board"],
        ["run", "PACKAGE", "--device=ssh://pi@board"],
        ["run", "PACKAGE", "-d", "ssh://pi@board"],
    ],
    ids=lambda line: " ".join(line)[:40].replace("\0", "?"),
)
def test_other_command_lines_draw_nothing_here(line: list[str], package: Path) -> None:
    assert drawn_package([str(package) if word == "PACKAGE" else word for word in line]) is None


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--prompt", "x", "-o", "x.png"], 0),
        (["--prompt", "x", "-o", "x.png", "--runtime", "openvino"], 2),
        (["--no-such-option"], 2),
        (["--prompt", "x", "-o", "x.png", "--runtime"], 2),
    ],
    ids=lambda value: " ".join(value)[-20:] if isinstance(value, list) else str(value),
)
def test_the_command_ends_as_ever_and_leaves_no_process(
    options: list[str], code: int, package: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgegen", "run", str(package), *options],
        cwd=tmp_path,
        env={**os.environ, "EDGEGEN_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        timeout=120,  # standard error is a pipe: it closes when the last process has ended
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    assert (tmp_path / "x.png").is_file() == (code == 0)


def test_drawing_here_imports_nothing_of_devices_and_no_toolkit(
    package: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from edgegen.cli.main import run\n"
        f"code = run(['run', {str(package)!r}, '--prompt', 'x', '-o', 'x.png'])\n"
        "print(code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "EDGEGEN_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    heavy = ("edgegen.devices", "edgegen.exporters", "numpy", "torch", "onnxruntime")
    assert [name for name in modules if name.startswith(heavy)] == []


def test_nothing_is_imported_before_the_runner_starts(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import edgegen.cli.entry, edgegen.core.head_start, edgegen.runner.program\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    imported = done.stdout.split()
    assert "subprocess" in imported
    slow = ("pathlib", "typing", "json", "dataclasses", "tempfile", "hashlib", "click", "numpy")
    assert [name for name in imported if name.partition(".")[0] in slow] == []
