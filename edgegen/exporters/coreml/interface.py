"""What Apple's Swift package of ml-stable-diffusion calls a component, its inputs and outputs.

The names are facts of the networks. Their source: apple/ml-stable-diffusion,
`swift/StableDiffusion/pipeline/` (`TextEncoder.swift`, `Unet.swift`, `Decoder.swift`,
`Encoder.swift`), `python_coreml_stable_diffusion/torch2coreml.py`. Everything is float32 there,
token ids too.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from edgegen.core.model import Component
from edgegen.networks import part_of, residuals
from edgegen.networks.base import NativeNames, NativeTensor

_TARGET = "coreml"
_NUMBER = re.compile(r".*_(\d+)")


def compiled_name(component: Component) -> str:
    """Return the compiled model that the Swift package looks for in its Resources.

    A component that it doesn't know is called as ours, in its spelling.
    """
    natives = _natives(component)
    if natives is None:
        return "".join(word.capitalize() for word in component.name.split("_"))
    number = match[1] if (match := _NUMBER.fullmatch(component.name)) else ""
    is_steered = any(residuals.is_residual(it.name) for it in component.inputs)
    file = natives.steered_file if is_steered and natives.steered_file else natives.file
    return file.format(number=number)


def is_chunked(component: Component) -> bool:
    """Return whether the Swift package can load a component that is cut in two."""
    natives = _natives(component)
    return natives is not None and natives.chunked


def natives_of(component: Component) -> dict[str, NativeTensor]:
    """Return what each of a component's tensors is called in its model package."""
    natives = _natives(component)
    known = {} if natives is None else natives.tensors
    return {
        tensor.name: next(
            (native for name, native in known.items() if fnmatchcase(tensor.name, name)),
            NativeTensor(name=tensor.name),
        )
        for tensor in (*component.inputs, *component.outputs)
    }


def renamed_by(component: Component) -> dict[str, NativeTensor]:
    """Return the tensors whose name or layout is another in the model package."""
    natives = natives_of(component)
    return {name: it for name, it in natives.items() if it != NativeTensor(name=name)}


def _natives(component: Component) -> NativeNames | None:
    return part_of(component).natives.get(_TARGET)
