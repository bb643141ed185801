"""Every command of the table exists, explains itself, and starts light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.cli.main import COMMANDS, run
from tests.contracts.test_layers import TOOLKITS


@pytest.fixture(autouse=True)
def _logs_in_a_folder_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path))


HEAVY = sorted(TOOLKITS | {"numpy", "httpx", "requests"})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: edgegen {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from edgegen.cli.main import run\n"
        "found = {}\n"
        f"for arguments in {[[], *([name] for name in COMMANDS)]!r}:\n"
        "    code = run([*arguments, '--help'])\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    found[' '.join(arguments)] = [code, loaded]\n"
        "sys.stderr.write(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stderr) == {name: [0, []] for name in ("", *COMMANDS)}


def test_the_first_page_of_help_imports_no_command() -> None:
    code = (
        "import sys\n"
        "from edgegen.cli.main import COMMANDS, run\n"
        "run(['--help'])\n"
        "assert not {c.place.partition(':')[0] for c in COMMANDS.values()} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
