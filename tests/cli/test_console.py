from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass

import numpy as np
import pytest

from edgegen.cli import plain_progress
from edgegen.cli.console import Console
from edgegen.core.profile import Budget
from edgegen.core.progress import Progress, SilentProgress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Screen:
    """A console on a terminal, and what it wrote."""

    console: Console
    output: Terminal
    errors: Terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Give the test a terminal of 80 columns with colours."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLUMNS", "80")
    output, errors = Terminal(), Terminal()
    return Screen(Console(output=output, errors=errors), output, errors)


TABLE = ("Steps [s]", ("step", "seconds"), [("unet[0]", 1.5), ("vae", None), ("a" * 120, 12)])


def test_a_table_in_a_file_is_aligned_and_wraps_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().table(*TABLE, notes=["Two threads."])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Steps [s]"
    assert lines[4] == f"unet[0]{' ' * 113}      1.5"
    assert lines[5] == f"vae{' ' * 117}        –"
    assert lines[6] == f"{'a' * 120}       12"
    assert lines[-1] == "Two threads."
    assert "\x1b" not in "".join(lines)


def test_a_table_on_a_terminal_fits_it_and_keeps_brackets(
    screen: Screen,
) -> None:
    title, columns, rows = TABLE
    screen.console.table(title, columns, rows[:2])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.output.getvalue())
    assert "unet[0]" in plain
    assert "Steps [s]" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "seconds" in plain


def test_an_empty_table_has_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("Nothing", ("a", "b"), [])
    assert "a  b" in capsys.readouterr().out


def test_json_is_the_whole_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.warn("Mind the gap.")
    console.note("By the way.")
    console.json({"budget": Budget(latency_s=2.5), "none": None})
    output = capsys.readouterr()
    assert json.loads(output.out) == {
        "schema_version": 1,
        "budget": {"latency_s": 2.5},
        "none": None,
    }
    assert output.err == "warning: Mind the gap.\nBy the way.\n"


def test_quiet_leaves_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.note("By the way.")
    console.warn("Mind the gap.")
    with console.progress.step("unet", total=10):
        pass
    assert capsys.readouterr().err == "warning: Mind the gap.\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(
    name: str, value: str, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.console.error("Failed.", hint="Retry.")
    assert "\x1b[" in screen.errors.getvalue()
    monkeypatch.setenv(name, value)
    screen.errors.truncate(0)
    screen.errors.seek(0)
    screen.console.error("Failed.", hint="Retry.")
    assert screen.errors.getvalue() == "error: Failed.\nhint: Retry.\n"


def assert_cursor_is_shown(drawn: str) -> None:
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert drawn.rindex(hidden) < drawn.rindex(shown)


def work(progress: Progress) -> None:
    with progress.step("unet", total=1000, unit="bytes") as step:
        for part in range(4):
            step.describe(f"block[{part}]")
            step.advance(250)
            with progress.step("inner", total=1, unit="steps") as inner:
                inner.advance()


def test_progress_on_a_terminal_leaves_a_line_a_step(screen: Screen) -> None:
    work(screen.console.progress)
    drawn = screen.errors.getvalue()
    assert drawn.count("✓ inner") == 4
    assert drawn.count("✓ unet") == 1
    assert "1.00 kB of 1.00 kB" in drawn
    assert "100 %" in drawn
    assert "block[3]" in drawn
    assert_cursor_is_shown(drawn)
    assert screen.output.getvalue() == ""


def fail_in(progress: Progress) -> None:
    with progress.step("unet"):
        raise ValueError


def test_a_failed_step_is_marked(screen: Screen) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        fail_in(screen.console.progress)
    assert "✗ unet" in screen.errors.getvalue()
    assert_cursor_is_shown(screen.errors.getvalue())


def test_progress_in_a_log_is_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress.step("unet", total=10_000, unit="bytes") as step:
        for _ in range(10_000):
            step.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "unet …"
    assert re.fullmatch(r"unet: done in [0-9.]+ m?s", lines[-1])
    assert len(lines) <= 4


def test_a_failed_step_in_a_log_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        fail_in(Console().progress)
    assert "unet: failed after" in capsys.readouterr().err


