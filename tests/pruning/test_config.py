"""What a config may say was cut: all else is refused, with the file and the place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import SourceError
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.networks.pruned import KEY
from edgegen.reference.modules import build_module
from tests.conftest import TinyPipeline

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


def with_cuts(source: Path, folder: Path, cuts: Any, component: str = "unet") -> Path:
    shutil.copytree(source, folder)
    path = folder / component / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), KEY: cuts}))
    return folder


@pytest.mark.parametrize(
    ("cuts", "says"),
    [
        ({"head": {ATTENTION: 1}}, "unknown key 'edgegen_pruned.head'"),
        ({"heads": {ATTENTION: 0}}, "keeps 0"),
        ({"heads": {ATTENTION: -1}}, "keeps -1"),
        ({"heads": {ATTENTION: 1.5}}, "not a whole number"),
        ({"dropped": "mid_block"}, "edgegen_pruned.dropped"),
        ([1], "not a table"),
    ],
)
def test_cuts_that_say_nothing_are_refused_when_a_model_is_read(
    cuts: Any, says: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_cuts(tiny_pipeline("sd15"), tmp_path / "model", cuts)
    with pytest.raises(SourceError, match=says) as caught:
        read_pipeline(resolve(str(folder)))
    assert "config.json" in caught.value.message


@pytest.mark.parametrize(
    ("cuts", "says"),
    [
        ({"heads": {"mid_block": 1}}, "no layer with heads"),
        ({"feed_forward": {ATTENTION: 1}}, "no layer with feed_forward"),
        ({"heads": {ATTENTION: 5}}, "which has 4"),
        ({"dropped": ["conv_in"]}, "no block that can be dropped"),
        ({"dropped": ["../../../etc"]}, "no block that can be dropped"),
    ],
)
def test_cuts_of_what_a_network_lacks_are_refused_when_it_is_built(
    cuts: Any, says: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_cuts(tiny_pipeline("sd15"), tmp_path / "model", cuts)
    read_pipeline(resolve(str(folder)))
    with pytest.raises(SourceError, match=says):
        build_module(folder / "unet", "UNet2DConditionModel")


def test_weights_that_are_not_cut_as_the_config_says_are_refused(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    from edgegen.models.pipeline_source import FolderSource
    from edgegen.reference.pipeline import load_reference

    folder = with_cuts(tiny_pipeline("sd15"), tmp_path / "model", {"heads": {ATTENTION: 1}})
    with pytest.raises(SourceError, match="shapes disagree"):
        load_reference(read_pipeline(resolve(str(folder))), FolderSource(folder))


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_a_network_that_is_no_denoiser_is_not_pruned(
    component: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_cuts(tiny_pipeline("sd15"), tmp_path / "model", {"dropped": []}, component)
    with pytest.raises(SourceError, match="denoisers only"):
        read_pipeline(resolve(str(folder)))
