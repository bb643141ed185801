"""The files of an IP-Adapter: what is read of them, and what is refused before a build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.clip_picture import DEVIATION, to_clip
from safetensors.numpy import load_file, save_file

from edgegen.core.errors import ConfigError, SourceError
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.adapters.image_prompt import image_prompt_choice, parse_image_prompt
from edgegen.models.source import resolve
from edgegen.models.summary import summarize
from tests.conftest import TinyPipeline
from tests.ip_adapter.original import HIDDEN, NAME, write_image_encoder, write_ip_adapter

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def with_adapter(model: Path, adapter: Path, scale: float = 1.0) -> None:
    choice = parse_image_prompt(f"{adapter}:{scale}", None)
    with_adapters(resolve(str(model)), (), (), choice)


def changed(adapter: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    tensors = load_file(adapter)
    change(tensors)
    save_file(tensors, adapter)
    return adapter


@pytest.fixture
def adapter(tiny_pipeline: TinyPipeline, tmp_path: Path) -> Path:
    return write_ip_adapter(tmp_path / "models", tiny_pipeline("sd15"), "plain")


def test_files_of_others_are_refused_by_name(
    adapter: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    sd15 = tiny_pipeline("sd15")
    with_adapter(sd15, adapter)
    with pytest.raises(SourceError, match="does not go with a model of the family unconditional"):
        with_adapter(tiny_pipeline("ddpm"), adapter)
    with pytest.raises(SourceError, match=r"7 cross-attentions, and that of .* has \d+"):
        with_adapter(tiny_pipeline("sdxl"), adapter)
    tensors = load_file(adapter)
    save_file({"unet.to_q.lora_A.weight": np.zeros((2, 4), np.float32)}, adapter)
    with pytest.raises(SourceError, match="is no IP-Adapter"):
        with_adapter(sd15, adapter)
    face = {f"image_proj.{it}.weight": np.zeros((4, 4), np.float32) for it in ("proj.0", "norm")}
    save_file({**face, **{k: v for k, v in tensors.items() if "ip_adapter" in k}}, adapter)
    with pytest.raises(SourceError, match="FaceID"):
        with_adapter(sd15, adapter)
    pickle = tmp_path / "ip-adapter.bin"
    pickle.write_bytes(b"x")
    with pytest.raises(SourceError, match="is a pickle"):
        parse_image_prompt(str(pickle), None)


def test_parts_that_do_not_fit_are_refused(adapter: Path, tiny_pipeline: TinyPipeline) -> None:
    model = tiny_pipeline("sd15")

    def widen(tensors: dict[str, np.ndarray]) -> None:
        tensors["ip_adapter.1.to_k_ip.weight"] = np.zeros((8, 8), np.float32)

    def misname(tensors: dict[str, np.ndarray]) -> None:
        tensors["image_proj.bias"] = np.zeros(4, np.float32)

    original = adapter.read_bytes()
    with pytest.raises(SourceError, match=r"ip_adapter\.1\.to_k_ip\.weight of another width"):
        with_adapter(model, changed(adapter, widen))
    adapter.write_bytes(original)
    with pytest.raises(SourceError, match=r"'image_proj\.bias' that no IP-Adapter has"):
        with_adapter(model, changed(adapter, misname))
    adapter.write_bytes(original)
    write_image_encoder(adapter.parent / "image_encoder", projected=20)
    with pytest.raises(SourceError, match=r"reads 24 numbers of a picture, and .* gives 20"):
        with_adapter(model, adapter)


def test_options_that_name_nothing_are_refused(adapter: Path, tmp_path: Path) -> None:
    assert parse_image_prompt(f"{adapter}:0.6", None).scale == 0.6
    assert parse_image_prompt(str(adapter), None).encoder == adapter.parent / "image_encoder"
    with pytest.raises(ConfigError, match="is no scale"):
        parse_image_prompt(f"{adapter}:60", None)
    with pytest.raises(SourceError, match="holds no image encoder"):
        parse_image_prompt(str(adapter), str(tmp_path))
    with pytest.raises(ConfigError, match="is of an IP-Adapter"):
        image_prompt_choice(None, str(tmp_path))
    assert adapter.name == NAME


def test_what_a_model_has_with_an_adapter_is_summed_up(
    adapter: Path, tiny_pipeline: TinyPipeline
) -> None:
    choice = parse_image_prompt(f"{adapter}:0.6", None)
    summary = summarize(with_adapters(resolve(str(tiny_pipeline("sd15"))), (), (), choice))
    stored = {it.spec.name: it.storage_bytes for it in summary.components}
    assert stored["unet_image_projection"] == 4 * ((24 + 1) * 4 * HIDDEN + 2 * HIDDEN)
    assert stored["image_encoder"] > 4 * 3 * 56 * 56 * HIDDEN
    assert "image_encoder" not in summary.pipeline.extras
    assert summary.pipeline.adapters[-1].kind == "ip-adapter"


@pytest.mark.parametrize("size", [(224, 224), (300, 200), (64, 100), (512, 512), (225, 224)])
def test_a_picture_is_prepared_as_clip_s_processor_does(size: tuple[int, int]) -> None:
    """A level is a 255th: Pillow's releases differ by some where one of them goes down first."""
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil()
    wanted = processor(Image.fromarray(pixels), return_tensors="np").pixel_values
    found = to_clip(pixels, 224)
    assert found.shape == wanted.shape
    levels = np.abs(found - wanted) * np.array(DEVIATION)[None, :, None, None] * 255
    assert levels.max() < 0.01
