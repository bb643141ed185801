"""What a pipeline's text encoders have to be for diffusers to draw with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.models.families import TOKENIZER_CLASSES
from edgegen.models.index import INDEX_NAME, PipelineIndex
from edgegen.tokenizers import tokenizer_of

_PROJECTED = "CLIPTextModelWithProjection"


def check_text_classes(index: PipelineIndex, classes: Mapping[str, str]) -> None:
    """Refuse a text encoder whose first output is not what the pipeline takes for its states.

    A plain encoder gives the states of its tokens first, one with a projection a single vector.
    SDXL takes the latter of its last encoder. Raises SourceError.
    """
    texts = [name for name in classes if name.startswith("text_encoder")]
    for name in texts:
        wanted = _PROJECTED if name == "text_encoder_2" else "CLIPTextModel"
        if classes[name] != wanted:
            raise SourceError(
                f"{index.folder / INDEX_NAME}: the {name} is a {classes[name]}, with which a "
                f"{index.class_name} cannot draw, in diffusers neither: it takes a {wanted}.",
                hint=f"Save the pipeline with a {wanted}. One without projection can be read from "
                f"weights that have one: write CLIPTextModel in {INDEX_NAME}.",
            )


def check_text_width(unet: ComponentConfig, texts: Iterable[ComponentConfig]) -> None:
    """Refuse text encoders whose states are not as wide as the UNet takes them.

    With `encoder_hid_dim` the UNet projects them first (`encoder_hid_dim_type: "text_proj"`).
    Raises SourceError.
    """
    key = "cross_attention_dim" if unet.data.get("encoder_hid_dim") is None else "encoder_hid_dim"
    wanted = unet.data.get(key, 1280)
    given = [config.integer("hidden_size") for config in texts]
    if isinstance(wanted, int) and wanted != sum(given):
        raise SourceError(
            f"{unet.path}: '{key}' is {wanted}, the text encoders give "
            f"{' + '.join(map(str, given))}.",
            hint="Take the UNet and the text encoders from the same version of the model.",
        )


def text_length(index: PipelineIndex, text_encoder: str, config: ComponentConfig) -> int:
    """Return the tokens of a prompt: the tokenizer's limit, and never more than the positions.

    Raises SourceError where the tokenizer is missing, or is not one of CLIP's.
    """
    name = text_encoder.replace("text_encoder", "tokenizer")
    class_name = index.component(name, TOKENIZER_CLASSES)
    folder = index.folder / name
    tokenizer_of(class_name).check(folder)
    tokenizer = ComponentConfig.read(folder / "tokenizer_config.json")
    positions = config.integer("max_position_embeddings", 77)
    length = tokenizer.data.get("model_max_length")
    return min(length, positions) if type(length) is int and length > 0 else positions
