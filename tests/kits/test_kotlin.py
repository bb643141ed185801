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
from edgegen_runner.pipelines import scheduler_rules
from edgegen_runner.pipelines.scheduler import make_scheduler
from edgegen_runner.png import to_uint8
from edgegen_runner.schedulers import Scheduler
from edgegen_runner.tokenizers.clip import ClipTokenizer
from edgegen_runner.torch_random import TorchGenerator
from numpy.typing import NDArray

from edgegen.core.package import SCHEMA_VERSION
from edgegen.core.process import run
from edgegen.core.shipped import shipped
from edgegen.exporters.tflite.graph import Graph, Operator, Tensor
from edgegen.models.source import resolve
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
DPM: dict[str, Any] = {**SD15, "_class_name": "DPMSolverMultistepScheduler"}
EULER: dict[str, Any] = {**SD15, "_class_name": "EulerDiscreteScheduler"}
ROLES = {"text_encoder": "text_encoder", "unet": "denoiser", "vae_decoder": "decoder"}
INPUTS = {
    "text_encoder": ("input_ids",),
    "unet": ("sample", "timestep", "encoder_hidden_states"),
    "vae_decoder": ("latent_sample",),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "ddim": SD15,
    "ddim-v": {**SD15, "prediction_type": "v_prediction", "timestep_spacing": "trailing"},
    "ddim-sample": {**SD15, "prediction_type": "sample", "timestep_spacing": "linspace"},
    "ddim-linear": {**SD15, "beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
    "ddim-cosine": {**SD15, "beta_schedule": "squaredcos_cap_v2", "set_alpha_to_one": True},
    "ddim-zero-snr": {
        **SD15,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
    "pndm": {**SD15, "_class_name": "PNDMScheduler", "skip_prk_steps": True},
    "pndm-v": {
        **SD15,
        "_class_name": "PNDMScheduler",
        "skip_prk_steps": True,
        "prediction_type": "v_prediction",
        "timestep_spacing": "leading",
    },
    "lcm": {**SD15, "_class_name": "LCMScheduler"},
    "lcm-20": {**SD15, "_class_name": "LCMScheduler", "original_inference_steps": 20},
    "lcm-v": {**SD15, "_class_name": "LCMScheduler", "prediction_type": "v_prediction"},
    "euler": EULER,
    "euler-leading": {**EULER, "timestep_spacing": "leading"},
    "euler-trailing-v": {
        **EULER,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
    },
    "euler-karras": {**EULER, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"},
    "euler-zero-snr": {**EULER, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    "euler-ancestral": {**SD15, "_class_name": "EulerAncestralDiscreteScheduler"},
    "euler-ancestral-trailing": {
        **SD15,
        "_class_name": "EulerAncestralDiscreteScheduler",
        "timestep_spacing": "trailing",
    },
    "dpm": DPM,
    "dpm-as-saved": {**DPM, "lambda_min_clipped": float("-inf"), "trained_betas": None},
    "dpm-karras": {**DPM, "use_karras_sigmas": True},
    "dpm-sde-karras": {**DPM, "use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"},
    "dpm-sde-heun": {**DPM, "algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
    "dpm-heun-v": {**DPM, "solver_type": "heun", "prediction_type": "v_prediction"},
    "dpm-leading": {**DPM, "timestep_spacing": "leading", "lower_order_final": False},
    "dpm-trailing": {**DPM, "timestep_spacing": "trailing", "euler_at_final": True},
    "dpm-first-order": {**DPM, "solver_order": 1, "final_sigmas_type": "sigma_min"},
    "dpm-cosine": {**DPM, "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1},
}
REFUSED: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {"_class_name": "DDPMScheduler"},
    "UniPCMultistepScheduler": {"_class_name": "UniPCMultistepScheduler"},
    "HeunDiscreteScheduler": {"_class_name": "HeunDiscreteScheduler"},
    "draws with null": {},
    "thresholding=true": {**SD15, "thresholding": True},
    "Runge-Kutta": {**SD15, "_class_name": "PNDMScheduler"},
    "algorithm_type=dpmsolver": {**DPM, "algorithm_type": "dpmsolver"},
    "order 3": {**DPM, "solver_order": 3},
    "use_lu_lambdas=true": {**DPM, "use_lu_lambdas": True},
    "use_beta_sigmas=true": {**EULER, "use_beta_sigmas": True},
    "interpolation_type=log_linear": {**EULER, "interpolation_type": "log_linear"},
    "prediction_type=flow_prediction": {**DPM, "prediction_type": "flow_prediction"},
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


CONCEPTS = ("<toy>", "<toy>_1", "<toy>_2", "<Style>", "<Style>_1", "<one>")


def with_concepts(tokenizer: Path, folder: Path) -> Path:
    """Copy a tokenizer, with the tokens that `load_textual_inversion` would add to it."""
    shutil.copytree(tokenizer, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    plain = {"lstrip": False, "rstrip": False, "single_word": False}
    start, end = "<|startoftext|>", "<|endoftext|>"
    config["added_tokens_decoder"] = {
        **{
            str(vocabulary[token]): {"content": token, "normalized": True, "special": True, **plain}
            for token in (start, end)
        },
        **{
            str(len(vocabulary) + index): {
                "content": token,
                "normalized": token != "<one>",
                "special": False,
                **plain,
            }
            for index, token in enumerate(CONCEPTS)
        },
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_learned_concepts_have_the_tokens_of_the_runner(
    harness: Harness, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_concepts(tiny_pipeline("sd15") / "tokenizer", tmp_path / "tokenizer")
    texts = (
        "a <toy> on the moon",
        "<toy><toy>, <one> in <Style>; <style>",
        "<TOY> and <ONE>, <toy>_2 <|endoftext|>",
        "<toy>_1_2<toy",
    )
    (tmp_path / "prompts.json").write_text(json.dumps(texts), encoding="ascii")
    lines = harness("tokens", folder, tmp_path / "prompts.json").decode().split("\n")
    tokenizer = ClipTokenizer.from_folder(folder)
    for text, line in zip(texts, lines, strict=True):
        _, *ids = (int(word) for word in line.split())
        assert tuple(ids) == tokenizer(tokenizer.expand(text)).ids, text
    first = lines[0].split()
    vocabulary = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    assert [str(vocabulary + index) for index in range(3)] == first[3:6]


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
        encoded = tokenizer(tokenizer.expand(prompt))
        assert tuple(ids) == encoded.ids, prompt
        assert (cut > 0) == bool(encoded.truncated_text), prompt


def _made(config: dict[str, Any]) -> Scheduler:
    """Return the runner's scheduler, as a Stable Diffusion package has it."""
    return make_scheduler(
        config,
        None,
        scheduler_rules("stable-diffusion"),
        pipeline_class="StableDiffusionPipeline",
        kind="noise",
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_trajectory_is_that_of_the_runner(name: str, harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(CONFIGS[name]), encoding="ascii")
    counts = (1, 2, 7, 20)
    written = iter(_floats(harness("trajectories", path, *counts)).reshape(-1, 65))
    scheduler = _made(CONFIGS[name])
    for steps in counts:
        scheduler.set_timesteps(steps)
        deviation = np.float32(scheduler.init_noise_sigma)
        sample = (np.arange(64, dtype=np.float32) / 8 - 4).reshape(1, 1, 8, 8) * deviation
        noise = TorchGenerator(5).randn
        for timestep in scheduler.timesteps:
            prediction = 1 - scheduler.scale_model_input(sample, timestep) * np.float32(0.5)
            sample = scheduler.step(prediction, timestep, sample, noise)
            row = next(written)
            assert row[0] == pytest.approx(float(timestep), rel=1e-6)
            largest = max(1.0, float(np.abs(sample).max()))
            np.testing.assert_allclose(row[1:], sample.ravel(), rtol=1e-4, atol=2e-5 * largest)
    assert next(written, None) is None


@pytest.mark.parametrize("says", REFUSED)
def test_a_scheduler_that_the_kit_lacks_is_refused_by_name(
    says: str, harness: Harness, tmp_path: Path
) -> None:
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(REFUSED[says]), encoding="ascii")
    assert says in harness("trajectories", path, 4).decode()


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
        spec = {
            "name": name,
            "role": ROLES[name],
            "inputs": [{"name": each} for each in INPUTS[name]],
            "outputs": [{"name": output}],
        }
        components.append({"path": f"{name}/model.tflite", "spec": spec})
    generation = {"width": 8, "height": 4, "latent_channels": 4, "vae_scale_factor": 1}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "facts": {"guidance": "classifier-free", "takes_text": True, "starts": ["noise"]},
        "family": "stable-diffusion",
        "generation": {**generation, "scaling_factor": 0.18215},
        "components": components,
    }
    (folder / "edgegen.json").write_text(json.dumps(manifest), encoding="ascii")
    return folder


@pytest.mark.parametrize("name", ["pndm", "lcm-20", "euler-ancestral-trailing", "dpm-sde-karras"])
def test_an_image_is_drawn_as_the_runner_draws_it(
    name: str, harness: Harness, package: Path
) -> None:
    """Scheduler, guidance, order of the two passes, noise, pixels: all around the networks."""
    config = CONFIGS[name]
    (package / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    data = harness("draw", package, "a cat")
    size = 4 * 4 * 8
    tokenizer = ClipTokenizer.from_folder(package / "tokenizer")
    states = [np.array(tokenizer(text).ids, np.float32) / 1024 for text in ("", "a cat")]
    scheduler = _made(config)
    scheduler.set_timesteps(5)
    noise = TorchGenerator(7).randn
    latents = noise((1, 4, 4, 8)) * np.float32(scheduler.init_noise_sigma)
    for index, timestep in enumerate(scheduler.timesteps):
        without, with_prompt = (
            scheduler.scale_model_input(latents, timestep) * np.float32(0.5)
            + np.resize(state, size).reshape(latents.shape) * np.float32(0.25)
            + np.float32(timestep / 1024)
            for state in states
        )
        prediction = without + np.float32(3) * (with_prompt - without)
        latents = scheduler.step(prediction, timestep, latents, noise)
        drawn = _floats(data[index * size * 4 : (index + 1) * size * 4])
        np.testing.assert_allclose(drawn, latents.ravel(), rtol=1e-4, atol=1e-4)
    image = (latents / np.float32(0.18215))[:, :3] * np.float32(0.0625)
    pixels = np.frombuffer(data[len(scheduler.timesteps) * size * 4 :], dtype=">u4").reshape(4, 8)
    channels = np.stack([pixels >> 16, pixels >> 8, pixels], axis=-1) & 0xFF
    assert np.ptp(channels) > 16
    assert np.abs(channels.astype(int) - to_uint8(image)[0]).max() <= 1
    assert (pixels >> 24 == 0xFF).all()


def test_a_cancelled_image_leaves_no_network_loaded(harness: Harness, package: Path) -> None:
    *events, last = harness("cancel", package).decode().split("\n")
    assert last == "2 steps"
    assert events == ["open text_encoder", "close text_encoder", "open unet", "close unet"]


@pytest.mark.parametrize(("samples", "says"), [(1, None), ("batch", None), (2, "takes 2 samples")])
def test_a_denoiser_of_more_samples_than_are_fed_is_refused(
    samples: int | str, says: str | None, harness: Harness, package: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(package, tmp_path / "package"))
    manifest = json.loads((changed / "edgegen.json").read_text("ascii"))
    (unet,) = [it for it in manifest["components"] if it["spec"]["role"] == "denoiser"]
    for given in unet["spec"]["inputs"]:
        given["shape"] = [samples, 4, 4, 8]
    (changed / "edgegen.json").write_text(json.dumps(manifest), encoding="ascii")
    said = harness("opened", changed).decode()
    assert said == "" if says is None else says in said and "denoiser_batch = 1" in said


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
