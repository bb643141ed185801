"""Builds diffusers and transformers modules from their config alone, without their weights.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError, nearest

DIFFUSERS_MODULES = ("AutoencoderKL", "AutoencoderTiny", "UNet2DConditionModel", "UNet2DModel")
TRANSFORMERS_MODULES = ("CLIPTextModel", "CLIPTextModelWithProjection")


def build_module(folder: Path, class_name: str) -> torch.nn.Module:
    """Build the module that `folder/config.json` describes; its parameters take no memory.

    The parameters are on the meta device, the buffers are real. Raises SourceError for a class that
    is not known and for a config that its class refuses.
    """
    config = dict(ComponentConfig.of_network(folder / "config.json").data)
    with parameters_on_meta():
        try:
            module = _construct(config, class_name)
        except (SourceError, ImportError, MemoryError):
            raise
        except Exception as error:  # a class raises whatever its code does with a number
            raise SourceError(
                f"{folder / 'config.json'} makes no {class_name}: {type(error).__name__}: {error}.",
                hint="Take the config from the model that the weights come from.",
            ) from error
    return module.eval().requires_grad_(False)


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Put every parameter that a module registers on the meta device, before it is initialised.

    What `torch.empty` reserved for it is given back untouched. Buffers stay real, which a
    `torch.device("meta")` around the constructor would lose.
    """

    def to_meta(_module: Any, _name: str, parameter: Any) -> torch.nn.Parameter:
        return torch.nn.Parameter(parameter.to("meta"), requires_grad=False)

    handle = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        handle.remove()


def _construct(config: dict[str, Any], class_name: str) -> Any:
    if class_name in DIFFUSERS_MODULES:
        import diffusers

        return getattr(diffusers, class_name).from_config(config)
    if class_name in TRANSFORMERS_MODULES:
        import transformers

        return getattr(transformers, class_name)(transformers.CLIPTextConfig.from_dict(config))
    raise SourceError(
        f"edgegen has no reference for a {class_name}.",
        hint=nearest(class_name, (*DIFFUSERS_MODULES, *TRANSFORMERS_MODULES)),
    )
