"""The chips that packages are compiled for are known by name and by part."""

from __future__ import annotations

import pytest

from edgegen.core.chips import list_chips, load_chip
from edgegen.core.errors import ConfigError
from edgegen.devices.profiles import list_profiles


@pytest.mark.parametrize("word", ["snapdragon-8-gen-3", "Snapdragon 8 Gen 3", "SM8650", "sm8650"])
def test_a_chip_is_found_by_its_name_and_by_its_part(word: str) -> None:
    assert load_chip(word).soc_model == 57


def test_an_unknown_chip_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="no chip 'snapdragon-8-gen-9'") as caught:
        load_chip("snapdragon-8-gen-9")
    assert "Did you mean 'snapdragon-8-gen-" in caught.value.hint


@pytest.mark.parametrize("chip", list_chips(), ids=lambda chip: chip.name)
def test_every_figure_of_a_chip_has_a_page(chip: object) -> None:
    from edgegen.core.chips import Chip

    assert isinstance(chip, Chip)
    sourced = {figure for source in chip.sources for figure in source.figures}
    assert sourced >= {"parts", "architecture", "soc_model", "vtcm_mb"}
    assert ("float16" in sourced) == (not chip.float16)
    assert all((source.url or "").startswith("https://") for source in chip.sources)


def test_names_and_parts_are_of_one_chip_each() -> None:
    words = [word.lower() for chip in list_chips() for word in {chip.name.upper(), *chip.parts}]
    assert len(words) == len(set(words))
    assert len({chip.soc_model for chip in list_chips()}) == len(list_chips())


def test_profiles_name_known_chips() -> None:
    named = {it.name: it.hardware.chip for it in list_profiles() if it.hardware.chip is not None}
    assert named["galaxy-s24-ultra"] == "snapdragon-8-gen-3"
    for chip in named.values():
        assert load_chip(chip).name == chip
