"""deploy, rollback, status and prune, as they are typed; the device is this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegen.cli.main import run
from tests.devices.test_store import another
from tests.tiny_packages import onnx_package


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]  # a function
    """Return a function that runs a command, and returns its code and what it wrote."""

    def edgegen(*words: str | Path) -> tuple[int, str]:
        code = run([*map(str, words), "--device", "local"])
        said = capsys.readouterr()
        return code, said.out + said.err

    return edgegen


def versions(text: str) -> dict[str, Any]:
    (package,) = json.loads(text)["packages"]
    return {each["version"]: each for each in package["versions"]}


def test_deploy_rollback_status_and_prune_lead_on_to_each_other(typed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    package = onnx_package(tmp_path / "first")
    assert typed("deploy", package, "--name", "emoji")[0] == 0
    code, said = typed("rollback", "emoji")
    assert code == 5
    assert "no version before" in said
    assert "edgegen deploy PACKAGE --device local" in said
    assert "retry" not in said
    code, said = typed("deploy", another(package, tmp_path / "second", 1), "--name", "emoji")
    assert code == 0
    assert "Back: edgegen rollback emoji" in said
    first = json.loads(typed("status", "--json")[1])["packages"][0]["current"]
    assert typed("rollback", "emoji")[0] == 0
    code, said = typed("status")
    assert "rolled back" in said
    found = versions(typed("status", "--json")[1])
    assert found[first]["rolled_back_at"]
    assert all(each["at"] and each["whole"] for each in found.values())
    before = sorted(path for path in tmp_path.rglob("*") if "runner" not in str(path))
    code, said = typed("prune", "--keep", "0", "--dry-run")
    assert (code, f"Would remove: emoji {first}" in said, "would be free" in said) == (
        0,
        True,
        True,
    )
    assert sorted(path for path in tmp_path.rglob("*") if "runner" not in str(path)) == before
    assert f"Removed: emoji {first}" in typed("prune", "--keep", "0")[1]
    assert list(versions(typed("status", "--json")[1])) != [first]


def test_a_package_that_is_not_there_is_named_with_those_that_are(typed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    typed("deploy", onnx_package(tmp_path / "package"), "--name", "emoji")
    code, said = typed("rollback", "emojis")
    assert code == 5
    assert "deployed are: emoji" in said
    assert "edgegen status --device local" in said
