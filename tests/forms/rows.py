"""Every form of what people have, and what diffusers draws with it.

A row is a form and a family. It writes its file, as the tests' own writers do, and says which model
that makes, and which pipeline of diffusers draws the picture that packages are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from edgegen.core.reading import Reading
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.adapters.image_prompt import parse_image_prompt
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from tests.adapters.writers import (
    FORMS,
    Naming,
    is_trained,
    kohya,
    kohya_of_two_encoders,
    modules_in,
    peft,
    with_component,
    write,
)
from tests.checkpoints.original import (
    original_pixart,
    original_tensors,
    read_folder,
    write_original,
)
from tests.ip_adapter.original import SIDE, write_ip_adapter
from tests.tiny_models import HIDDEN, HIDDEN_2, write_controlnet

SCALE = 0.7
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "sd15": ("unet", "text_encoder"),
    "sd21": ("unet", "text_encoder"),
    "sdxl": ("unet", "text_encoder", "text_encoder_2"),
    "pixart": ("transformer", "text_encoder"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model with a form's file, the pipeline that packages are held against, and the prompt.

    `plain` is the model without the file, where it has to draw another picture.
    """

    model: ModelFolder
    pipeline: Any
    prompt: str = "a cat and the dog"
    plain: ModelFolder | None = None


Make = Callable[[Path, Path], Made]
"""Folder of a tiny pipeline, and a folder to write to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A form of a file for a family; `family` is a key of `tests.tiny_models.FAMILIES`.

    `against` says who draws the picture that packages are compared with.
    """

    form: str
    family: str
    against: str
    make: Make

    @property
    def name(self) -> str:
        """Return what a test of it is called."""
        return f"{self.form}, {self.family}"


BY_DIFFUSERS = "diffusers' loader"
BY_PAPER = "the paper's sums, in diffusers"
BY_FOLDER = "diffusers, of the folder"


def loaded(model: Path) -> Any:
    from diffusers import DiffusionPipeline

    index = (model / "model_index.json").read_text(encoding="utf-8")
    more = {"safety_checker": None} if "safety_checker" in index else {}
    return DiffusionPipeline.from_pretrained(str(model), **more)


def _trained(model: Path, components: Sequence[str]) -> list[tuple[str, str, Any]]:
    return [
        (folder, module, weight)
        for folder in components
        for module, weight in modules_in(model / folder, is_trained).items()
    ]


def _lora(
    form: str, naming: Naming, family: str, own_loader: bool, model: Path, place: Path
) -> Made:
    """A LoRA or one of its kin, on the denoiser and the text encoders."""
    file = place / "a.safetensors"
    modules = _trained(model, COMPONENTS[family])
    sums = write(file, modules, FORMS[form], naming, scale=SCALE)
    pipeline = loaded(model)
    if own_loader:
        pipeline.load_lora_weights(str(file), adapter_name="it")
        pipeline.set_adapters("it", SCALE)
    else:
        _set(pipeline, {key: array.astype(np.float32) for key, array in sums.items()})
    plain = resolve(str(model))
    return Made(model=with_adapters(plain, [f"{file}:{SCALE}"]), pipeline=pipeline, plain=plain)


def _set(pipeline: Any, weights: Mapping[tuple[str, str], Any]) -> None:
    import torch

    for (folder, module), array in weights.items():
        state = getattr(pipeline, folder).state_dict()
        names = (f"{module}.weight", f"{module}.weight".removeprefix("text_model."))
        state[next(name for name in names if name in state)].copy_(torch.from_numpy(array))


