"""What a file is, found from its keys and shapes; what of it is which network.

| prefix of keys | what it is |
|---|---|
| `model.diffusion_model.` | the UNet, or a transformer |
| `first_stage_model.`, `vae.` | the autoencoder |
| `cond_stage_model.transformer.` | CLIP's text encoder: Stable Diffusion 1 |
| `cond_stage_model.model.` | open_clip's: Stable Diffusion 2 |
| `conditioner.embedders.0.transformer.`, `conditioner.embedders.1.model.` | SDXL's two |
| `conditioner.embedders.0.model.` | the one of SDXL's refiner |
| `model_ema.`, `betas`, `global_step`, … | what training and sampling keep; left out, and said |
| none, `input_blocks.0.0.weight` | a UNet alone |

Every other key is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgegen.checkpoints.base import Naming, Reader, Shapes, Taken, as_named, listed
from edgegen.checkpoints.clip import read_clip, read_open_clip, read_open_clip_penultimate
from edgegen.checkpoints.controlnet import PREFIX, is_controlnet, read_controlnet
from edgegen.checkpoints.kinds import NAMES, Kind, kind_of
from edgegen.checkpoints.parts import DENOISER_PREFIX, VAE_PREFIXES, refuse_unknown, sorted_keys
from edgegen.checkpoints.pixart import read_pixart
from edgegen.checkpoints.prediction import Prediction, prediction_of
from edgegen.checkpoints.refused import refuse_others
from edgegen.checkpoints.unet import read_unet
from edgegen.checkpoints.vae import is_vae, read_vae
from edgegen.core.errors import SourceError

UNET, VAE, TRANSFORMER = "unet", "vae", "transformer"
CONTROLNET = "controlnet"
"""A network that lies in a file of its own, as an autoencoder may."""
UNET_CLASS, AUTOENCODER, PIXART = (
    "UNet2DConditionModel",
    "AutoencoderKL",
    "PixArtTransformer2DModel",
)
_INPAINT_CHANNELS = 9
_READERS: Mapping[str, Reader] = {
    "clip": read_clip,
    "open-clip": read_open_clip,
    "open-clip-penultimate": read_open_clip_penultimate,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A network of the file, or one whose config is known and whose weights are elsewhere.

    `config` is None where the file's shapes don't tell it.
    """

    class_name: str
    library: str
    config: Mapping[str, Any] | None
    parameters: Mapping[str, Taken]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file is: `title` for people, its networks, and what a pipeline of them needs.

    `index` is its `model_index.json`, `scheduler` the scheduler's config; both are empty where
    only a folder can tell. `tokenizers` have the token that pads, by folder. `left_out` counts the
    tensors that no network of the pipeline has. `vae` is what the autoencoders of its kind share.
    """

    title: str
    components: Mapping[str, Component]
    left_out: Mapping[str, int]
    index: Mapping[str, Any] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    prediction: Prediction | None = None
    vae: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What decides where shapes don't: what the user says, the file's metadata, its step."""

    prediction: str | None = None
    metadata: Mapping[str, str]
    global_step: int | None = None


