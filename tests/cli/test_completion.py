"""Completion, asked as bash asks: the whole way through the script that is printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.devices.known import remember

ASK = r"""
compopt() { :; }
eval "$(edgegen completion bash)"
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}
_edgegen_completion edgegen
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def bash(tmp_path: Path) -> Path:
    """Return a folder with `edgegen` in it, for the PATH of a bash."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    program = tmp_path / "bin" / "edgegen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgegen "$@"\n')
    program.chmod(0o755)
    return program.parent


def completed(line: str, programs: Path) -> list[str]:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", line],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("edgegen pa", ["package"]),
        ("edgegen package builtin:scenes-4", ["scenes-4step", "scenes-4step-tiny"]),
        ("edgegen package x -t on", ["onnx"]),
        ("edgegen package x -t tflite:int8-w", ["int8-weights"]),
        ("edgegen package x -t onnx -r fp16-", ["fp16-storage"]),
        ("edgegen inspect x -t onnx -r mixed-4", ["mixed-4.5"]),
        ("edgegen package x -t tflite:mixed-3", ["mixed-300MB"]),
        ("edgegen package x --profile pixel", ["pixel-8"]),
        ("edgegen status -d ssh://pi@", ["//pi@board.local", "//pi@board.local:2222"]),
        ("edgegen run x --residency s", ["sequential"]),
        ("edgegen devices se", ["setup"]),
        ("edgegen nothing ", []),
    ],
    ids=str,
)
def test_bash_completes(line: str, words: list[str], bash: Path) -> None:
    remember("ssh://pi@board.local:2222")
    remember("ssh://pi@board.local")
    assert completed(line, bash) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_EDGEGEN_COMPLETE" in capsys.readouterr().out
