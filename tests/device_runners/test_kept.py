"""Components that stay loaded from one job of a series to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from edgegen_runner import kept
from edgegen_runner.kept import KeepingBackend


class CountingBackend:
    """Counts what is loaded and what is given back."""

    name, version, available_providers = "counting", "0", ("CPU",)
    arithmetic_gaps: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.closed: list[str] = []

    def load(self, path: Path, component: Any) -> Any:
        self.loaded.append(path.parent.name)
        return SimpleNamespace(
            providers=("CPU",),
            run=lambda inputs, outputs: {"sum": sum(inputs.values())},
            close=lambda: self.closed.append(path.parent.name),
        )


def component(folder: Path, name: str, size: int) -> tuple[Path, Any]:
    path = folder / name / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(bytes(size))
    return path, SimpleNamespace(parts=())


def test_a_small_component_is_loaded_once_and_given_back_at_the_end(tmp_path: Path) -> None:
    backend = CountingBackend()
    keeping = KeepingBackend(backend)
    unet = component(tmp_path, "unet", 10)

    for value in (1, 2):
        session = keeping.load(*unet)
        assert session.run({"a": value, "b": 1}) == {"sum": value + 1}
        session.close()
    assert (backend.loaded, backend.closed) == (["unet"], [])

    keeping.close()
    assert backend.closed == ["unet"]


def test_what_is_not_small_is_given_back_by_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 15)
    backend = CountingBackend()
    keeping = KeepingBackend(backend)
    unet, decoder = component(tmp_path, "unet", 10), component(tmp_path, "decoder", 10)

    for it in (unet, decoder, unet, decoder):
        keeping.load(*it).close()  # type: ignore[no-untyped-call]
    keeping.close()

    assert backend.loaded == ["unet", "decoder", "decoder"]
    assert backend.closed == ["decoder", "decoder", "unet"]
