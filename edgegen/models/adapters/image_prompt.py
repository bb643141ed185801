"""Puts an IP-Adapter into a model: its UNet's config, and the image encoder beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgegen.core.codec import encode, load_python_json_object
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.files import sha256_of
from edgegen.core.model import PipelineSpec
from edgegen.families import family_of
from edgegen.models.adapters.adapter_file import find_file
from edgegen.models.adapters.applied import IMAGE_ENCODER, AppliedImagePrompt, Placed
from edgegen.models.adapters.image_prompt_file import ImagePromptFile
from edgegen.models.index import INDEX_NAME
from edgegen.models.weight_source import PipelineSource, StoredWeights
from edgegen.networks import network_of
from edgegen.networks.base import ImageEncoder
from edgegen.networks.image_prompt import KEY, PROJECTION, ImagePrompt

_LARGEST_SCALE = 10.0
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePromptChoice:
    """An IP-Adapter that is wanted, how strongly, and where its image encoder lies."""

    file: Path
    encoder: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """An IP-Adapter that was put into a model: the files that it changes there, and links."""

    applied: AppliedImagePrompt | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)


NO_IMAGE_PROMPT = Prompted()


def image_prompt_choice(text: str | None, encoder: str | None) -> ImagePromptChoice | None:
    """Return what `--ip-adapter` and `--image-encoder` name, None without either.

    Raises what `parse_image_prompt` raises, and ConfigError for an encoder without an adapter.
    """
    if text is not None:
        return parse_image_prompt(text, encoder)
    if encoder is not None:
        raise ConfigError(
            "--image-encoder is of an IP-Adapter, and none is given.",
            hint="Add --ip-adapter FILE.",
        )
    return None


def parse_image_prompt(text: str, encoder: str | None) -> ImagePromptChoice:
    """Return what `FILE` or `FILE:0.6` names, and the encoder's folder.

    That is beside the file or beside its folder, as authors publish them, unless it is given.
    Raises ConfigError for a scale that is none, SourceError for what isn't there.
    """
    name, colon, number = text.rpartition(":")
    scale = 1.0
    if colon and name and not Path(text).expanduser().exists():
        try:
            scale = float(number)
        except ValueError:
            name = text
        if not abs(scale) <= _LARGEST_SCALE:
            raise ConfigError(
                f"--ip-adapter {text}: {number} is no scale.",
                hint="1 adds it as it was trained: FILE:0.6",
            )
    else:
        name = text
    file = find_file(name)
    places = (
        [Path(encoder).expanduser()]
        if encoder is not None
        else [file.parent / IMAGE_ENCODER, file.parent.parent / IMAGE_ENCODER]
    )
    for place in places:
        if (place / _CONFIG).is_file():
            return ImagePromptChoice(file=file, encoder=place.absolute(), scale=scale)
    raise SourceError(
        f"{places[0]} holds no image encoder: it has no {_CONFIG}.",
        hint="Give the folder of the CLIP model that goes with it: --image-encoder FOLDER.",
    )


def prompt_with(
    choice: ImagePromptChoice, spec: PipelineSpec, model: Path, source: PipelineSource
) -> Prompted:
    """Return what an IP-Adapter adds to a model. All is checked on headers.

    Raises SourceError where the adapter, its image encoder and the model don't fit one another.
    """
    slots = [slot for slot in family_of(spec.family).slots if slot.shows_pictures]
    if not slots:
        raise SourceError(
            f"An IP-Adapter does not go with a model of the family {spec.family}.",
            hint="It goes with Stable Diffusion 1.5 and Stable Diffusion XL.",
        )
    denoiser = next(it for it in spec.components if it.role == "denoiser")
    config = ComponentConfig.of_network(model / denoiser.folder / _CONFIG)
    file = ImagePromptFile.open(choice.file)
    weights = source.weights(denoiser.folder, denoiser.variant)
    placed = file.placed(weights.entries, spec.source)
    _check_shapes(file, placed, config, weights)
    (class_name,) = slots[0].classes
    prompt = replace(_fitted(file, choice.encoder, class_name), scale=choice.scale)
    index = load_python_json_object(model / INDEX_NAME)
    index[IMAGE_ENCODER] = [network_of(class_name).library, class_name]
    applied = AppliedImagePrompt(
        file=str(choice.file),
        sha256=sha256_of(choice.file),
        scale=choice.scale,
        folder=denoiser.folder,
        tensors=placed,
    )
    return Prompted(
        applied=applied,
        files={
            INDEX_NAME: _json(index),
            f"{denoiser.folder}/{_CONFIG}": _json({**config.data, KEY: encode(prompt)}),
            f"{IMAGE_ENCODER}/{_CONFIG}": _json(load_python_json_object(choice.encoder / _CONFIG)),
        },
        links={f"{IMAGE_ENCODER}/{it.name}": it for it in sorted(_files(choice.encoder))},
    )


def _check_shapes(
    file: ImagePromptFile,
    placed: Mapping[str, Placed],
    config: ComponentConfig,
    weights: StoredWeights,
) -> None:
    """Refuse an adapter whose matrices are not as wide as the UNet's. Raises SourceError."""
    width = config.data.get("cross_attention_dim", 1280)
    if config.data.get("encoder_hid_dim") is not None or not isinstance(width, int):
        raise SourceError(
            f"{config.path}: this UNet projects its text, or reads several, and takes no "
            "IP-Adapter.",
            hint="It goes with Stable Diffusion 1.5 and Stable Diffusion XL.",
        )
    wrong = None if file.prompt.width == width else "its tokens"
    for name, it in placed.items():
        if name.startswith(PROJECTION):
            continue
        own = weights.entries[name.partition("processor.")[0] + "to_k.weight"].shape
        if file.shape(it) != own:
            wrong = it.key
    if wrong is not None:
        raise SourceError(
            f"{file.path} does not fit {config.path}: {wrong} of another width than the UNet's.",
            hint="Those of Stable Diffusion 1.5 and XL differ.",
        )


def _fitted(file: ImagePromptFile, folder: Path, class_name: str) -> ImagePrompt:
    """Return what the adapter adds with an image encoder. Raises SourceError where they differ."""
    network = network_of(class_name)
    assert isinstance(network, ImageEncoder)
    config = ComponentConfig.of_network(folder / _CONFIG)
    prompt = file.prompt
    own = network.patch_width(config) if prompt.reads_patches else network.width(config)
    if own != prompt.features:
        raise SourceError(
            f"{file.path} reads {prompt.features} numbers of a picture, and {folder} gives {own}.",
            hint="Take the image encoder that was published with the adapter: ViT-H and ViT-bigG "
            "differ.",
        )
    return replace(prompt, tokens=network.patches(config)) if prompt.tokens == 0 else prompt


def _files(folder: Path) -> list[Path]:
    """Return the files of an image encoder's weights."""
    kinds = (".safetensors", ".safetensors.index.json")
    return [it for it in folder.iterdir() if it.is_file() and it.name.endswith(kinds)]


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=2) + "\n"
