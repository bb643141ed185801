"""Which pipelines draw with the components of a model whose own class nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.families import FAMILIES
from edgegen.families.base import NOT_EXPORTED, Family
from edgegen.networks import NETWORKS, class_name_of
from edgegen.networks.base import Autoencoder, Denoiser


def fitting_pipelines(folder: Path, entries: Mapping[str, str]) -> tuple[str, ...]:
    """Return the pipeline classes whose families take a model's components, one of each family.

    `entries` are the components of its index, name → class. A family takes the classes of its
    slots, has no networks to spare, and feeds the denoiser as many channels as it takes.
    """
    known = {name: class_name_of(class_name) for name, class_name in entries.items()}
    found = (family for family in FAMILIES.values() if _takes(family, known, folder))
    return tuple(dict.fromkeys(next(iter(family.pipelines)) for family in found))


def _takes(family: Family, entries: Mapping[str, str], folder: Path) -> bool:
    slots = {it.name: it.classes for it in family.slots if not it.shows_pictures}
    networks = {name for name, class_name in entries.items() if class_name in NETWORKS}
    networks.difference_update(NOT_EXPORTED)
    return (
        networks == set(slots)
        and all(entries[name] in classes for name, classes in slots.items())
        and set(family.schedulers) <= set(entries)
        and family.has_entries_of(entries)
        and _feeds(family, entries, folder)
    )


def _feeds(family: Family, entries: Mapping[str, str], folder: Path) -> bool:
    """Return whether a family feeds the denoiser's channels; so it does where no config says."""
    taken = latents = None
    is_told = True
    for slot in (it for it in family.slots if it.name in entries and not it.shows_pictures):
        network = NETWORKS[entries[slot.name]]
        try:
            config = ComponentConfig.of_network(folder / slot.name / "config.json")
            if isinstance(network, Denoiser):
                taken = network.taken(config)
                is_told = network.guidance_width(config) is not None
            elif isinstance(network, Autoencoder):
                latents = network.latent_channels(config)
        except SourceError:
            return True
    if family.own_timesteps and not is_told:  # how much noise there is, beside the timestep
        return False
    return taken is None or family.channels(latents or taken) == taken
