from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgegen import __version__
from edgegen.cli import main
from edgegen.cli.main import LazyCommand, run
from edgegen.core.errors import (
    BudgetNotMetError,
    ConfigError,
    EdgegenError,
    IntegrityError,
    ParityError,
    SourceError,
)

FAILURE: list[BaseException] = []


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True)
@click.option("--steps", type=int)
def play(model: str | None, as_json: bool, steps: int | None) -> None:
    """Raise what a test wants raised."""
    raise FAILURE[0]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Make `edgegen inspect` raise what the test appends."""
    commands = {**main.COMMANDS, "inspect": LazyCommand(f"{__name__}:play", "Play.")}
    monkeypatch.setattr(main, "COMMANDS", commands)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    yield FAILURE
    FAILURE.clear()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigError, 2),
        (ParityError, 4),
        (BudgetNotMetError, 7),
        (IntegrityError, 8),
        (SourceError, 9),
    ],
)
def test_an_error_becomes_its_exit_code_a_message_and_a_hint(
    kind: type[EdgegenError],
    code: int,
    fail: list[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail.append(kind("The model is gone.", hint="Look again."))
    assert run(["inspect"]) == code
    output = capsys.readouterr()
    assert output.err == "error: The model is gone.\nhint: Look again.\n"
    assert output.out == ""


def test_with_json_an_error_is_json_on_standard_output(
    fail: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(SourceError("The model is gone.", hint="Look again."))
    assert run(["inspect", "--json"]) == 9
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "error": {
            "kind": "SourceError",
            "message": "The model is gone.",
            "hint": "Look again.",
            "exit_code": 9,
        },
    }


def test_an_argument_that_reads_json_is_no_option(
    fail: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(SourceError("Gone."))
    run(["inspect", "--", "--json"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(
    raised: BaseException, fail: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(raised)
    assert run(["inspect"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_what_nobody_expected_goes_to_a_log_that_is_named(
    fail: list[BaseException], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(ZeroDivisionError("division by zero"))
    assert run(["inspect", "a model"]) == 1
    errors = capsys.readouterr().err
    (log,) = (tmp_path / "state" / "logs").iterdir()
    assert str(log) in errors
    assert "Traceback" not in errors
    assert "ZeroDivisionError: division by zero" in log.read_text()
    assert "edgegen inspect 'a model'" in log.read_text()


def test_a_log_that_cannot_be_written_does_not_hide_the_error(
    fail: list[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "file"))
    fail.append(ZeroDivisionError("division by zero"))
    assert run(["inspect"]) == 1
    assert "division by zero" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ConfigError("No."), ZeroDivisionError("No.")])
def test_debug_shows_the_traceback(
    error: Exception, fail: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(error)
    run(["--debug", "inspect"])
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["packag"], "Did you mean 'package'?"),
        (["inspect", "--step", "3"], "--steps"),
        (["inspect", "--steps", "three"], "'three' is not a valid integer"),
        (["inspect", "a", "b"], "Usage: edgegen inspect"),
        (["inspect", "--debug"], "edgegen --debug …"),
        (["--jsn"], "No such option"),
    ],
    ids=str,
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_near(
    arguments: list[str],
    says: str,
    fail: list[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(arguments) == 2
    assert says in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in main.COMMANDS.items():
        assert f"  {name} " in text
        assert command.help in text


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def edgegen(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # options are open
        [sys.executable, "-m", "edgegen", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        process = subprocess.run(
            [sys.executable, "-m", "edgegen", "profiles", "--json"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (process.returncode, process.stderr) == (141, "")


def test_a_broken_pipe_that_is_not_ours_is_reported(
    fail: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    fail.append(BrokenPipeError(32, "Broken pipe"))
    assert run(["inspect"]) == 1
    assert "BrokenPipeError" in capsys.readouterr().err


def test_a_terminal_without_our_letters_gets_question_marks() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = edgegen("profiles", "raspberry-pi-4", env=environment)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "4 ? Arm Cortex-A72" in output


@pytest.mark.parametrize(("chosen", "shown"), [(None, "ok"), ("0", "note")])
def test_telemetry_of_others_is_off_unless_the_user_wants_it(
    chosen: str | None, shown: str
) -> None:
    name = "ORT_DISABLE_TELEMETRY"
    environment = {key: value for key, value in os.environ.items() if key != name}
    process = edgegen(
        "doctor", "--json", env=environment if chosen is None else {**environment, name: chosen}
    )
    output, _ = process.communicate(timeout=60)
    (found,) = (each for each in json.loads(output)["findings"] if each["name"] == name)
    assert found["status"] == shown


WAITER = """
import contextlib, sys, time
from edgegen.cli import main
@contextlib.contextmanager
def cleaning():
    try:
        yield
    finally:
        sys.stderr.write("cleaned")
def wait(arguments, ahead):
    with cleaning():
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        time.sleep(60)
main.run = wait
main.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_request_to_end_lets_the_work_clean_up(number: signal.Signals, code: int) -> None:
    """A terminal that is closed is such a request, too."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "cleaned")


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    arguments = ["nohup", sys.executable, "-c", WAITER]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
