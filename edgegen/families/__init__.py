"""The families of pipelines that edgegen knows.

A new family is a file and a line in the table; `base` says what the file declares, and
tests/contracts/test_families_contract.py and test_rooms.py what is missing. Nothing outside the
room compares a family's name: it asks one of these facts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from edgegen.core.errors import SourceError, nearest
from edgegen.core.model import FamilyFacts, Generation
from edgegen.core.target import TargetSpec
from edgegen.families import (
    consistency_model,
    controlnet,
    latent_consistency,
    pixart,
    stable_diffusion,
    stable_diffusion_depth,
    stable_diffusion_edit,
    stable_diffusion_latent_upscale,
    stable_diffusion_upscale,
    stable_diffusion_xl,
    t2i_adapter,
    unconditional,
)
from edgegen.families.base import Family, PipelineConfigs, Slot
from edgegen.families.latents import latent_channels
from edgegen.networks import network_of

FAMILIES: Mapping[str, Family] = {
    "pixart": pixart.PIXART,
    "stable-diffusion": stable_diffusion.FROM_TEXT,
    "stable-diffusion-inpaint": stable_diffusion.INPAINT,
    "stable-diffusion-controlnet": controlnet.STABLE_DIFFUSION,
    "stable-diffusion-inpaint-controlnet": controlnet.STABLE_DIFFUSION_INPAINT,
    "stable-diffusion-edit": stable_diffusion_edit.EDIT,
    "stable-diffusion-upscale": stable_diffusion_upscale.UPSCALE,
    "stable-diffusion-latent-upscale": stable_diffusion_latent_upscale.LATENT_UPSCALE,
    "stable-diffusion-depth": stable_diffusion_depth.DEPTH,
    "stable-diffusion-t2i-adapter": t2i_adapter.STABLE_DIFFUSION,
    "latent-consistency": latent_consistency.LATENT_CONSISTENCY,
    "stable-diffusion-xl": stable_diffusion_xl.FROM_TEXT,
    "stable-diffusion-xl-inpaint": stable_diffusion_xl.INPAINT,
    "stable-diffusion-xl-controlnet": controlnet.STABLE_DIFFUSION_XL,
    "stable-diffusion-xl-inpaint-controlnet": controlnet.STABLE_DIFFUSION_XL_INPAINT,
    "stable-diffusion-xl-edit": stable_diffusion_edit.EDIT_XL,
    "stable-diffusion-xl-t2i-adapter": t2i_adapter.STABLE_DIFFUSION_XL,
    "stable-diffusion-xl-refiner": stable_diffusion_xl.REFINER,
    "unconditional": unconditional.UNCONDITIONAL,
    "consistency-model": consistency_model.CONSISTENCY_MODEL,
}


def family_of(name: str) -> Family:
    """Return a family. Raises SourceError for an unknown one."""
    if name not in FAMILIES:
        raise SourceError(
            f"edgegen does not know the family '{name}'.",
            hint=nearest(name, FAMILIES),
        )
    return FAMILIES[name]


def facts_of(family: str, generation: Generation) -> FamilyFacts:
    """Return what a pipeline of a family takes.

    Any family's denoiser may have been distilled with the guidance scale as an input.
    """
    facts = family_of(family).facts
    if generation.guidance_embedding_dim is None:
        return facts
    return replace(facts, guidance="embedded")


def held_families(target: TargetSpec) -> tuple[str, ...]:
    """Return the families of which a target holds packages."""
    return tuple(family for family in FAMILIES if target.lacks(family) is None)


def pipeline_class_names() -> tuple[str, ...]:
    """Return the diffusers pipelines that edgegen reads."""
    return tuple(dict.fromkeys(name for family in FAMILIES.values() for name in family.pipelines))


def slot_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """Return those of a pipeline's folders that a network of any family fills, slot by slot."""
    slots = {slot.name: slot for family in FAMILIES.values() for slot in family.slots}
    found = {name: it for name in folders if (it := slots.get(_slot_of(name, slots))) is not None}
    order = list(slots)
    return tuple(
        sorted(
            (name for name, slot in found.items() if name == slot.name or slot.several),
            key=lambda name: (order.index(found[name].name), len(name), name),
        )
    )


def steering_slot(class_name: str) -> Slot:
    """Return the slot of a pipeline that networks fill which steer its denoiser."""
    (family, *_) = candidates(class_name, ())
    return next(slot for slot in family.slots if slot.several is not None)


def _slot_of(folder: str, slots: Collection[str]) -> str:
    """Return the slot that a folder is for: `controlnet` for `controlnet_1`."""
    return folder if folder in slots else re.sub(r"_[1-9]\d*$", "", folder)


def steered_class(class_name: str, entries: Collection[str], network: str) -> str:
    """Return the pipeline that draws with another's networks and one that steers them.

    Raises SourceError where diffusers has none.
    """
    for family in candidates(class_name, entries):
        if network in family.steered:
            return family.steered[network]
    steered = [family for family in FAMILIES.values() if network in family.steered]
    if not steered:
        steering = sorted({name for family in FAMILIES.values() for name in family.steered})
        raise SourceError(
            f"edgegen knows no model that a {network} steers.",
            hint=f"Give the folder of a {' or '.join(steering)}.",
        )
    known = sorted({it for family in steered for it in family.pipelines})
    raise SourceError(
        f"A {network} does not steer a {class_name}.", hint=f"It steers {', '.join(known)}."
    )


def scheduler_entries() -> tuple[str, ...]:
    """Return the entries of `model_index.json` that a scheduler of any family fills."""
    more = (name for family in FAMILIES.values() for name in family.schedulers)
    return tuple(dict.fromkeys(("scheduler", *more)))


def slot_library(name: str) -> str:
    """Return the library whose networks fill a slot: it names weight files in its own way."""
    slots = (slot for family in FAMILIES.values() for slot in family.slots if slot.name == name)
    return next((network_of(slot.classes[0]).library for slot in slots), "diffusers")


def candidates(class_name: str, entries: Collection[str]) -> tuple[Family, ...]:
    """Return the families that a pipeline may be of, by its class and its entries.

    They have the same slots, and differ in what their denoisers take.
    """
    found = [family for family in FAMILIES.values() if class_name in family.pipelines]
    lacking = [it for it in found if it.without and it.has_entries_of(entries)]
    return tuple(lacking or [it for it in found if not it.without])


def choose(families: Collection[Family], configs: PipelineConfigs) -> Family:
    """Return the family whose denoiser takes as many channels as the pipeline's does.

    Raises SourceError where none of them does.
    """
    denoiser, config = configs.denoiser
    taken = denoiser.taken(config)
    latents = latent_channels(configs)
    for family in families:
        if family.channels(latents) == taken:
            return family
    wanted = " or ".join(str(family.channels(latents)) for family in families)
    raise SourceError(
        f"{config.path}: the denoiser takes {taken} channels, the autoencoder makes {latents}: "
        f"with it a {configs.class_name} feeds a denoiser of {wanted}.",
        hint="Take the denoiser and the autoencoder from the same version of the model, and the "
        "pipeline class that draws with them: --as CLASS names another.",
    )
