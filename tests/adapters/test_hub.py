"""Adapters of the hub, against a stand-in on this machine that speaks its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.models.source import hub_place
from tests.adapters.writers import FORMS, every, kohya, modules_in, peft, write
from tests.conftest import TinyPipeline
from tests.models.hub_standin import HubStandin, running

ROOT = Path(__file__).parents[2]
REPOSITORY = "studio/ink"
_CHILD = """\
import json, sys
from edgegen.core.errors import EdgegenError
from edgegen.models.adapters.adapter_file import AdapterFile
from edgegen.models.adapters.lora_choice import parse_lora
try:
    found = parse_lora(sys.argv[1], offline=sys.argv[2] == "offline")
    file = AdapterFile.open(found.file)
    module = next(iter(file.modules))
    answer = {"name": found.file.name, "scale": found.scale, "factor": file.factor(module)}
except EdgegenError as error:
    answer = {"error": error.message, "hint": error.hint}
print(json.dumps(answer))
"""
Find = Callable[..., dict[str, object]]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandin]:
    (tmp_path / "served").mkdir()
    standin = HubStandin(repository=REPOSITORY, folder=tmp_path / "served")
    with running(standin):
        yield standin


@pytest.fixture
def find(hub: HubStandin, tmp_path: Path) -> Find:
    def call(text: str, how: str = "online") -> dict[str, object]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, text, how],
            cwd=tmp_path,
            env=kept | own,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return dict(json.loads(done.stdout))

    return call


def add(hub: HubStandin, model: Path, name: str) -> None:
    modules = [("unet", key, it) for key, it in every(9, modules_in(model / "unet").items())]
    write(hub.folder / name, modules, FORMS["lora"], kohya)


def test_a_repository_with_one_file_is_an_adapter_and_stays_in_the_cache(
    hub: HubStandin, find: Find, tiny_pipeline: TinyPipeline
) -> None:
    add(hub, tiny_pipeline("sd15"), "ink.safetensors")
    expected = {"name": "ink.safetensors", "scale": 0.8, "factor": 0.5}
    assert find(f"{REPOSITORY}:0.8") == expected
    assert find(f"{REPOSITORY}:ink.safetensors:0.8", "offline") == expected
    assert hub.fetched() == ["ink.safetensors"]


def test_of_several_files_one_is_named(
    hub: HubStandin, find: Find, tiny_pipeline: TinyPipeline
) -> None:
    for name in ("ink.safetensors", "oil.safetensors"):
        add(hub, tiny_pipeline("sd15"), name)
    refused = find(REPOSITORY)
    assert "ink.safetensors, oil.safetensors" in str(refused["error"])
    assert f"{REPOSITORY}:ink.safetensors" in str(refused["hint"])
    assert find(f"{REPOSITORY}:oil.safetensors")["name"] == "oil.safetensors"
    assert "gone.safetensors" in str(find(f"{REPOSITORY}:gone.safetensors")["error"])


def test_peft_s_settings_come_with_its_file(
    hub: HubStandin, find: Find, tiny_pipeline: TinyPipeline
) -> None:
    modules = modules_in(tiny_pipeline("sd15") / "unet")
    chosen = [("unet", key, it) for key, it in every(9, modules.items())]
    write(hub.folder / "adapter_model.safetensors", chosen, FORMS["plain_lora"], peft)
    (hub.folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "lora_alpha": 6}'
    )
    assert find(REPOSITORY)["factor"] == 1.5


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("studio/ink", ("studio/ink", None, "")),
        ("studio/ink@v2:a/b.safetensors", ("studio/ink", "v2", "a/b.safetensors")),
        (
            "https://huggingface.co/studio/ink/blob/main/b.safetensors",
            ("studio/ink", "main", "b.safetensors"),
        ),
        ("loras/ink.safetensors", None),
        ("ink.safetensors", None),
        ("/loras/ink", None),
        ("tests/ink", None),
    ],
)
def test_what_is_a_file_of_this_machine_is_not_looked_for_on_the_hub(
    text: str, place: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert hub_place(text) == place
