"""The sshd that tests connect to: this machine in a home of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgegen.core.process import Completed, run
from tests.devices.sshd import Sshd, needs_sshd


@pytest.fixture(autouse=True)
def _sshd_is_here() -> None:
    needs_sshd()


def ssh(sshd: Sshd, command: str) -> Completed:
    arguments = ("ssh", "-F", str(sshd.ssh_config), "-o", "BatchMode=yes", "-p", str(sshd.port))
    return run((*arguments, "127.0.0.1", command), timeout_s=30, check=False)


def test_session_has_a_home_of_its_own_and_tells_exit_codes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Sshd(tmp_path / "sshd", home=home, environment={"MARK": "a b"}) as sshd:
        done = ssh(sshd, 'echo "$HOME" "$MARK"; cd; pwd; exit 7')
        assert done.text == f"{home} a b\n{home}\n"
        assert done.returncode == 7
        assert sshd.address == f"ssh://{sshd.user}@127.0.0.1:{sshd.port}"


def test_another_host_key_is_refused_and_the_port_stays(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", home=tmp_path / "home") as sshd:
        assert ssh(sshd, "true").returncode == 0
        port = sshd.port
        sshd.stop()
        sshd.new_host_key()
        sshd.start()
        assert sshd.port == port
        done = ssh(sshd, "true")
        assert done.returncode == 255
        assert "IDENTIFICATION HAS CHANGED" in done.error_text


def test_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from tests.devices.sshd import Sshd\n"
        f"sshd = Sshd(Path({str(tmp_path)!r}) / 'sshd', home=Path({str(tmp_path)!r}) / 'home')\n"
        "sshd.__enter__()\n"
        "print(sshd.port, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -9, done.stderr
    left = Sshd(tmp_path / "sshd", home=tmp_path / "home")
    left.port = int(done.stdout)
    deadline = time.monotonic() + 10
    while ssh(left, "true").returncode == 0:
        assert time.monotonic() < deadline, "sshd outlived its test"
        time.sleep(0.1)
