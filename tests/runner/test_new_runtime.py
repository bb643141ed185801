"""A runtime that is added: one row of the table and one backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import edgegen_runner
import pytest

ROWS = """
    Runtime(
        name="abacus",
        target="beads",
        backend="edgegen_runner.backends.abacus:AbacusBackend",
        module="abacus",
        packages=("abacus-runtime",),
        install="abacus-runtime",
        providers=("beads",),
        pinned=True,
    ),
    Runtime(
        name="slide_rule",
        target="beads",
        backend="edgegen_runner.backends.abacus:AbacusBackend",
        module="json",
        packages=("slide-rule",),
        install="slide-rule",
        providers=(),
    ),"""
BACKEND = """
class AbacusBackend:
    name, version, available_providers = "abacus", "1.0", ("beads",)
    arithmetic_gaps = {}

    def __init__(self, options):
        pass
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the runner with two more rows and one more backend, to import it from."""
    root = tmp_path_factory.mktemp("extended")
    package = root / "edgegen_runner"
    shutil.copytree(Path(str(edgegen_runner.__file__)).parent, package)
    (package / "backends" / "abacus.py").write_text(BACKEND, encoding="utf-8")
    table = package / "runtimes.py"
    text = table.read_text(encoding="utf-8")
    end = text.index("\n)\n", text.index("RUNTIMES: "))
    table.write_text(text[:end] + ROWS + text[end:], encoding="utf-8")
    return root


def python(extended: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(extended), "COLUMNS": "200"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_new_runtime_is_chosen_for_its_target(extended: Path) -> None:
    code = (
        "from edgegen.runner.backend_choice import Wishes, backend_here, backend_of\n"
        "print(backend_of(None, 'beads', Wishes(runtime='slide-rule')).name)\n"
        "print(backend_of(None, 'beads', Wishes()).name, backend_here('beads', Wishes()).name)\n"
    )
    assert python(extended, "-c", code).split() == ["slide_rule", "abacus", "slide_rule"]


def test_a_new_runtime_is_set_up_and_looked_for_on_devices(extended: Path) -> None:
    code = (
        "from edgegen.core.errors import DeviceError\n"
        "from edgegen.runner.provision import _package_of\n"
        "from edgegen.runner.wheels import wheels_for\n"
        "from edgegen_runner.agent.runtimes import PACKAGES\n"
        "print(_package_of('abacus'), PACKAGES['slide-rule'].name)\n"
        "try:\n"
        "    wheels_for((3, 12), 'Linux', 'aarch64', (2, 39), runtime='abacus-runtime')\n"
        "except DeviceError as error:\n"
        "    print(error.message)\n"
    )
    said = python(extended, "-c", code)
    assert said.startswith("abacus-runtime slide_rule\n")
    assert "No wheels of numpy and abacus-runtime are known" in said


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("run", "ai_edge_litert, tflite_runtime, abacus or slide_rule"),
        ("bench", "ai_edge_litert, tflite_runtime, abacus or slide_rule"),
        ("devices setup", "ai-edge-litert, abacus-runtime"),
    ],
)
def test_a_new_runtime_is_in_the_help(command: str, says: str, extended: Path) -> None:
    assert says in " ".join(python(extended, "-m", "edgegen", *command.split(), "--help").split())


def test_the_runner_opens_a_new_runtime(extended: Path) -> None:
    code = (
        "from edgegen_runner.backends import BackendOptions, backend_for, open_backend\n"
        "print(backend_for('beads'), open_backend(BackendOptions(name='abacus')).version)\n"
    )
    assert python(extended, "-c", code).split() == ["slide_rule", "1.0"]
