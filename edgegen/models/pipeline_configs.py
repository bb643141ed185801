"""Reads all configurations of a pipeline once, for the pure functions of its family."""

from __future__ import annotations

from edgegen.core.configs import ComponentConfig
from edgegen.families.base import Family, Filled, PipelineConfigs, Slot
from edgegen.models.adapters.applied import read_adapted
from edgegen.models.index import PipelineIndex
from edgegen.models.scheduler import CONFIG_PATH
from edgegen.models.text_encoders import text_length
from edgegen.networks import network_of
from edgegen.networks.base import TextEncoder
from edgegen.networks.options import check_options


def read_configs(index: PipelineIndex, family: Family) -> PipelineConfigs:
    """Read what fills the slots of a family, its scheduler's configuration and its tokenizers'.

    Raises SourceError where one is missing, is of a class that doesn't belong there, or has an
    option that edgegen cannot export.
    """
    adapted = read_adapted(index.folder)
    shows_pictures = adapted is not None and adapted.image_prompt is not None
    wanted = [
        it
        for slot in family.slots
        if shows_pictures or not slot.shows_pictures
        for it in index.networks(slot)
    ]
    slots = {slot.name: _filled(index, slot, class_name) for slot, class_name in wanted}
    for it in slots.values():
        check_options(it.config, it.network)
    lengths = [
        text_length(index, it.slot, it.network.positions(it.config))
        for it in slots.values()
        if isinstance(it.network, TextEncoder)
    ]
    limits = [length for length in lengths if length is not None]
    return PipelineConfigs(
        class_name=index.class_name,
        settings=index.settings,
        scheduler=ComponentConfig.read(index.folder / CONFIG_PATH),
        slots=slots,
        text_length=family.pipelines[index.class_name].text_length or min(limits, default=None),
    )


def _filled(index: PipelineIndex, slot: Slot, class_name: str) -> Filled:
    network = network_of(class_name)
    if network.library == "diffusers":
        config = index.config(slot.name, class_name)
    else:
        config = ComponentConfig.of_network(index.folder / slot.name / "config.json")
    return Filled(slot=slot, network=network, config=config)
