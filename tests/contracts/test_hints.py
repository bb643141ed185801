"""Every command that a message or a hint names exists, with the options that it is given.

The texts are read from the source, so that also the hints of errors that no test raises are walked.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from edgegen_runner.runtimes import RUNTIMES

from edgegen.cli.main import edgegen
from tests.contracts.source_tree import HOST, ROOT, RUNNER, tree_of

PLACEHOLDER = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for what an f-string fills in."""

_COMMAND = re.compile(r"(?:^|[\s`'\":(])edgegen (?P<words>[-a-z][^`\n;]*)")
_ENDS = ".,:'\")"
_VERBS = re.compile(
    "again|alone|and|builds|can|cannot|does|feeds|has|have|is|itself|knows|made|makes|may|needs|never|of|on"
    "|only|opens|ran|reads|runs|says|sends|takes|that|to|was|with|writes"
)
"""What follows the name in sentences; every other word is taken for a command."""
_PIP = re.compile(r"pip install (?P<words>[^`\n;]*)")
_OPTION = re.compile(r"--[a-z][a-z-]+")


def texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Return the strings below a node, an f-string as one, docstrings left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child.lineno, child.value
        elif isinstance(child, ast.JoinedStr):
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER
                for part in child.values
            )
            yield child.lineno, "".join(parts)
            for part in child.values:  # a string inside what is filled in
                if isinstance(part, ast.FormattedValue):
                    yield from texts(part)
        elif not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield from texts(child)


@pytest.fixture(scope="module")
def every_text() -> list[tuple[str, str]]:
    """Return each string of the source, with its place."""
    found = []
    for root in (HOST, RUNNER):
        for path in sorted(root.rglob("*.py")):
            place = path.relative_to(ROOT)
            found += [(f"{place}:{line}", text) for line, text in texts(tree_of(path))]
    return found


def named_commands(text: str) -> Iterator[str]:
    """Return the command lines that a text names; "edgegen reads" in a sentence is none."""
    for found in _COMMAND.finditer(text):
        if not _VERBS.fullmatch(found["words"].split()[0].rstrip(_ENDS)):
            yield found["words"]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = edgegen
    context = click.Context(edgegen)
    while isinstance(command, click.Group):
        inner = command.get_command(context, words[0]) if words else None
        if inner is None:
            break
        command, words = inner, words[1:]
    return command, words


def fault_of(words: str) -> str | None:
    """Return what is wrong with a command line that a text names."""
    first = words.split()[0].rstrip(_ENDS)
    if first.startswith("-") or first == PLACEHOLDER:
        return None
    command, _ = command_of([word.rstrip(_ENDS) for word in words.split()])
    if command is edgegen:
        return f"there is no 'edgegen {first}'"
    own = {name for param in (*command.params, *edgegen.params) for name in param.opts}
    own |= {"--help", "--verbose"}
    lacking = [it for it in _OPTION.findall(words.split(" or ")[0]) if it not in own]
    return f"'edgegen {first}' has no {', '.join(lacking)}" if lacking else None


def test_commands_that_are_named_exist(every_text: list[tuple[str, str]]) -> None:
    named = [(place, words) for place, text in every_text for words in named_commands(text)]
    assert len(named) > 50
    faults = [f"{place}: {fault}" for place, words in named if (fault := fault_of(words))]
    assert not faults, "\n".join(faults)


def _requirements() -> set[str]:
    """Return the packages of PyPI that the project itself depends on, and edgegen."""
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    names = {re.split(r"[\[<>=~ ]", line)[0] for line in lines}
    return names | {"edgegen", "coremltools", "tflite-runtime", "onnxruntime-gpu"}


def package_of(words: str) -> str:
    """Return the first package that `pip install` is given."""
    parts = re.split(r"[\s()]", words)
    return next((word for word in parts if word and not word.startswith("-")), "")


def test_pip_is_asked_for_packages_that_are_known_only(every_text: list[tuple[str, str]]) -> None:
    asked = {
        package_of(found["words"]): place
        for place, text in every_text
        for found in _PIP.finditer(text)
    }
    assert asked
    unknown = [
        f"{place}: nobody vouches for the package '{package}'"
        for package, place in asked.items()
        if PLACEHOLDER not in package  # from a table: RUNTIMES, below, or the extras
        and re.split(r"[\[<>=.,]", package.strip("'\""))[0] not in _requirements()
    ]
    assert not unknown, "\n".join(unknown)


def test_every_runtime_says_what_pip_installs() -> None:
    for runtime in RUNTIMES:
        assert runtime.install.split()[0] in _requirements()