def read_checkpoint(shapes: Shapes, said: Said, *, where: str) -> Checkpoint:
    """Find out what a file is, and map its names; `where` is what errors call it.

    Raises SourceError for a file of another kind, for keys that match nothing, and for networks
    that diffusers has no class for.
    """
    parts, left_out = sorted_keys(shapes, where)
    denoiser = parts.pop(DENOISER_PREFIX, {})
    if "input_blocks.0.0.weight" not in denoiser:
        return _of_one_network(denoiser, parts, left_out, where)
    kind = _kind(parts)
    naming, found = read_unet(denoiser)
    unknown = [_in_file(shapes, key) for key in naming.unknown]
    components: dict[str, Component] = {}
    for folder, text in ({} if kind is None else kind.text_encoders).items():
        inner = parts.pop(text.prefix)
        named, told = _READERS[text.reader](inner)
        unknown += [text.prefix + key for key in named.unknown]
        components[folder] = Component(
            class_name=text.class_name,
            library="transformers",
            config={**text.config, **told, "architectures": [text.class_name]},
            parameters=named.prefixed(text.prefix),
        )
    prediction = prediction_of(_sizes(kind), said, "v_pred" in shapes)
    components[UNET] = _unet(kind, naming, found, components, prediction, shapes)
    for prefix in VAE_PREFIXES:
        if inner := parts.pop(prefix, {}):
            named, told = read_vae(inner)
            unknown += [prefix + key for key in named.unknown]
            components[VAE] = Component(
                class_name=AUTOENCODER,
                library="diffusers",
                config={**({} if kind is None else kind.vae), **told},
                parameters=named.prefixed(prefix),
            )
    unknown += [prefix + key for prefix, inner in parts.items() for key in inner]
    refuse_unknown(unknown, where)
    if kind is None:
        return Checkpoint(title="a UNet", components=components, left_out=left_out)
    return _whole(kind, components, left_out, prediction, zero_snr="ztsnr" in shapes)


def read_vae_file(shapes: Shapes, *, where: str) -> Component:
    """Map an autoencoder that lies in a file of its own; its config says what shapes tell.

    Raises SourceError where it is none.
    """
    prefix = next((it for it in VAE_PREFIXES if any(key.startswith(it) for key in shapes)), "")
    inner = {key.removeprefix(prefix): it for key, it in shapes.items() if key.startswith(prefix)}
    inner = {key: it for key, it in inner.items() if not key.startswith("loss.")}
    inner = {key: it for key, it in inner.items() if key not in ("global_step", "epoch")}
    if not is_vae(inner):
        refuse_others(shapes, where)
        raise SourceError(
            f"{where} is no autoencoder that edgegen knows: it has {listed(shapes)}.",
            hint="Give the file of a VAE with both halves, or its diffusers folder.",
        )
    naming, config = read_vae(inner)
    refuse_unknown(naming.unknown, where)
    return Component(
        class_name="AutoencoderKL",
        library="diffusers",
        config=config,
        parameters=naming.prefixed(prefix),
    )


def read_controlnet_file(shapes: Shapes, *, where: str) -> Component:
    """Map a ControlNet that lies in a file of its own; its config says what shapes tell.

    Raises SourceError where it is none.
    """
    if not is_controlnet(shapes):
        if not any(key.startswith(PREFIX) for key in shapes):
            refuse_others(shapes, where)
        raise SourceError(
            f"{where} is no ControlNet that edgegen knows: it has {listed(shapes)}.",
            hint="Give the file of a whole ControlNet, or its diffusers folder.",
        )
    prefix = PREFIX if any(key.startswith(PREFIX) for key in shapes) else ""
    inner = {key.removeprefix(prefix): it for key, it in shapes.items() if key.startswith(prefix)}
    naming, config = read_controlnet(inner)
    refuse_unknown(naming.unknown, where)
    return Component(
        class_name="ControlNetModel",
        library="diffusers",
        config=config,
        parameters=naming.prefixed(prefix),
    )


def _kind(parts: Mapping[str, Any]) -> Kind | None:
    kinds = map(kind_of, NAMES)
    return next(
        (it for it in kinds if all(t.prefix in parts for t in it.text_encoders.values())), None
    )


def _sizes(kind: Kind | None) -> Mapping[str, int]:
    return {} if kind is None else kind.sample_sizes


def _in_file(shapes: Shapes, key: str) -> str:
    return key if key in shapes else DENOISER_PREFIX + key


