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
from edgegen.core.errors import SourceError
from edgegen.networks import network_of
from edgegen.networks.pruned import cuts_of
from edgegen.reference.narrowing import narrow


def build_module(folder: Path, class_name: str) -> torch.nn.Module:
    """Build the module that `folder/config.json` describes; its parameters take no memory.

    What the config says was cut is cut out. The parameters are on the meta device, the buffers are
    real. Raises SourceError for a class that is not known and for a config that its class refuses.
    """
    network = network_of(class_name)
    config = dict(ComponentConfig.of_network(folder / "config.json").data)
    cuts = cuts_of(config, str(folder / "config.json"))
    with parameters_on_meta():
        try:
            module: torch.nn.Module = network.build(config)
            if cuts is not None:
                narrow(module, cuts, str(folder / "config.json"))
        except (ImportError, MemoryError, SourceError):
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
