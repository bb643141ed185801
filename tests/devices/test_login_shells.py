"""Accounts with other login shells, with files that disturb, and with several Pythons."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgegen.core.errors import DeviceError
from edgegen.devices import agent
from edgegen.devices.agent import NoPythonError
from edgegen.devices.device import Device
from edgegen.devices.discovery import look_at
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.ssh import SshTransport
from edgegen.runner.pack import pack_runner
from tests.devices.conftest import PYTHON_PATH
from tests.devices.sshd import Sshd, needs_login_shell, needs_sshd

SHELLS = ("bash", "dash", "tcsh", "fish", "zsh")
WORDS = ["a b", "it's", '"x"', "$HOME", "`id`", "*", "a\nb", "ü", "", "--", "\\n", "!!", "~", "%s"]


@contextmanager
def board(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    shell: str | None = None,
    path: str = PYTHON_PATH,
    **environment: str,
) -> Iterator[SshTransport]:
    """A loopback sshd with a home in `tmp_path`, and the transport to it."""
    needs_sshd()
    with Sshd(
        tmp_path / "sshd",
        home=tmp_path / "home",
        environment={"PATH": path, **environment},
        shell=shell,
    ) as sshd:
        monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {sshd.ssh_config}")
        transport = SshTransport(sshd.address)
        yield transport
        transport.close()


def facts_of(transport: SshTransport) -> DeviceFacts:
    with Device(transport, pack_runner()) as device:
        return device.facts


@pytest.mark.parametrize("name", SHELLS)
def test_every_login_shell_starts_what_it_is_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with board(tmp_path, monkeypatch, shell=needs_login_shell(name)) as transport:
        environment = {"EDGEGEN_A": "two words; $x \\ !"}
        script = 'printf "[%s]" "$@"; cat; kill -9 $$'
        with transport.start(["sh", "-c", script, "sh", *WORDS], env=environment) as child:
            child.send("input")
            child.close_input()
            lines = "\n".join(child.lines(silence_s=30))
            assert lines == "".join(f"[{word}]" for word in WORDS) + "input"
            assert child.wait(30) == 128 + signal.SIGKILL
        with transport.start(["sh", "-c", 'echo "$EDGEGEN_A"'], env=environment) as child:
            assert list(child.lines(silence_s=30)) == ["two words; $x \\ !"]
            assert child.wait(30) == 0
        assert facts_of(transport).python.startswith("3.")


QUESTION = "its login shell reads the input first"
DISTURBING = {
    "exec sh": "starts another program in place of our command",
    "exec cat": "instead of starting the agent",
    "sh": QUESTION,
    "read -r answer": QUESTION,
    'printf "Continue? "; read -r answer': "after it printed 'Continue\\?', but " + QUESTION,
    "sleep 1000": "its login shell starts something that does not end",
    "echo Welcome": "answered 'Welcome' instead of starting the agent",
    "echo No shell for you; exit 1": "answered 'No shell for you'",
}


@pytest.mark.parametrize(
    "line",
    [
        # another line of the same answer is tried in every run
        pytest.param(it, marks=pytest.mark.slow) if it in ("sh", "echo Welcome") else it
        for it in DISTURBING
    ],
)
def test_a_bashrc_that_disturbs_is_recognised_within_seconds(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_SHELL_S", 1.0)
    monkeypatch.setattr("edgegen.devices.ssh._SILENCE_S", 2.0)
    with board(tmp_path, monkeypatch, shell=needs_login_shell("bash")) as transport:
        (tmp_path / "home" / ".bashrc").write_text(f"{line}\n")
        started = time.monotonic()
        with pytest.raises(DeviceError, match=DISTURBING[line]) as caught:
            facts_of(transport)
        assert time.monotonic() - started < 15
        assert "for terminals only" in caught.value.hint
        # The way that the hint names is one.
        (tmp_path / "home" / ".bashrc").write_text(f"[ -t 0 ] || return\n{line}\n")
        assert facts_of(transport).cores >= 1


def pythons(folder: Path, versions: dict[str, str]) -> str:
    """Make programs that answer as old Pythons do, or are this one; return their PATH."""
    folder.mkdir()
    for name in ("sh", "env", "uname", "cat"):
        (folder / name).symlink_to(shutil.which(name) or "/nowhere")
    for name, version in versions.items():
        text = f'exec {sys.executable} "$@"' if version == "this" else f"echo {version}"
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("python3.14", "python"),
        *(
            pytest.param(it, marks=pytest.mark.slow)
            for it in ("python3", "python3.12", "python3.9")
        ),
    ],
)
def test_a_newer_python_beside_old_ones_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"python3": "3.7.3", "python": "2.7.16", "python3.13": "Segmentation fault"}
    path = pythons(tmp_path / "bin", {**old, name: "this"})
    with board(tmp_path, monkeypatch, path=path) as transport:
        assert facts_of(transport).python.split(".")[:2] == [*map(str, sys.version_info[:2])]


def test_old_pythons_are_named_and_an_older_one_is_not_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pythons(tmp_path / "bin", {"python3": "3.7.3", "python": "2.7.16"})
    with board(tmp_path, monkeypatch, path=path) as transport:
        with pytest.raises(NoPythonError, match=r"has Python 3\.7\.3, 2\.7\.16; .* 3\.9") as caught:
            facts_of(transport)
        assert "apt install" not in caught.value.hint
        assert "python3.9 to python3.14" in caught.value.hint
        (lack,) = look_at(transport.address, pack_runner()).lacks
        assert "devices setup" not in lack.command  # there is no bundle for this machine


def test_the_boards_environment_does_not_reach_the_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "ros"
    elsewhere.mkdir()
    for module in ("numpy", "json", "sitecustomize"):
        (elsewhere / f"{module}.py").write_text("raise SystemExit('shadowed')\n")
    variables = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"), str(elsewhere))
    with board(tmp_path, monkeypatch, **variables) as transport:
        listing = look_at(transport.address, pack_runner())
        assert listing.is_ready, listing
        assert listing.packages is not None
        assert "numpy" in listing.packages


def test_what_is_preloaded_there_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with board(tmp_path, monkeypatch, LD_PRELOAD="/usr/lib/libnothing.so") as transport:
        (warning,) = look_at(transport.address, pack_runner()).warnings
        assert "LD_PRELOAD is set there (/usr/lib/libnothing.so)" in warning
