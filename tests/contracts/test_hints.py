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


def every_text() -> list[tuple[str, str]]:
    found = []
    for root in (HOST, RUNNER):
        for path in sorted(root.rglob("*.py")):
            place = path.relative_to(ROOT)
            found += [(f"{place}:{line}", text) for line, text in texts(tree_of(path))]
    return found


TEXTS = every_text()


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


COMMAND_LINES = [
    pytest.param(words, id=f"{place} {words[:40]}".replace(PLACEHOLDER, "X"))
    for place, text in TEXTS
    for words in named_commands(text)
]


def test_the_source_names_commands() -> None:
    assert len(COMMAND_LINES) > 50


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_a_command_that_is_named_exists(words: str) -> None:
    first = words.split()[0].rstrip(_ENDS)
    if first.startswith("-") or first == PLACEHOLDER:
        return
    command, _ = command_of([word.rstrip(_ENDS) for word in words.split()])
    assert command is not edgegen, f"there is no 'edgegen {first}'"
    own = {name for param in (*command.params, *edgegen.params) for name in param.opts}
    own |= {"--help", "--verbose"}
    for option in _OPTION.findall(words.split(" or ")[0]):
        assert option in own, f"'edgegen {first}' has no {option}"


def _requirements() -> set[str]:
    """Return the packages of PyPI that the project itself depends on, and edgegen."""
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    names = {re.split(r"[\[<>=~ ]", line)[0] for line in lines}
    return names | {"edgegen", "coremltools", "tflite-runtime", "onnxruntime-gpu"}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(found["words"], id=place)
        for place, text in TEXTS
        for found in _PIP.finditer(text)
    ],
)
def test_pip_is_asked_for_packages_that_are_known_only(words: str) -> None:
    package = next(
        (word for word in re.split(r"[\s()]", words) if word and not word.startswith("-")), ""
    )
    name = re.split(r"[\[<>=.,]", package.strip("'\""))[0]
    if PLACEHOLDER in package:
        return  # from a table: RUNTIMES, below, or the extras
    assert name in _requirements(), f"nobody vouches for the package '{name}'"


def test_every_runtime_says_what_pip_installs() -> None:
    for runtime in RUNTIMES:
        assert runtime.install.split()[0] in _requirements()
