"""Numbers that options take are finite: NaN and the infinities are refused as other words are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgegen.cli.main import COMMANDS, edgegen, run
from edgegen.cli.numbers import NUMBER, NumberRange

NO_NUMBERS = ("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e999", "-1e999", "9" * 400)


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub, found in command.commands.items():
            yield from commands(found, f"{name} {sub}")


def options() -> list[tuple[str, click.Parameter]]:
    context = click.Context(edgegen)
    return [
        (f"{found} {parameter.opts[0]}", parameter)
        for name in COMMANDS
        if (whole := edgegen.get_command(context, name)) is not None
        for found, command in commands(whole, name)
        for parameter in command.params
    ]


def taken(parameter: click.Parameter, word: str) -> object:
    """Return what a parameter makes of a word; None where it refuses it."""
    try:
        return parameter.type.convert(word, parameter, None)
    except click.UsageError:
        return None


def is_number(parameter: click.Parameter) -> bool:
    return any(isinstance(taken(parameter, word), float) for word in ("1", "1s", "1W"))


def test_no_option_of_any_command_takes_what_is_no_finite_number() -> None:
    taking = [
        (name, word)
        for name, parameter in options()
        for unit in ("", "s", "W")
        for word in (f"{it}{unit}" for it in NO_NUMBERS)
        if isinstance(found := taken(parameter, word), float) and not math.isfinite(found)
    ]
    assert taking == []
    numbers = {name for name, parameter in options() if is_number(parameter)}
    assert {
        *(f"{it} --guidance" for it in ("package", "run", "bench", "evaluate", "compare")),
        "run --guidance-rescale",
        "run --eta",
        "run --strength",
        "bench --start-temperature",
        "bench --sustained",
        "cost --gpu-use",
        "cost --power",
    } <= numbers


@pytest.mark.parametrize("kind", [NUMBER, NumberRange(0), NumberRange()])
def test_a_finite_number_is_taken_as_it_is(kind: click.ParamType[float]) -> None:
    assert kind.convert("1.5", None, None) == 1.5
    assert kind.convert("1e-3", None, None) == 0.001


@pytest.mark.parametrize("word", ["nan", "inf"])
@pytest.mark.parametrize("command", ["package", "bench", "compare"])
def test_the_error_is_that_of_any_word_that_is_no_number(
    command: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for value in (word, "much"):
        places = [str(tmp_path)] * (2 if command == "compare" else 1)
        assert run([command, *places, "--guidance", value]) == 2
        said.append(capsys.readouterr().err.replace(value, "WORD"))
    assert said[0] == said[1]
    assert "'--guidance'" in said[0]
    assert not list(tmp_path.iterdir())
