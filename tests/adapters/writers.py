"""Writes adapter files as kohya's trainer, LyCORIS, diffusers and PEFT lay them out.

Each form makes random tensors for one weight, and says in float64 what that weight becomes: the
formulas are those of the papers, with the kernel of a convolution written out. Each way to name
them takes a component and the path of a module in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

Array = NDArray[Any]
Tensors = dict[str, Array]
Form = Callable[[Array, np.random.Generator, float], tuple[Tensors, Array]]
"""Weight, source of numbers and scale → tensors by their part's name, and the new weight."""

RANK, ALPHA = 4, 2.0
SIZE = 0.3


def _random(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (SIZE * random.standard_normal(shape)).astype(np.float32)


def _low_rank(weight: Array, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return down, up, and up · down in float64, of a linear layer or a convolution."""
    outputs, inputs, *kernel = weight.shape
    down = _random(random, RANK, inputs, *kernel)
    up = _random(random, outputs, RANK, *[1] * len(kernel))
    delta = np.einsum("or,r...->o...", up.reshape(outputs, RANK).astype(float), down.astype(float))
    return down, up, delta


def lora(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    down, up, delta = _low_rank(weight, random)
    parts = {"lora_down.weight": down, "lora_up.weight": up, "alpha": np.float32(ALPHA)}
    return parts, weight + scale * ALPHA / RANK * delta


def plain_lora(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """A LoRA without an alpha: it is added as it is."""
    down, up, delta = _low_rank(weight, random)
    return {"lora_A.weight": down, "lora_B.weight": up}, weight + scale * delta


def locon(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """A convolution whose kernel is a core between two matrices."""
    outputs, inputs, *kernel = weight.shape
    if not kernel:
        return lora(weight, random, scale)
    down, up = _random(random, RANK, inputs, 1, 1), _random(random, outputs, RANK, 1, 1)
    mid = _random(random, RANK, RANK, *kernel)
    delta = np.einsum("oa,ab...,bi->oi...", up[:, :, 0, 0], mid, down[:, :, 0, 0], dtype=float)
    parts = {
        "lora_down.weight": down,
        "lora_mid.weight": mid,
        "lora_up.weight": up,
        "alpha": np.float32(ALPHA),
    }
    return parts, weight + scale * ALPHA / RANK * delta


def loha(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """Hadamard product of two low ranks; of a kernel with cores (Tucker's form)."""
    outputs, inputs, *kernel = weight.shape
    parts: Tensors = {"alpha": np.float32(ALPHA)}
    halves = []
    for side in "12":
        if kernel and kernel != [1, 1]:
            core = parts[f"hada_t{side}"] = _random(random, RANK, RANK, *kernel)
            a = parts[f"hada_w{side}_a"] = _random(random, RANK, outputs)
            b = parts[f"hada_w{side}_b"] = _random(random, RANK, inputs)
            halves.append(np.einsum("ab...,ao,bi->oi...", core, a, b, dtype=float))
        else:
            a = parts[f"hada_w{side}_a"] = _random(random, outputs, RANK)
            b = parts[f"hada_w{side}_b"] = _random(random, RANK, inputs)
            halves.append((a.astype(float) @ b.astype(float)).reshape(weight.shape))
    return parts, weight + scale * ALPHA / RANK * halves[0] * halves[1]


def flat_loha(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """LoHa without cores: the kernel is folded into the inputs."""
    outputs = weight.shape[0]
    inputs = weight[0].size
    parts: Tensors = {"alpha": np.float32(ALPHA)}
    product = np.ones((outputs, inputs))
    for side in "12":
        a = parts[f"hada_w{side}_a"] = _random(random, outputs, RANK)
        b = parts[f"hada_w{side}_b"] = _random(random, RANK, inputs)
        product *= a.astype(float) @ b.astype(float)
    return parts, weight + scale * ALPHA / RANK * product.reshape(weight.shape)


def _factors(size: int) -> tuple[int, int]:
    small = max(it for it in range(1, int(size**0.5) + 1) if size % it == 0)
    return small, size // small


def _kron(first: Array, second: Array) -> Array:
    """Return the Kronecker product over outputs and inputs, the kernel left as it is."""
    a, b = first.shape
    c, d, *kernel = second.shape
    made = np.einsum("ab,cd...->acbd...", first.astype(float), second.astype(float))
    return made.reshape(a * c, b * d, *kernel)


def lokr(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """Kronecker product of a whole matrix and a low rank; of a kernel with a core."""
    outputs, inputs, *kernel = weight.shape
    (a, c), (b, d) = _factors(outputs), _factors(inputs)
    first = _random(random, a, b)
    parts: Tensors = {"alpha": np.float32(ALPHA), "lokr_w1": first}
    if kernel and kernel != [1, 1]:
        core = parts["lokr_t2"] = _random(random, RANK, RANK, *kernel)
        left = parts["lokr_w2_a"] = _random(random, RANK, c)
        right = parts["lokr_w2_b"] = _random(random, RANK, d)
        second = np.einsum("rs...,rc,sd->cd...", core, left, right, dtype=float)
    else:
        left = parts["lokr_w2_a"] = _random(random, c, RANK)
        right = parts["lokr_w2_b"] = _random(random, RANK, d)
        second = left.astype(float) @ right.astype(float)
    delta = _kron(first, second).reshape(weight.shape)
    return parts, weight + scale * ALPHA / RANK * delta


def whole_lokr(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """Both factors are whole: alpha says nothing."""
    outputs, inputs, *kernel = weight.shape
    (a, c), (b, d) = _factors(outputs), _factors(inputs)
    first, second = _random(random, a, b), _random(random, c, d, *kernel)
    parts = {"alpha": np.float32(ALPHA), "lokr_w1": first, "lokr_w2": second}
    return parts, weight + scale * _kron(first, second)


def factored_lokr(
    weight: Array, random: np.random.Generator, scale: float
) -> tuple[Tensors, Array]:
    """Both factors are low ranks; the kernel is folded into the second's inputs."""
    outputs, inputs, *kernel = weight.shape
    (a, c), (b, d) = _factors(outputs), _factors(inputs)
    area = int(np.prod(kernel, dtype=int))
    parts: Tensors = {
        "alpha": np.float32(ALPHA),
        "lokr_w1_a": _random(random, a, RANK),
        "lokr_w1_b": _random(random, RANK, b),
        "lokr_w2_a": _random(random, c, RANK),
        "lokr_w2_b": _random(random, RANK, d * area),
    }
    wide = {name: it.astype(float) for name, it in parts.items() if name != "alpha"}
    second = (wide["lokr_w2_a"] @ wide["lokr_w2_b"]).reshape(c, d, *kernel)
    delta = _kron(wide["lokr_w1_a"] @ wide["lokr_w1_b"], second)
    return parts, weight + scale * ALPHA / RANK * delta


def _lengths(weight: Array) -> Array:
    rows: Array = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    return rows.reshape(-1, *[1] * (weight.ndim - 1))


def dora(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """LyCORIS's DoRA: the scale acts on what the length changes."""
    parts, sum_ = lora(weight, random, 1.0)
    length = (_lengths(weight) * random.uniform(0.8, 1.2, _lengths(weight).shape)).astype(
        np.float32
    )
    parts["dora_scale"] = length
    return parts, sum_ * (scale * (length / _lengths(sum_) - 1) + 1)


def dora_by_inputs(
    weight: Array, random: np.random.Generator, scale: float
) -> tuple[Tensors, Array]:
    """LyCORIS with `wd_on_out=False`: the lengths are those of columns."""
    parts, sum_ = loha(weight, random, 1.0)
    turned = np.swapaxes(weight, 0, 1)
    learned = (_lengths(turned) * random.uniform(0.8, 1.2, _lengths(turned).shape)).astype(
        np.float32
    )
    length = np.swapaxes(_lengths(np.swapaxes(sum_, 0, 1)), 0, 1)
    parts["dora_scale"] = np.ascontiguousarray(np.swapaxes(learned, 0, 1))
    return parts, sum_ * (scale * (parts["dora_scale"] / length - 1) + 1)


def peft_dora(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    """PEFT's DoRA: the scale acts on what is added."""
    parts, sum_ = plain_lora(weight, random, scale)
    learned = (_lengths(weight) * random.uniform(0.8, 1.2, _lengths(weight).shape)).astype(
        np.float32
    )
    kept = learned.reshape(-1) if weight.ndim == 2 else np.swapaxes(learned, 0, 1)
    parts["lora_magnitude_vector"] = np.ascontiguousarray(kept)
    return parts, learned * sum_ / _lengths(sum_)


def difference(weight: Array, random: np.random.Generator, scale: float) -> tuple[Tensors, Array]:
    delta = _random(random, *weight.shape)
    return {"diff": delta}, weight + scale * delta


FORMS: Mapping[str, Form] = {
    form.__name__: form
    for form in (
        *(lora, plain_lora, locon, loha, flat_loha, lokr, whole_lokr, factored_lokr),
        *(dora, dora_by_inputs, peft_dora, difference),
    )
}

Naming = Callable[[str, str], str]
"""Component and path of a module → what its keys begin with."""

_KOHYA = {
    "unet": "lora_unet",
    "transformer": "lora_transformer",
    "text_encoder": "lora_te",
    "text_encoder_2": "lora_te2",
}


def kohya(component: str, module: str) -> str:
    return f"{_KOHYA[component]}_{module.replace('.', '_')}"


def kohya_of_two_encoders(component: str, module: str) -> str:
    """SDXL's: the first text encoder has a number, too."""
    prefix = "lora_te1" if component == "text_encoder" else _KOHYA[component]
    return f"{prefix}_{module.replace('.', '_')}"


def with_component(component: str, module: str) -> str:
    """diffusers' `save_lora_weights`."""
    return f"{component}.{module}"


def peft(_component: str, module: str) -> str:
    """`PeftModel.save_pretrained`."""
    return f"base_model.model.{module}"


def lycoris(_component: str, module: str) -> str:
    """LyCORIS's own `create_lycoris`."""
    return f"lycoris_{module.replace('.', '_')}"


def modules_in(folder: Path, wanted: Callable[[str], bool] = lambda _: True) -> Mapping[str, Array]:
    """Return the weights of a component that adapters change: module → weight, float32."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                module, _, kind = key.rpartition(".")
                shape = opened.get_slice(key).get_shape()
                if kind == "weight" and len(shape) in (2, 4) and wanted(module):
                    found[module] = opened.get_tensor(key).astype(np.float32)
    return found


def is_trained(module: str) -> bool:
    """Return whether trainers change a module by default: attention and what follows it."""
    names = ("attn", ".ff.", ".mlp.", "SelfAttention", "DenseReluDense", "resnets", "samplers")
    return any(name in module for name in names)


def write(
    path: Path,
    modules: Iterable[tuple[str, str, Array]],
    form: Form,
    naming: Naming,
    *,
    scale: float = 1.0,
    dtype: str = "float32",
) -> Mapping[tuple[str, str], Array]:
    """Write an adapter of modules (component, path, weight); return what these weights become."""
    random = np.random.default_rng(7)
    tensors: Tensors = {}
    expected = {}
    for component, module, weight in modules:
        parts, new = form(weight, random, scale)
        expected[component, module] = new
        prefix = naming(component, module)
        for part, value in parts.items():
            tensors[f"{prefix}.{part}"] = np.asarray(value).astype(dtype)
    save_file(tensors, path)
    return expected


def every(count: int, modules: Sequence[Any] | Iterable[Any]) -> list[Any]:
    """Return each `count`th module: enough of them for what all do alike."""
    return list(itertools.islice(modules, 0, None, count))