def _peft_folder(folder: str, model: Path, place: Path) -> Made:
    """What `PeftModel.save_pretrained` leaves: a file, and its settings beside it."""
    from peft import LoraConfig, PeftModel

    modules = _trained(model, [folder])
    write(place / "adapter_model.safetensors", modules, FORMS["plain_lora"], peft)
    names = [module for _, module, _ in modules]
    LoraConfig(r=4, lora_alpha=6, target_modules=names).save_pretrained(str(place))

    pipeline = loaded(model)
    network = PeftModel.from_pretrained(getattr(pipeline, folder), str(place))
    setattr(pipeline, folder, network.merge_and_unload())
    plain = resolve(str(model))
    return Made(model=with_adapters(plain, [str(place)]), pipeline=pipeline, plain=plain)


def _word(family: str, model: Path, place: Path) -> Made:
    """A textual inversion of two vectors a text encoder."""
    import torch

    random, file = np.random.default_rng(1), place / "toy.safetensors"
    widths = {"clip_l": HIDDEN, "clip_g": HIDDEN_2}
    both = {
        key: random.standard_normal((2, width)).astype(np.float32) for key, width in widths.items()
    }
    pipeline, plain = loaded(model), resolve(str(model))
    if family == "sdxl":
        save_file(both, file)
        for key, number in (("clip_l", ""), ("clip_g", "_2")):
            pipeline.load_textual_inversion(
                torch.from_numpy(both[key]),
                token="<toy>",
                tokenizer=getattr(pipeline, f"tokenizer{number}"),
                text_encoder=getattr(pipeline, f"text_encoder{number}"),
            )
    else:
        save_file({"<toy>": both["clip_l"]}, file)
        pipeline.load_textual_inversion(str(file))
    adapted = with_adapters(plain, [], [f"{file}:<toy>"])
    return Made(model=adapted, pipeline=pipeline, prompt="a <toy> and the dog")


def _one_file(form: str, own_loader: bool, model: Path, place: Path) -> Made:
    """A checkpoint in its authors' names."""
    file = write_original(model, form, place / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(model)))
    pipeline = _from_file(file, model) if own_loader else loaded(model)
    return Made(model=found, pipeline=pipeline)


def _from_file(file: Path, model: Path) -> Any:
    """Return what diffusers' own `from_single_file` makes of a checkpoint, in float32."""
    import diffusers
    import torch

    class_name = type(loaded(model)).__name__
    pipeline = getattr(diffusers, class_name).from_single_file(
        str(file), config=str(model), local_files_only=True
    )
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for parameter in part.parameters():
                parameter.data = parameter.data.float().clone()
    return pipeline


def _pixart_file(model: Path, place: Path) -> Made:
    """PixArt's transformer alone, in its authors' names."""
    from safetensors.torch import save_file as save_tensors

    file = place / "model.safetensors"
    save_tensors(original_pixart(read_folder(model, "transformer")[1]), file)
    found = resolve(str(file), reading=Reading(config=str(model)))
    return Made(model=found, pipeline=loaded(model))


def _gguf(kind: str, form: str, model: Path, place: Path) -> Made:
    """A quantized checkpoint; diffusers reads what the package `gguf` makes of it."""
    import gguf
    from safetensors import numpy as numpy_file

    from tests.checkpoints.test_gguf import write_gguf

    tensors = {
        key: it.contiguous().numpy()
        for key, it in original_tensors(model, form).items()
        if it.is_floating_point()
    }
    file = write_gguf(place / "model.gguf", tensors, kind)
    plain = {
        it.name: gguf.quants.dequantize(it.data, it.tensor_type)
        .reshape([int(axis) for axis in reversed(it.shape)])
        .astype(np.float32)
        for it in gguf.GGUFReader(file).tensors
    }
    shapes = {key: it.shape for key, it in tensors.items()}
    dequantized = place / "dequantized.safetensors"
    numpy_file.save_file({key: it.reshape(shapes[key]) for key, it in plain.items()}, dequantized)
    found = resolve(str(file), reading=Reading(config=str(model)))
    return Made(model=found, pipeline=_from_file(dequantized, model))


