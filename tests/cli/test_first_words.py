"""What people type first, from habit or from another tool, leads to the command that is meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from edgegen import __version__
from edgegen.cli.main import SYNONYMS, run
from tests.conftest import TinyPipeline

TAKE_A_PACKAGE = (
    ("run", "--prompt", "x"),
    ("bench",),
    ("verify",),
    ("deploy", "--device", "local"),
)


@pytest.mark.parametrize("command", TAKE_A_PACKAGE, ids=lambda command: command[0])
def test_a_model_where_a_package_belongs_is_to_be_packaged_first(
    command: tuple[str, ...], tiny_pipeline: TinyPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command
    model = tiny_pipeline("sd15")
    for given in (str(model), "builtin:scenes"):
        assert run([name, given, *options]) == 2
        error = capsys.readouterr().err
        assert f"{given} is a model, not a package." in error
        assert f"edgegen package {given} --target onnx" in error


@pytest.mark.parametrize(("word", "meant"), sorted(SYNONYMS.items()))
def test_a_word_of_other_tools_leads_to_the_command(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word, "builtin:scenes", "-o", "a folder"]) == 2
    error = capsys.readouterr().err
    assert f"No such command '{word}'" in error
    assert f"edgegen {meant}" in error


def test_the_words_after_it_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    run(["export", "builtin:scenes", "-t", "onnx", "-o", "a folder"])
    assert "edgegen package builtin:scenes -t onnx -o 'a folder'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["help"], ["help", "package"], ["help", "devices", "setup"]])
def test_help_is_a_command_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert run([*arguments[1:], "--help"]) == 0
    assert said == capsys.readouterr().out


def test_help_of_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "packag"]) == 2
    assert "Did you mean 'package'?" in capsys.readouterr().err


def test_the_version_has_a_short_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-V"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("scenes", "Did you mean 'builtin:scenes'?"),
        ("scenes-4step", "Did you mean 'builtin:scenes-4step'?"),
        ("emoji", "Did you mean 'builtin:emoji'?"),
        ("builtin:scene", "Did you mean 'scenes'?"),
    ],
)
def test_a_builtin_model_without_its_prefix_is_guessed(
    typed: str,
    meant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["inspect", typed], ["package", typed, "-t", "onnx"]):
        assert run(command) == 9
        assert meant in capsys.readouterr().err


def test_examples_of_help_are_whole_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.test_command import EVERY

    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "edges.png"):
        (tmp_path / name).touch()
    for path, command in EVERY:
        for example in command.examples:
            words = shlex.split(example.partition(" >")[0])
            context = command.make_context("edgegen", words[1 + len(path) :], None)
            context.close()
