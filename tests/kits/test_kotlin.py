"""The Kotlin kit on a desktop JVM, against the Python runner: the same tokens, noise and images.

Takes a minute or two: a Kotlin compiler runs. Needs npm (or `$EDGEGEN_KOTLIN_LIB`) and Java.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.clip_tokenizer import ClipTokenizer
from edgegen_runner.pipelines.base import CORRECTIONS
from edgegen_runner.png import to_uint8
from edgegen_runner.schedulers import load_scheduler
from edgegen_runner.torch_random import TorchGenerator
from numpy.typing import NDArray

from edgegen.core.process import run
from edgegen.core.shipped import shipped
from edgegen.exporters.tflite.graph import Graph, Operator, Tensor
from edgegen.pipelines.source import resolve
from tests.conftest import TinyPipeline
from tests.kits.kotlin_compiler import compile_kotlin, kotlin_lib, libraries

pytestmark = pytest.mark.peers

KIT = shipped("targets") / "tflite" / "kit" / "src" / "main" / "kotlin" / "edgegen" / "kit"
ANDROID = {"LiteRtGraph.kt", "MainActivity.kt"}
SD15: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": SD15,
    "pndm": {**SD15, "_class_name": "PNDMScheduler", "steps_offset": 1, "clip_sample": False},
    "pndm-that-clips": {**SD15, "_class_name": "PNDMScheduler"},
    "v-prediction": {**SD15, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
    "sample": {**SD15, "prediction_type": "sample", "timestep_spacing": "linspace"},
    "linear": {**SD15, "beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
    "cosine": {**SD15, "beta_schedule": "squaredcos_cap_v2", "set_alpha_to_one": True},
}
PROMPTS = (
    "a cat and the dog in the garden",
    "  Don't   STOP, it's 42°!  ",
    "ΟΔΟΣ straße İstanbul e\u0301 日本語 \U0001f600\U0001f680",
    "<|endoftext|> inside <|startoftext|>",
    "\x1c control \u3000 space",
    "",
    "long " * 100,
)

Harness = Callable[..., bytes]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Return a function that runs one command of Harness.kt and returns the file it writes."""
    folder = tmp_path_factory.mktemp("kotlin")
    jar = folder / "kit.jar"
    sources = [path for path in sorted(KIT.glob("*.kt")) if path.name not in ANDROID]
    compile_kotlin([*sources, Path(__file__).with_name("Harness.kt")], jar)
    class_path = os.pathsep.join([str(jar), libraries(kotlin_lib())])

    def command(name: str, first: object, *more: object) -> bytes:
        output = folder / "output"
        output.unlink(missing_ok=True)
        arguments = [name, str(first), str(output), *(str(argument) for argument in more)]
        run(["java", "-cp", class_path, "edgegen.kit.HarnessKt", *arguments], timeout_s=120)
        return output.read_bytes()

    return command


def _floats(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, dtype=">f4").astype(np.float32)


@pytest.mark.parametrize("model", ["sd15", "builtin:emoji"])
def test_prompts_have_the_tokens_of_the_runner(
    model: str, harness: Harness, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = resolve(model).path if ":" in model else tiny_pipeline(model)
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(PROMPTS), encoding="ascii")
    lines = harness("tokens", folder / "tokenizer", prompts).decode().split("\n")
    tokenizer = ClipTokenizer.from_folder(folder / "tokenizer")
    for prompt, line in zip(PROMPTS, lines, strict=True):
        cut, *ids = (int(word) for word in line.split())
        encoded = tokenizer(prompt)
        assert tuple(ids) == encoded.ids, prompt
        assert (cut > 0) == bool(encoded.truncated_text), prompt


def _corrected(config: dict[str, Any]) -> dict[str, Any]:
    other = config["_class_name"] != "DDIMScheduler"
    corrections = CORRECTIONS["stable-diffusion"]
    return {**config, **{k: v for k, v in corrections.items() if k in config or not other}}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_trajectory_is_that_of_the_runner(
    name: str, steps: int, harness: Harness, tmp_path: Path
) -> None:
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(CONFIGS[name]), encoding="ascii")
    written = _floats(harness("ddim", path, steps)).reshape(-1, 65)
    scheduler = load_scheduler(_corrected(CONFIGS[name]), "ddim")
    scheduler.set_timesteps(steps)
    sample = (np.arange(64, dtype=np.float32) / 8 - 4).reshape(1, 1, 8, 8)
    for timestep, row in zip(scheduler.timesteps, written, strict=True):
        prediction = 1 - sample * np.float32(0.5)
        sample = scheduler.step(prediction, timestep, sample, TorchGenerator(0).randn)
        assert row[0] == timestep
        np.testing.assert_allclose(row[1:], sample.ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, -3])
