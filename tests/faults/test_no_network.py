"""No command touches the network, unless the model is on the hub."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.command import GUARD, Command, contents
from tests.faults.socket_guard import supported

guarded = pytest.mark.skipif(not supported(), reason="the socket guard is for Linux on x86 and Arm")
LAUNCHER = (sys.executable, GUARD)
CONNECT = "import socket; socket.create_connection(('127.0.0.1', 9))"
BENCH = ["--quick", "--steps", "2", "--json-file", "result.json", "--html", "result.html"]


@guarded
@pytest.mark.parametrize(
    "program",
    [
        CONNECT,
        "import socket; socket.getaddrinfo('hub.invalid', 443)",
        f"import subprocess, sys; s = subprocess.run([sys.executable, '-c', {CONNECT!r}]); "
        "sys.exit(0 if s.returncode >= 0 else 'killed')",
    ],
    ids=["connection", "look-up of a name", "connection of a child"],
)
def test_guard_kills_whatever_opens_a_socket(program: str) -> None:
    done = subprocess.run([*LAUNCHER, sys.executable, "-c", program], capture_output=True)
    assert done.returncode == -31 or b"killed" in done.stderr


@guarded
def test_package_verify_run_and_bench_open_no_socket(guarded_package: Path, tmp_path: Path) -> None:
    """Packaging itself, with parity, was guarded as well."""
    for arguments in (
        ["verify", guarded_package],
        ["run", guarded_package, "--steps", "2", "-o", "image.png"],
        ["bench", guarded_package, *BENCH],
        ["doctor"],
    ):
        with Command(arguments=arguments, folder=tmp_path, launcher=LAUNCHER) as command:
            outcome = command.wait()
            assert outcome.code == 0, outcome.errors
            assert list(command.scratch.iterdir()) == []
            command.assert_all_gone(within_s=0)
    assert (tmp_path / "image.png").stat().st_size > 0
    assert (tmp_path / "result.html").stat().st_size > 0


@guarded
@pytest.mark.slow
@pytest.mark.parametrize("isolated", [False, True], ids=["guarded", "without a network"])
def test_built_in_model_needs_no_network(isolated: bool, tmp_path: Path) -> None:
    launcher: tuple[str | Path, ...] = LAUNCHER
    if isolated:
        if shutil.which("unshare") is None:
            pytest.skip("unshare is not installed")
        launcher = ("unshare", "--net", "--map-root-user", *LAUNCHER)
        if subprocess.run([*launcher, "true"], capture_output=True).returncode != 0:
            pytest.skip("a network namespace cannot be made here")
    for arguments in (
        ["inspect", "builtin:emoji"],
        ["package", "builtin:emoji", "-t", "onnx", "-o", "emoji"],
        ["run", "emoji", "--prompt", "a cat", "--steps", "2", "-o", "cat.png"],
        ["verify", "emoji"],
        ["bench", "emoji", *BENCH],
    ):
        with Command(arguments=arguments, folder=tmp_path, launcher=launcher) as command:
            outcome = command.wait()
            assert outcome.code == 0, outcome.errors
    assert (tmp_path / "cat.png").stat().st_size > 0


def test_hub_that_cannot_be_reached_is_named_with_what_to_do(place: Path) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(place.parent / "hub")}
    arguments = ["package", "org/name", "-t", "onnx", "-o", place / "out"]
    with Command(arguments=arguments, folder=place.parent, env=env) as command:
        command.wait().assert_failed(9, "http://127.0.0.1:9 cannot be reached", "builtin:emoji")
        command.assert_all_gone(within_s=0)
    assert contents(place) == {}
