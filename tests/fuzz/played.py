"""A device that answers whatever a fuzzer wants, played in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edgegen_runner.agent.facts import describe
from edgegen_runner.agent.paths import Folders
from hypothesis import strategies as st

from edgegen.core.errors import DeviceError
from edgegen.core.process import Child, ProcessError
from edgegen.devices.device import Device

HOME = "/home/pi/.edgegen"
HELLO = {"event": "hello", "schema": 1, "version": "0.1.0", "pid": 7, "root": HOME}


class PlayedChild:
    """What a transport starts: its output is a text that was made before."""

    def __init__(self, output: bytes, returncode: int = 0) -> None:
        self._output, self._place = output, 0
        self._ended = returncode
        self.returncode: int | None = None
        self.cpu_s = 0.0

    def read(self, most: int, *, silence_s: float) -> bytes:
        piece = self._output[self._place : self._place + most]
        self._place += len(piece)
        return piece

    def is_readable(self, within_s: float) -> bool:
        return True

    def lines(self, *, silence_s: float | None = None) -> Any:
        for line in self._output.split(b"\n"):
            if len(line) > 1 << 20:
                raise ProcessError("a line is too long")
            yield line.decode("utf-8", "replace")
        self.returncode = self._ended

    def wait(self, timeout_s: float | None = None) -> int:
        self.returncode = self._ended
        return self._ended

    def terminate(self, *, grace_s: float = 2.0) -> int:
        return self.wait()

    def log_tail(self, lines: int = 20) -> str:
        return ""

    def describe_exit(self) -> str:
        return f"ended with exit code {self._ended}"

    def send(self, line: str) -> None: ...
    def write(self, data: bytes, *, stall_s: float) -> None: ...
    def close_input(self) -> None: ...
    def close(self, *, grace_s: float = 2.0) -> None: ...
    def __enter__(self) -> PlayedChild:
        return self

    def __exit__(self, *_: object) -> None: ...


class PlayedTransport:
    """Starts a `PlayedChild` for the agent, and one for each program after it."""

    address = "ssh://played"
    home = "~/.edgegen"
    connected = True

    def __init__(self, *outputs: bytes) -> None:
        self._outputs = list(outputs)

    def interpreter(self) -> tuple[str, ...]:
        return ("python3",)

    def start(self, arguments: Sequence[str], **options: Any) -> Child:
        for word in arguments:  # as the system has it
            assert b"\0" not in word.encode(), "a word that no command has"
        return PlayedChild(self._outputs.pop(0) if self._outputs else b"")  # type: ignore[return-value]  # all that is used of a Child

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        return None

    def why_silent(self) -> str:
        return "nothing comes"

    def close(self) -> None: ...


@cache
def facts() -> dict[str, Any]:
    """Return this machine's own answer to `describe`, with a package that does not work."""
    found = describe(Folders(Path("/")))
    fault = {"package": "onnxruntime", "returncode": -4, "said": "libstdc++.so.6: not found"}
    return done(**{**found, "runtime": {**found["runtime"], "faults": [fault]}})


def device(answers: Sequence[bytes], *runs: bytes) -> Device:
    """Return a device whose agent says hello, and then these lines; `runs` are of its runner."""
    first = [f"have {HOME}/runner/x/edgegen-runner.pyz".encode(), line(HELLO)]
    there = Device(PlayedTransport(b"\n".join([*first, *answers]) + b"\n", *runs), b"runner")
    there.return_s = 0.0
    return there


def line(value: Any) -> bytes:
    return json.dumps(value).encode()


def done(**fields: Any) -> dict[str, Any]:
    return {"event": "done", **fields}


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 10**30, -(10**30), 1 << 63, 2**31]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "../../etc/passwd", "/", "a\x00b", "\x1b[2J", "\ud800", "x" * 5000, "²", "-", "NaN"]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=2),
)


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> Any:
    """Return a JSON value in which up to three places hold something odd."""
    for _ in range(draw(st.integers(0, 3))):
        value = _spoil(draw, value)
    return value


def _spoil(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, Mapping) and value and draw(st.integers(0, 7)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _spoil(draw, value[key])}
    if isinstance(value, Mapping) and value:
        key = draw(st.sampled_from(sorted(value)))
        rest = {name: each for name, each in value.items() if name != key}
        return {**rest, "extra": 1} if draw(st.booleans()) else rest
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _spoil(draw, value[place]), *value[place + 1 :]]
    return draw(ODD)


@st.composite
def spoiled_line(draw: st.DrawFn, value: Any) -> bytes:
    """Return a line of JSON that is odd in its values, or in its bytes."""
    text = line(draw(spoiled(value)))
    if draw(st.integers(0, 5)):
        return text
    data = bytearray(text)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(0, len(data)))]
    wrapped = draw(st.sampled_from([b"%s", b"[%s", b"[" * 20_000 + b"%s", b"%s" + b"9" * 5000]))
    return (wrapped % bytes(data)).replace(b"\n", b" ")
