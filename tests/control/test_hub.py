"""ControlNets of the hub, against a stand-in on this machine that speaks its protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import TinyPipeline
from tests.models.hub_standin import HubStandin, running
from tests.tiny_models import write_controlnet

ROOT = Path(__file__).parents[2]
REPOSITORY = "studio/edges"
WEIGHTS = "diffusion_pytorch_model.safetensors"
_CHILD = """\
import json, sys
from edgegen.core.errors import EdgegenError
from edgegen.core.reading import Reading
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
model, how, *networks = sys.argv[1:]
try:
    said = Reading(controlnets=tuple(networks))
    folder = resolve(model, reading=said, offline=how == "offline")
    components = [it.name for it in read_pipeline(folder).components]
    answer = {"controlnets": [it for it in components if it.startswith("controlnet")],
              "said": folder.reading.controlnets}
except EdgegenError as error:
    answer = {"error": error.message, "hint": error.hint}
print(json.dumps(answer))
"""
Find = Callable[..., dict[str, object]]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandin]:
    served = tmp_path / "served"
    served.mkdir()
    shutil.copytree(write_controlnet("sd15", tmp_path / "network"), served, dirs_exist_ok=True)
    write_controlnet("sd15", served / "canny", seed=8)
    standin = HubStandin(repository=REPOSITORY, folder=served)
    with running(standin):
        yield standin


@pytest.fixture
def find(hub: HubStandin, tiny_pipeline: TinyPipeline, tmp_path: Path) -> Find:
    def call(*networks: str, how: str = "online") -> dict[str, object]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "EDGEGEN_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(tiny_pipeline("sd15")), how, *networks],
            cwd=tmp_path,
            env=kept | own,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return dict(json.loads(done.stdout))

    return call


def test_a_network_is_fetched_once_and_the_model_keeps_its_id(hub: HubStandin, find: Find) -> None:
    named = (REPOSITORY, f"{REPOSITORY}:canny")
    expected = {"controlnets": ["controlnet", "controlnet_1"], "said": list(named)}
    assert find(*named) == expected
    files = [WEIGHTS, f"canny/{WEIGHTS}"]
    assert hub.fetched(WEIGHTS) == files
    assert find(*named, how="offline") == expected
    assert hub.fetched(WEIGHTS) == files


def test_what_the_hub_or_its_cache_lacks_is_said(find: Find) -> None:
    gone = find(f"{REPOSITORY}:depth")
    assert "depth/config.json" in str(gone["error"])
    assert "offline" in str(find(REPOSITORY, how="offline")).lower()
    nowhere = find("no such/folder/at all")
    assert "--controlnet" in str(nowhere["hint"])
