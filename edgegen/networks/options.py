"""Refuses settings of a network's config with which no target could hold it.

What diffusers itself refuses, or cannot run, is left out of the networks' options, and so is what
none of its pipelines that edgegen knows uses. `tests/exporters/test_odd_networks.py` exports all of
the rest.
"""

from __future__ import annotations

import json
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.networks.base import Network
from edgegen.networks.pruned import KEY, cuts_of
from edgegen.networks.unet import OLD_PREFIX


def check_options(config: ComponentConfig, network: Network) -> None:
    """Raise SourceError that names a setting, and the values it may have, where one is another."""
    for key, allowed in network.options.items():
        if key not in config.data:
            continue
        value = config.items(key) if key.endswith("_types") else config.data[key]
        for item in value if isinstance(value, list) else [value]:
            if not _is_one_of(item, allowed):
                known = ", ".join(json.dumps(other) for other in allowed)
                shown = json.dumps(item)[:80]
                raise SourceError(
                    f"{config.path}: '{key}' is {shown}, which edgegen cannot export.",
                    hint=f"Choose another model. For a {network.class_name}, edgegen knows "
                    f"{known}.",
                )
    if cuts_of(config.data, str(config.path)) is not None and not network.prunable:
        raise SourceError(
            f"{config.path}: a {network.class_name} is said to be pruned ('{KEY}'), which edgegen "
            "does to denoisers only.",
            hint="Take the config.json that belongs to these weights.",
        )
    network.check(config)


def _is_one_of(item: Any, allowed: tuple[Any, ...]) -> bool:
    if not isinstance(item, str):
        return any(item is other or (type(item) is int and item == other) for other in allowed)
    # as diffusers reads them: activations in any case, blocks also by their names of 2022
    return item.lower() in allowed or item.removeprefix(OLD_PREFIX) in allowed