class Clock:
    """Time that passes when the test says so."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(plain_progress, "time", clock)
    return clock


def lines_of(clock: Clock, seconds: float, advances: int, total: float | None) -> list[str]:
    lines: list[str] = []
    with plain_progress.PlainProgress(lines.append).step("unet", total=total) as step:
        for _ in range(advances):
            clock.now_s += seconds / advances
            step.advance()
    return lines[1:-1]


def test_a_slow_step_writes_a_line_every_ten_seconds(clock: Clock) -> None:
    lines = lines_of(clock, 60, 480, None)
    assert len(lines) == 6
    assert lines[0] == "unet: 80 items, 8.00 items/s"


def test_a_faster_step_writes_a_line_a_quarter(clock: Clock) -> None:
    lines = lines_of(clock, 8, 100, 100)
    assert [line.split(",")[0] for line in lines] == [
        "unet: 25 %",
        "unet: 50 %",
        "unet: 75 %",
        "unet: 100 %",
    ]
    assert lines[0].endswith("6.00 s left")


def test_a_total_that_grows_later_is_taken(clock: Clock) -> None:
    lines: list[str] = []
    with plain_progress.PlainProgress(lines.append).step("hub", unit="bytes") as step:
        step.total = 400
        clock.now_s += 20
        step.advance(100)
    assert lines[1] == "hub: 25 %, 100 bytes of 400 bytes, 5 bytes/s, 60.0 s left"


def test_silent_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    work(SilentProgress())
    assert capsys.readouterr() == ("", "")


def test_progress_costs_little() -> None:
    with SilentProgress().step("x") as step:
        started_s = time.perf_counter()
        for _ in range(1000):
            step.advance()
        assert time.perf_counter() - started_s < 0.5


PIXELS = np.dstack([np.full((32, 64), value, np.uint8) for value in (255, 0, 0)])


def test_a_picture_is_drawn_in_its_colours(screen: Screen) -> None:
    assert screen.console.picture(PIXELS, columns=16)
    lines = screen.output.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].count("▀") == 16
    assert "38;2;255;0;0;48;2;255;0;0" in lines[0]


def test_no_picture_is_drawn_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert not Console().picture(PIXELS)
    assert capsys.readouterr().out == ""


ESCAPE, C1, REVERSED, BYTE = "\x1b]0;owned\x07", "\x9b31m", "\u202etxt.exe", "\udce9"


@pytest.mark.parametrize("foreign", [ESCAPE, C1, REVERSED, BYTE, "a\rb", "\x00"], ids=repr)
@pytest.mark.parametrize("on_terminal", [False, True])
def test_foreign_text_reaches_no_terminal_raw(
    foreign: str, on_terminal: bool, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    output, errors = (Terminal(), Terminal()) if on_terminal else (io.StringIO(), io.StringIO())
    console = Console(output=output, errors=errors)
    console.print(foreign)
    console.table(foreign, (foreign, "b"), [(foreign, 1)], [foreign])
    console.note(foreign)
    console.warn(foreign)
    console.error(foreign, foreign)
    console.lines(foreign)
    console.json({"name": foreign})
    with console.progress.step(foreign, total=2) as step:
        step.describe(foreign)
        step.advance(2)
    written = output.getvalue() + errors.getvalue()
    drawn_by_rich = r"\x1b\[\??[0-9;]*[A-Za-z]"
    assert foreign not in re.sub(drawn_by_rich, "", written.replace("\r", ""))
    assert "\x1b]" not in written
    assert not set("\x00\x07\x9b\u202e\udce9") & set(written)


def test_json_keeps_foreign_text_for_its_reader(capsys: pytest.CaptureFixture[str]) -> None:
    names = [ESCAPE, C1, REVERSED, "ünï", "line\nline"]
    Console().json({"names": names})
    written = capsys.readouterr().out
    assert json.loads(written)["names"] == names
    assert "ünï" in written


def test_a_cell_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("T", ("a",), [("one\n| forged",)])
    assert "one\\n| forged" in capsys.readouterr().out


WIDE = (
    "Devices",
    ("device", "state", "what it is", "profile"),
    [
        (
            "ssh://somebody@a-board-with-a-long-name.local:2222",
            "ready",
            "x " * 30,
            "raspberry-pi-5",
        ),
        ("adb://192.168.100.101:5555", "not set up", "y " * 10, "pixel-8"),
    ],
)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_table_breaks_no_word_and_says_what_it_left_out(
    width: int, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    screen.console.table(*WIDE)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.output.getvalue())
    assert max(map(len, plain.partition("Left out")[0].splitlines())) <= width
    for address, *_ in WIDE[2]:
        assert address in plain
    shown = [name for name in WIDE[1] if name in plain.partition("Left out")[0]]
    hidden = [name for name in WIDE[1] if name not in shown]
    assert bool(hidden) == ("Left out to fit" in plain)
    assert all(name in plain for name in hidden)
    assert shown == list(WIDE[1][: len(shown)])


def test_a_wide_console_keeps_all_columns(screen: Screen) -> None:
    screen.console.wide = True
    screen.console.table(*WIDE)
    assert "raspberry-pi-5" in screen.output.getvalue()
    assert "Left out" not in screen.output.getvalue()


def test_a_word_wider_than_the_terminal_is_whole_in_the_output(screen: Screen) -> None:
    name = "a" * 120
    screen.console.table("T", ("name", "b"), [(name, 1)])
    assert name in screen.output.getvalue()