@pytest.mark.parametrize("size", [16, 1000, 4 * 64 * 64])
def test_noise_is_that_of_torch(seed: int, size: int, harness: Harness) -> None:
    expected = TorchGenerator(seed).randn((size,))
    np.testing.assert_allclose(_floats(harness("normals", seed, size)), expected, atol=2e-6)


@pytest.fixture(scope="module")
def package(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the kit reads of a package; the networks are formulas."""
    source = tiny_pipeline("sd15")
    folder = tmp_path_factory.mktemp("package")
    for part in ("tokenizer", "scheduler"):
        shutil.copytree(source / part, folder / part)
    outputs = {"text_encoder": "last_hidden_state", "unet": "out_sample", "vae_decoder": "sample"}
    components = []
    for name, output in outputs.items():
        (folder / name).mkdir()
        (folder / name / "model.tflite").touch()
        spec = {"name": name, "outputs": [{"name": output}]}
        components.append({"path": f"{name}/model.tflite", "spec": spec})
    generation = {"width": 8, "height": 4, "latent_channels": 4, "vae_scale_factor": 1}
    manifest = {
        "schema_version": 1,
        "family": "stable-diffusion",
        "generation": {**generation, "scaling_factor": 0.18215},
        "components": components,
    }
    (folder / "edgegen.json").write_text(json.dumps(manifest), encoding="ascii")
    return folder


def test_an_image_is_drawn_as_the_runner_draws_it(harness: Harness, package: Path) -> None:
    """Guidance, order of the two passes, scaling, pixels: all around the networks."""
    data = harness("draw", package, "a cat")
    steps, size = 5, 4 * 4 * 8
    tokenizer = ClipTokenizer.from_folder(package / "tokenizer")
    states = [np.array(tokenizer(text).ids, np.float32) / 1024 for text in ("", "a cat")]
    config = json.loads((package / "scheduler" / "scheduler_config.json").read_text())
    scheduler = load_scheduler(_corrected(config), "ddim")
    scheduler.set_timesteps(steps)
    latents = TorchGenerator(7).randn((1, 4, 4, 8))
    for index, timestep in enumerate(scheduler.timesteps):
        without, with_prompt = (
            latents * np.float32(0.5)
            + np.resize(state, size).reshape(latents.shape) * np.float32(0.25)
            + np.float32(timestep / 1024)
            for state in states
        )
        prediction = without + np.float32(3) * (with_prompt - without)
        latents = scheduler.step(prediction, timestep, latents, TorchGenerator(0).randn)
        drawn = _floats(data[index * size * 4 : (index + 1) * size * 4])
        np.testing.assert_allclose(drawn, latents.ravel(), rtol=1e-4, atol=1e-4)
    image = (latents / np.float32(0.18215))[:, :3] * np.float32(0.0625)
    pixels = np.frombuffer(data[steps * size * 4 :], dtype=">u4").reshape(4, 8)
    channels = np.stack([pixels >> 16, pixels >> 8, pixels], axis=-1) & 0xFF
    assert np.ptp(channels) > 16
    assert np.abs(channels.astype(int) - to_uint8(image)[0]).max() <= 1
    assert (pixels >> 24 == 0xFF).all()


def test_a_cancelled_image_leaves_no_network_loaded(harness: Harness, package: Path) -> None:
    *events, last = harness("cancel", package).decode().split("\n")
    assert last == "2 steps"
    assert events == ["open text_encoder", "close text_encoder", "open unet", "close unet"]


def test_a_signature_is_read_as_the_runtime_reads_it(harness: Harness, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from tests.exporters.test_tflite_file import activation, add, write

    ids = Tensor(name="ids", shape=(1, 8), dtype="int64")
    x, widened = activation("x", 1, 8), activation("widened", 1, 8)
    cast = Operator(code="CAST", inputs=(ids,), outputs=(widened,))
    added, y = add(x, widened, "y")
    inputs = {"sample": x, "input_ids": ids}
    graph = Graph(name="sum", operators=(cast, added), inputs=inputs, outputs={"out": y})
    path = write(graph, tmp_path, {})
    key, *lines = harness("signature", path).decode().split("\n")
    runner = Interpreter(model_path=str(path)).get_signature_runner(key)
    details = [("input", runner.get_input_details()), ("output", runner.get_output_details())]
    expected = {
        f"{side} {name} {np.dtype(detail['dtype']).name.upper()}"
        for side, named in details
        for name, detail in named.items()
    }
    assert key == "serving_default"
    assert len(expected) == 3
    assert set(lines) == expected
