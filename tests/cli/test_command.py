"""What every command shares: options that swallow none, and the parts of its help."""

from __future__ import annotations

import click
import pytest

from edgegen.cli.command import Command
from edgegen.cli.main import COMMANDS, edgegen, run


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Command]]:
    found = []
    with click.Context(group) as context:
        for name in group.list_commands(context):
            each = group.get_command(context, name)
            if isinstance(each, click.Group):
                found += leaves(each, (*path, name))
            else:
                assert isinstance(each, Command), f"{' '.join((*path, name))}: use @command(…)"
                found.append(((*path, name), each))
    return found


EVERY = leaves(edgegen)
IDS = [" ".join(path) for path, _ in EVERY]
VALUED = [
    pytest.param(path, each, option, id=f"{' '.join(path)} {option.opts[0]}")
    for path, each in EVERY
    for option in each.params
    if isinstance(option, click.Option) and not option.is_flag
]


@pytest.mark.parametrize(("path", "each", "option"), VALUED)
def test_no_option_swallows_another(
    path: tuple[str, ...],
    each: Command,
    option: click.Option,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in option.opts:
        for other in ("--json", "--help", "-h", "--jsno"):
            if other == "-h" and "-h" not in click.Context(each).help_option_names:
                continue
            assert run([*path, name, other]) == 2
            assert f"'{name}' needs a value" in capsys.readouterr().err


def test_a_value_may_begin_with_a_dash_after_an_equals_sign() -> None:
    taken: list[str] = []

    @click.command(cls=Command)
    @click.option("--prompt")
    @click.option("--json", is_flag=True)
    def play(prompt: str, json: bool) -> None:
        taken.append(prompt)

    play.main(["--prompt=--json"], standalone_mode=False)
    play.main(["--prompt", "-5 degrees"], standalone_mode=False)
    assert taken == ["--json", "-5 degrees"]


@pytest.mark.parametrize(("path", "each"), EVERY, ids=IDS)
def test_help_has_examples_that_parse_and_exit_codes(
    path: tuple[str, ...], each: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Exit codes:" in text
    assert each.examples, "an example"
    for example in each.examples:
        assert example in text
        assert example.startswith(" ".join(("edgegen", *path)))


@pytest.mark.parametrize(("path", "each"), EVERY, ids=IDS)
def test_groups_of_help_name_options_that_exist(path: tuple[str, ...], each: Command) -> None:
    grouped = [name for names in each.groups.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= {param.name for param in each.params}


@pytest.mark.parametrize(("path", "each"), EVERY, ids=IDS)
def test_json_is_a_flag_of_every_command(path: tuple[str, ...], each: Command) -> None:
    (option,) = (param for param in each.params if "--json" in param.opts)
    assert isinstance(option, click.Option)
    assert option.is_flag


def test_the_table_of_commands_and_the_group_agree() -> None:
    assert {path[0] for path, _ in EVERY} <= set(COMMANDS)


@pytest.mark.parametrize("width", ["40", "80"])
def test_help_names_the_values_and_breaks_none(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert run(["package", "--help"]) == 0
    values = capsys.readouterr().out.partition("Values:")[2].partition("Examples:")[0]
    words = values.replace(",", " ").replace(":", " : ").split()
    for name in ("int8-static-a16", "palette4-grouped", "jetson-orin-nano", "openvino"):
        assert name in words
    assert "builtin:scenes-4step-tiny" in values
