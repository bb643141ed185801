"""Commands that need a device, without one."""

from __future__ import annotations

import pytest

from edgegen.cli.main import COMMANDS, run
from edgegen.devices.known import remember

NEED_A_DEVICE = [
    ["status"],
    ["prune"],
    ["deploy", "package"],
    ["rollback", "name"],
    ["devices", "show"],
    ["devices", "setup"],
    ["devices", "forget"],
]


@pytest.mark.parametrize("arguments", NEED_A_DEVICE, ids=" ".join)
def test_a_missing_device_is_asked_for_with_those_used_before(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert "`edgegen devices` lists" in capsys.readouterr().err
    remember("ssh://pi@board")
    remember("adb://adb-R5CT (2)._adb-tls-connect._tcp")
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert "Missing" in told
    assert "Used before: 'adb://adb-R5CT (2)._adb-tls-connect._tcp', ssh://pi@board." in told


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("devices", "doctor")])
def test_a_command_without_arguments_lists_or_says_what_is_missing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name]) in (0, 2)
    assert "defect" not in capsys.readouterr().err
