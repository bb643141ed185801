"""Where the result of a choice goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegen.choose.engines.alike import place_of_farm
from edgegen.choose.jobs import DeviceRef
from edgegen.choose.prepare import Place, output_folder
from edgegen.models.model_folder import ModelFolder


def place(address: str, **identity: Any) -> Place:
    return Place(
        device=DeviceRef(address=address, root=None, identity=identity),
        title="a board",
        profile=None,
        targets=("onnx",),
        lacking={},
        has_energy=False,
    )


def model(name: str) -> ModelFolder:
    return ModelFolder(path=Path(name), source=name)


def test_the_result_of_a_farm_is_called_after_its_devices() -> None:
    farm = place_of_farm("boards", None, [("one", place("local", host_name="one"))])
    assert output_folder(None, [model("tiny")], farm) == Path("choice-tiny-boards")


def test_the_result_is_called_after_the_device() -> None:
    assert output_folder(None, [model("a"), model("b")], place("local", host_name="x")) == Path(
        "choice-a-b-local"
    )
    board = place("ssh://pi@board", host_name="board")
    assert output_folder(None, [model("a")], board) == Path("choice-a-board")
    assert output_folder(Path("there"), [model("a")], board) == Path("there")


def test_a_device_cannot_lead_out_of_the_folder() -> None:
    evil = place("ssh://pi@board", host_name="/../../evil")
    assert output_folder(None, [model("a")], evil) == Path("choice-a--..-..-evil")