def _unet(
    kind: Kind | None,
    naming: Naming,
    found: Mapping[str, Any],
    texts: Mapping[str, Component],
    prediction: Prediction,
    shapes: Shapes,
) -> Component:
    config = dict(found)
    if kind is not None:
        config = {**kind.unet, **found, "sample_size": kind.sample_sizes[prediction.type]}
        projected = [it.config["projection_dim"] for it in texts.values() if it.config]
        together = found.get("projection_class_embeddings_input_dim")
        if kind.time_ids is not None and together is not None:
            config["addition_time_embed_dim"] = max(1, (together - projected[-1]) // kind.time_ids)
    return Component(
        class_name=UNET_CLASS,
        library="diffusers",
        config=config,
        parameters={
            name: replace(it, key=_in_file(shapes, it.key)) for name, it in naming.found.items()
        },
    )


def _of_one_network(
    denoiser: Shapes, parts: Mapping[str, Shapes], left_out: Mapping[str, int], where: str
) -> Checkpoint:
    """Read a file with a transformer, or with a UNet in diffusers' own names.

    Raises SourceError where it has neither.
    """
    keys = set(denoiser)
    components = {}
    if {"x_embedder.proj.weight", "y_embedder.y_proj.fc1.weight"} <= keys:
        naming, _ = read_pixart(denoiser)
        title, folder, class_name = "PixArt's transformer", TRANSFORMER, PIXART
    elif {"adaln_single.linear.weight", "caption_projection.linear_1.weight"} <= keys:
        naming, title, folder, class_name = as_named(denoiser), "a transformer", TRANSFORMER, PIXART
    elif {"conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight"} <= keys:
        naming, title, folder, class_name = as_named(denoiser), "a UNet", UNET, UNET_CLASS
    else:
        raise _nothing(denoiser, parts, where)
    refuse_unknown([*naming.unknown, *(p + key for p, it in parts.items() for key in it)], where)
    components[folder] = Component(
        class_name=class_name, library="diffusers", config=None, parameters=naming.found
    )
    return Checkpoint(title=title, components=components, left_out=left_out)


def _nothing(denoiser: Shapes, parts: Mapping[str, Shapes], where: str) -> SourceError:
    if is_vae(denoiser) or set(parts) & set(VAE_PREFIXES):
        return SourceError(
            f"{where} is an autoencoder, and a picture wants a UNet and a text encoder, too.",
            hint="Give the model, and this file with --vae.",
        )
    return SourceError(
        f"{where} holds no UNet and no transformer that edgegen knows; it has "
        f"{listed(denoiser) or listed(p + key for p, it in parts.items() for key in it)}.",
        hint="Give a checkpoint of Stable Diffusion 1, 2, XL or its refiner, a transformer of "
        "PixArt, or the folder of a model in diffusers' layout.",
    )


def _whole(
    kind: Kind,
    components: Mapping[str, Component],
    left_out: Mapping[str, int],
    prediction: Prediction,
    *,
    zero_snr: bool,
) -> Checkpoint:
    unet = components[UNET].config or {}
    pipeline, title = kind.pipelines.text, kind.title
    scheduler, options = kind.scheduler
    if unet["in_channels"] == _INPAINT_CHANNELS and kind.pipelines.inpaint is not None:
        pipeline, title = kind.pipelines.inpaint, f"{title}, inpainting"
    elif "time_cond_proj_dim" in unet and kind.pipelines.guided is not None:
        pipeline, title = kind.pipelines.guided, f"{title}, latent consistency"
        scheduler, options = kind.guided_scheduler or kind.scheduler
    index: dict[str, Any] = {"_class_name": pipeline, **kind.settings}
    for folder, text in kind.text_encoders.items():
        index[folder] = ["transformers", text.class_name]
        index[text.tokenizer] = ["transformers", "CLIPTokenizer"]
    index |= {
        UNET: ["diffusers", UNET_CLASS],
        VAE: ["diffusers", AUTOENCODER],
        "scheduler": ["diffusers", scheduler],
    }
    said: dict[str, Any] = {"prediction_type": prediction.type}
    if zero_snr:
        said |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return Checkpoint(
        title=title,
        components=components,
        left_out=left_out,
        index=index,
        scheduler={"_class_name": scheduler, **options, **said},
        tokenizers={it.tokenizer: it.pad_token for it in kind.text_encoders.values()},
        prediction=prediction,
        vae={"_class_name": AUTOENCODER, **kind.vae},
    )
