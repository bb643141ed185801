from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.folders import cache_folder, state_folder


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EDGEGEN_CACHE_DIR", "EDGEGEN_STATE_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")


def test_the_cache_lies_where_the_system_keeps_caches(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / ".cache" / "edgegen"
    assert state_folder() == tmp_path / ".local" / "state" / "edgegen"


def test_a_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/big/cache")
    assert cache_folder() == Path("/big/cache/edgegen")
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", "/big/mine")
    assert cache_folder() == Path("/big/mine")


def test_a_relative_xdg_path_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert state_folder().is_relative_to(tmp_path)


def test_asking_for_a_folder_does_not_make_it(tmp_path: Path) -> None:
    assert not cache_folder().exists()
    assert not list(tmp_path.iterdir())
