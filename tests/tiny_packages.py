"""Makes packages of tiny pipelines for the runner, without the exporter.

`torch_package` writes a manifest over a diffusers folder, and `TorchBackend` runs its components
with the diffusers and transformers modules themselves: what is left to compare is the runner's own
work.
`onnx_package` writes ONNX files by hand that compute next to nothing, for tests of the runner's
process.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgegen.core.chips import load_chip
from edgegen.core.codec import decode, encode
from edgegen.core.model import Generation
from edgegen.core.package import SCHEMA_VERSION, Compiled
from edgegen.families import facts_of
from edgegen.networks import denoiser_of
from edgegen.networks.feature_cache import FEATURES, overheard
from tests.tiny_models import FAMILIES, HIDDEN, write_json, write_tokenizer

FAMILY_NAMES: Mapping[str, str] = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionInpaintPipeline": "stable-diffusion-inpaint",
    "StableDiffusionInstructPix2PixPipeline": "stable-diffusion-edit",
    "StableDiffusionUpscalePipeline": "stable-diffusion-upscale",
    "StableDiffusionLatentUpscalePipeline": "stable-diffusion-latent-upscale",
    "StableDiffusionDepth2ImgPipeline": "stable-diffusion-depth",
    "LatentConsistencyModelPipeline": "latent-consistency",
    "StableDiffusionXLPipeline": "stable-diffusion-xl",
    "StableDiffusionXLInpaintPipeline": "stable-diffusion-xl-inpaint",
    "StableDiffusionXLInstructPix2PixPipeline": "stable-diffusion-xl-edit",
    "StableDiffusionXLImg2ImgPipeline": "stable-diffusion-xl-refiner",
    "ConsistencyModelPipeline": "consistency-model",
    "DDPMPipeline": "unconditional",
    "DDIMPipeline": "unconditional",
}


def manifest(
    *,
    family: str,
    pipeline_class: str,
    generation: Mapping[str, Any],
    components: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]] = (),
    golden: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    tolerance = {
        "component_psnr_db": 90.0,
        "trajectory_psnr_db": 60.0,
        "image_psnr_db": 60.0,
    }
    value = {
        "schema_version": SCHEMA_VERSION,
        "source": {"model": "tiny", "weights_sha256": "0" * 64},
        "family": family,
        "facts": encode(facts_of(family, decode(Generation, dict(generation), source="test"))),
        "pipeline_class": pipeline_class,
        "generation": dict(generation),
        "components": list(components),
        "target": "onnx",
        "recipe": {
            "name": "fp32",
            "description": "Everything in float32.",
            "storage": "float32",
            "compute": "float32",
            "tolerance": tolerance,
        },
        "operators": "contrib",
        "shapes": "dynamic",
        "operator_sets": {"": 18},
        "toolkits": {},
        "files": list(files),
    }
    return value if golden is None else {**value, "golden": dict(golden)}


def tensor(name: str, *shape: int | str, dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def packaged(
    name: str, path: str, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    roles = {
        "unet": "denoiser",
        "unet_shallow": "shallow_denoiser",
        "vae_decoder": "decoder",
        "vae_encoder": "encoder",
    }
    spec = {
        "name": name,
        "role": roles.get(name, "text_encoder"),
        "folder": name.split("_")[0] if name.startswith("vae") else name,
        "class_name": "Any",
        "inputs": list(inputs),
        "outputs": list(outputs),
        "parameters": 0,
    }
    return {"spec": spec, "path": path, "storage_bytes": 0}


_OWN_FACTS: Mapping[str, Mapping[str, Any]] = {
    "sd-edit": {"image_guidance": 1.5},
    "sdxl-edit": {"image_guidance": 1.5},
    "consistency": {"classes": 10},
    "sd-upscale": {"noise_level": 20, "most_noise_level": 350, "scaling_factor": 0.08333},
}
"""What the loops of these tiny pipelines have to know besides."""


def torch_package(tiny_family: str, source: Path, folder: Path, *, cached: bool = False) -> Path:
    """Copy a tiny pipeline's configs to `folder` and write a manifest that TorchBackend serves.

    With `cached` there is a graph for the steps that begin with features of one before.
    """
    recipe = FAMILIES[tiny_family]
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = recipe.settings
    channels = recipe.unet["in_channels"]
    unconditional = recipe.vae is None
    refiner = bool(settings.get("requires_aesthetics_score"))
    generation = {
        "width": 16 if unconditional else 32,
        "height": 16 if unconditional else 32,
        "latent_channels": 3 if unconditional else 4,
        "vae_scale_factor": 1 if unconditional else 2,
        "scaling_factor": {"AutoencoderKL": 0.18215, "AutoencoderTiny": 1.0}.get(
            str(recipe.vae), 1.0
        ),
        "steps": 4,
        "guidance": 7.5,
        "force_zeros_for_empty_prompt": bool(settings.get("force_zeros_for_empty_prompt")),
        "requires_aesthetics_score": refiner,
        "text_length": 77,
    }
    generation |= _OWN_FACTS.get(tiny_family, {})
    if "time_cond_proj_dim" in recipe.unet and tiny_family != "sd-latent-upscale":
        generation["guidance_embedding_dim"] = recipe.unet["time_cond_proj_dim"]
    size = ("height / 2", "width / 2")
    unet = [tensor("sample", "batch", channels, *size), tensor("timestep")]
    components = []
    for name, settings_of, layers in (
        ("text_encoder", recipe.text_encoder, 2),
        ("text_encoder_2", recipe.text_encoder_2, 3),
    ):
        if settings_of is None:
            continue
        outputs = [tensor("last_hidden_state"), tensor("pooler_output")]
        if name == "text_encoder_2":
            outputs[1] = tensor("text_embeds")
        outputs += [tensor(f"hidden_states.{i}") for i in range(layers + 1)]
        ids = tensor("input_ids", "batch", "sequence", dtype="int64")
        components.append(packaged(name, "model_index.json", [ids], outputs))
    if not unconditional:
        unet.append(tensor("encoder_hidden_states", "batch", "sequence", HIDDEN))
    if recipe.unet.get("addition_embed_type"):
        unet += [tensor("text_embeds"), tensor("time_ids")]
    if "guidance_embedding_dim" in generation:
        unet.append(tensor("timestep_cond"))
    if tiny_family == "sd-latent-upscale":
        unet.append(tensor("timestep_cond"))
    if recipe.unet.get("num_class_embeds"):
        unet.append(tensor("class_labels", "batch", dtype="int64"))
    predicted = [tensor("out_sample")]
    if cached:
        given = [
            it for it in unet if it["name"] != "encoder_hidden_states" or "xl" not in tiny_family
        ]
        shallow = packaged(
            "unet_shallow", "model_index.json", [*given, tensor(FEATURES)], [*predicted]
        )
        predicted.append(tensor(FEATURES))
    components.append(packaged("unet", "model_index.json", unet, predicted))
    if cached:
        components.append(shallow)
    if not unconditional:
        encoded = "latent_parameters" if recipe.vae == "AutoencoderKL" else "latent_sample"
        latents = tensor("latent_sample", "batch", 4, *size)
        pixels = tensor("sample", "batch", 3, "height", "width")
        components.append(packaged("vae_decoder", "model_index.json", [latents], [pixels]))
        components.append(packaged("vae_encoder", "model_index.json", [pixels], [tensor(encoded)]))
    value = manifest(
        family=FAMILY_NAMES[recipe.pipeline],
        pipeline_class=recipe.pipeline,
        generation=generation,
        components=components,
    )
    write_json(folder / "edgegen.json", value)
    return folder


class TorchBackend:
    """Runs the components of a diffusers pipeline with its own modules."""

    name = "torch"
    version = "0"
    available_providers = ("torch",)
    arithmetic_gaps: Mapping[str, str] = MappingProxyType({})

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.loaded: list[str] = []

    def load(self, path: Path, component: Any) -> TorchSession:
        self.loaded.append(component.name)
        return TorchSession(self.pipeline, component)


class TorchSession:
    providers = ("torch",)
    arithmetic = "float32"

    def __init__(self, pipeline: Any, component: Any) -> None:
        self.pipeline, self.component = pipeline, component

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        import torch

        given = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        with torch.no_grad():
            values = getattr(self, "_" + self.component.name)(given)
        named = dict(zip(self.component.outputs, values, strict=True))
        return {name: named[name].numpy() for name in outputs or named}

    def close(self) -> None:
        pass

    def _text_encoder(self, given: Mapping[str, Any]) -> list[Any]:
        encoder = self.pipeline.text_encoder
        found = encoder(given["input_ids"], output_hidden_states=True)
        return [found.last_hidden_state, found.pooler_output, *found.hidden_states]

    def _text_encoder_2(self, given: Mapping[str, Any]) -> list[Any]:
        encoder = self.pipeline.text_encoder_2
        found = encoder(given["input_ids"], output_hidden_states=True)
        return [found.last_hidden_state, found.text_embeds, *found.hidden_states]

    def _unet(self, given: Mapping[str, Any]) -> list[Any]:
        arguments = dict(given)
        sample, timestep = arguments.pop("sample"), arguments.pop("timestep")
        added = {key: arguments.pop(key) for key in ("text_embeds", "time_ids") if key in given}
        if added:
            arguments["added_cond_kwargs"] = added
        with overheard(self.pipeline.unet) as heard:
            found = self.pipeline.unet(sample, timestep, return_dict=False, **arguments)[0]
        return [found, *([heard[FEATURES]] if FEATURES in self.component.outputs else [])]

    def _unet_shallow(self, given: Mapping[str, Any]) -> list[Any]:
        network = denoiser_of(type(self.pipeline.unet).__name__)
        assert network.caching is not None
        return [network.caching.part.forward(self.pipeline.unet, given)["out_sample"]]

    def _vae_decoder(self, given: Mapping[str, Any]) -> list[Any]:
        return [self.pipeline.vae.decode(given["latent_sample"], return_dict=False)[0]]

    def _vae_encoder(self, given: Mapping[str, Any]) -> list[Any]:
        encoded = self.pipeline.vae.encode(given["sample"])
        if hasattr(encoded, "latents"):
            return [encoded.latents]
        return [encoded.latent_dist.parameters]


def onnx_package(folder: Path, *, width: int = 32) -> Path:
    """Write a package whose text encoder, UNet and decoder compute next to nothing."""
    import onnx
    from onnx import TensorProto, helper

    def save(name: str, graph: Any) -> None:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (folder / name).mkdir(parents=True)
        onnx.save_model(model, str(folder / name / "model.onnx"))

    def value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    table = np.linspace(-1, 1, 600 * 8, dtype=np.float32).reshape(600, 8)
    save(
        "text_encoder",
        helper.make_graph(
            [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
            "text_encoder",
            [value("input_ids", ["b", "s"], TensorProto.INT64)],
            [value("last_hidden_state", ["b", "s", 8])],
            [onnx.numpy_helper.from_array(table, "table")],
        ),
    )
    zero = onnx.numpy_helper.from_array(np.array(0.001, dtype=np.float32), "small")
    axes = onnx.numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes")
    ends = onnx.numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "last_axes")
    save(
        "unet",
        helper.make_graph(
            [
                helper.make_node("ReduceMean", ["encoder_hidden_states"], ["mean"], axes=[1, 2]),
                helper.make_node("Unsqueeze", ["mean0", "last_axes"], ["text"]),
                helper.make_node("Reshape", ["mean", "rows"], ["mean0"]),
                helper.make_node("Mul", ["timestep", "small"], ["time"]),
                helper.make_node("Add", ["sample", "text"], ["sum"]),
                helper.make_node("Sub", ["sum", "time"], ["shifted"]),
                helper.make_node("Tanh", ["shifted"], ["out_sample"]),
            ],
            "unet",
            [
                value("sample", ["b", 4, "h", "w"]),
                value("timestep", []),
                value("encoder_hidden_states", ["b", "s", 8]),
            ],
            [value("out_sample", ["b", 4, "h", "w"])],
            [
                zero,
                axes,
                ends,
                onnx.numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "rows"),
            ],
        ),
    )
    weights = np.linspace(-0.4, 0.5, 3 * 4, dtype=np.float32).reshape(3, 4, 1, 1)
    scales = np.array([1, 1, 2, 2], dtype=np.float32)
    save(
        "vae_decoder",
        helper.make_graph(
            [
                helper.make_node("Conv", ["latent_sample", "weights"], ["colours"]),
                helper.make_node("Resize", ["colours", "", "scales"], ["sample"], mode="nearest"),
            ],
            "vae_decoder",
            [value("latent_sample", ["b", 4, "h", "w"])],
            [value("sample", ["b", 3, "h2", "w2"])],
            [
                onnx.numpy_helper.from_array(weights, "weights"),
                onnx.numpy_helper.from_array(scales, "scales"),
            ],
        ),
    )
    write_tokenizer(folder / "tokenizer")
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "DDIMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
    )
    size = ("height / 2", "width / 2")
    ids = tensor("input_ids", "batch", "sequence", dtype="int64")
    states = tensor("last_hidden_state", "batch", "sequence", 8)
    components = [
        packaged("text_encoder", "text_encoder/model.onnx", [ids], [states]),
        packaged(
            "unet",
            "unet/model.onnx",
            [
                tensor("sample", "batch", 4, *size),
                tensor("timestep"),
                tensor("encoder_hidden_states", "batch", "sequence", 8),
            ],
            [tensor("out_sample", "batch", 4, *size)],
        ),
        packaged(
            "vae_decoder",
            "vae_decoder/model.onnx",
            [tensor("latent_sample", "batch", 4, *size)],
            [tensor("sample", "batch", 3, "height", "width")],
        ),
    ]
    generation = {
        "width": width,
        "height": width,
        "latent_channels": 4,
        "vae_scale_factor": 2,
        "scaling_factor": 0.5,
        "steps": 3,
        "guidance": 3.0,
        "text_length": 77,
    }
    files = [
        {
            "path": path.relative_to(folder).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    value_ = manifest(
        family="stable-diffusion",
        pipeline_class="StableDiffusionPipeline",
        generation=generation,
        components=components,
        files=files,
    )
    write_json(folder / "edgegen.json", value_)
    return folder


COMPILED = Compiled(
    chip="snapdragon-8-gen-3",
    part="SM8650",
    architecture=75,
    soc_model=57,
    vtcm_bytes=8 << 20,
    compiler="onnxruntime-qnn 2.7.0",
    sdk="v2.51",
)
"""What a manifest says of contexts for one chip."""


def for_chips(package: Path, *names: str) -> Path:
    """Lay a package out as if it had been compiled for several chips; the graphs stay as they are.

    Its manifest says that two nodes of the UNet stayed on the first chip's processor.
    """
    manifest = json.loads((package / "edgegen.json").read_text(encoding="utf-8"))
    for component in manifest["components"]:
        graph = package / component["path"]
        for name in names:
            (graph.parent / name).mkdir()
            shutil.copy(graph, graph.parent / name)
        graph.unlink()
    files = [
        path.relative_to(package).as_posix()
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.name != "edgegen.json"
    ]
    compiled = [
        {
            "chip": chip.name,
            "part": chip.parts[0],
            "architecture": chip.architecture,
            "soc_model": chip.soc_model,
            "vtcm_bytes": chip.vtcm_mb << 20,
            "compiler": "onnxruntime-qnn 2.7.0",
            "sdk": "v2.51",
            "folder": chip.name,
            "on_processor": {"unet": 2} if number == 0 else {},
        }
        for number, chip in enumerate(map(load_chip, names))
    ]
    change_manifest(package, compiled=compiled, files=[_listed(package, it) for it in files])
    return package


def _listed(package: Path, path: str) -> dict[str, Any]:
    data = (package / path).read_bytes()
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def change_manifest(folder: Path, **changes: Any) -> None:
    """Replace top-level keys of a package's manifest."""
    path = folder / "edgegen.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})