def _controlnet(family: str, model: Path, place: Path) -> Made:
    """A ControlNet in a folder of its own, for a model that was saved without."""
    import diffusers

    net = write_controlnet(family, place / "net")
    xl = "XL" if family == "sdxl" else ""
    pipeline = getattr(diffusers, f"StableDiffusion{xl}ControlNetPipeline").from_pretrained(
        str(model),
        controlnet=diffusers.ControlNetModel.from_pretrained(net),
        **({} if xl else {"safety_checker": None}),
    )
    found = resolve(str(model), reading=Reading(controlnets=(str(net),)))
    return Made(model=found, pipeline=pipeline)


def _ip_adapter(kind: str, family: str, model: Path, place: Path) -> Made:
    """An IP-Adapter with its image encoder, as they are published."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    adapter = write_ip_adapter(place / "adapter", model, kind)
    pipeline = loaded(model)
    # without torchvision diffusers could not make one
    pipeline.register_modules(
        feature_extractor=CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )
    )
    pipeline.load_ip_adapter(
        str(adapter.parent.parent), subfolder=adapter.parent.name, weight_name=adapter.name
    )
    pipeline.set_ip_adapter_scale(SCALE)
    choice = parse_image_prompt(f"{adapter}:{SCALE}", None)
    return Made(model=with_adapters(resolve(str(model)), (), (), choice), pipeline=pipeline)


def _rows() -> Iterator[Row]:
    def lora(title: str, form: str, naming: Naming, *families: str, own: bool) -> Iterator[Row]:
        for family in families:
            named = kohya_of_two_encoders if naming is kohya and family == "sdxl" else naming
            yield Row(
                form=title,
                family=family,
                against=BY_DIFFUSERS if own else BY_PAPER,
                make=partial(_lora, form, named, family, own),
            )

    yield from lora("LoRA, kohya's", "lora", kohya, "sd15", "sdxl", own=True)
    yield from lora("LoRA, kohya's", "lora", kohya, "pixart", own=False)
    yield from lora("LoRA, diffusers'", "plain_lora", with_component, "sd21", own=True)
    yield Row(
        form="LoRA, PEFT's folder",
        family="pixart",
        against="PEFT",
        make=partial(_peft_folder, "transformer"),
    )
    for title, form in (
        ("LoCon with a core", "locon"),
        ("LoHa", "loha"),
        ("LoKr", "lokr"),
        ("DoRA, LyCORIS's", "dora"),
        ("DoRA, PEFT's", "peft_dora"),
        ("differences", "difference"),
    ):
        yield from lora(title, form, kohya, "sd15", own=False)
    for family in ("sd15", "sdxl"):
        yield Row(
            form="textual inversion",
            family=family,
            against=BY_DIFFUSERS,
            make=partial(_word, family),
        )
    for family, form, own in (
        *(("sd15", "1", True), ("sd21", "2", True), ("sd-inpaint", "1", True)),
        *(("lcm", "1", False), ("sdxl", "xl", True), ("sdxl-refiner", "refiner", True)),
    ):
        yield Row(
            form="one file",
            family=family,
            against=BY_DIFFUSERS if own else BY_FOLDER,
            make=partial(_one_file, form, own),
        )
    yield Row(form="one file", family="pixart-sigma", against=BY_FOLDER, make=_pixart_file)
    yield Row(
        form="GGUF, Q8_0",
        family="sd15",
        against="diffusers' loader, of the numbers that gguf reads",
        make=partial(_gguf, "Q8_0", "1"),
    )
    for family in ("sd15", "sdxl"):
        yield Row(
            form="ControlNet",
            family=family,
            against=BY_DIFFUSERS,
            make=partial(_controlnet, family),
        )
    for title, family in (("", "sd15"), ("Plus", "sdxl")):
        yield Row(
            form=f"IP-Adapter {title}".rstrip(),
            family=family,
            against=BY_DIFFUSERS,
            make=partial(_ip_adapter, title.lower() or "plain", family),
        )


ROWS: Sequence[Row] = tuple(_rows())
