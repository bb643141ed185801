"""Limits as users type them: units are required, and what cannot be met is refused."""

from __future__ import annotations

import pytest

from edgegen.choose.limits import complete, require_energy, require_quality
from edgegen.core.errors import ConfigError, MissingDependencyError
from edgegen.core.figures import Limit
from edgegen.core.limit_text import parse_limit
from edgegen.devices.profiles import load_profile


@pytest.mark.parametrize(
    ("figure", "text", "value"),
    [
        ("size", "60MB", 60e6),
        ("size", "60 mb", 60e6),
        ("size", "1.5GiB", 1.5 * 2**30),
        ("memory", "1.5GB", 1.5e9),
        ("latency", "500ms", 0.5),
        ("latency", "2s", 2.0),
        ("latency", "1.5min", 90.0),
        ("energy", "8J", 8.0),
        ("energy", "800mJ", 0.8),
        ("energy", "8kj", 8000.0),
        ("slowdown", "1.2", 1.2),
        ("right", "0.9", 0.9),
        ("right", "90%", 0.9),
        ("ssim", ".95", 0.95),
        ("psnr", "30", 30.0),
        ("psnr", "30dB", 30.0),
    ],
)
def test_a_limit_is_in_si_units(figure: str, text: str, value: float) -> None:
    assert parse_limit(figure, text).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("figure", "text", "says"),
    [
        ("size", "60", "without a unit"),
        ("latency", "500", "without a unit"),
        ("energy", "8", "without a unit"),
        ("size", "-60MB", "below zero"),
        ("latency", "0s", "nothing can meet"),
        ("size", "60ms", "isn't a unit"),
        ("size", "60Mb", "isn't a unit"),
        ("energy", "8MJ", "'MJ' isn't a unit"),
        ("latency", "5Ms", "isn't a unit"),
        ("latency", "\u0665s", "not a number"),
        ("psnr", "0", "everything meets that"),
        ("latency", "5 m s", "not a number"),
        ("latency", "5fortnights", "isn't a unit"),
        ("memory", "much", "not a number"),
        ("memory", "", "not a number"),
        ("memory", "nanGB", "not a number"),
        ("memory", f"1{'0' * 400}GB", "too large"),
        ("right", "1.2", "at most 1"),
        ("right", "120%", "at most 1"),
        ("slowdown", "0.8", "faster than it starts"),
    ],
)
def test_a_limit_that_cannot_be_one_says_what_to_type(figure: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        complete((parse_limit(figure, text),), None)
    assert says in caught.value.message
    assert caught.value.hint


def test_the_budget_of_a_profile_completes_what_was_asked_for() -> None:
    profile = load_profile("iphone-15-pro")
    assert [(it.figure, it.value) for it in complete((), profile)] == [("memory", 3e9)]
    (asked,) = complete((parse_limit("memory", "1GB"),), profile)
    assert (asked.value, asked.origin) == (1e9, "asked for")


def test_without_any_limit_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(ConfigError, match="nothing to choose by"):
        complete((), None)


def test_a_limit_on_energy_needs_a_sensor() -> None:
    limits = (Limit(figure="energy", value=8.0),)
    profile = load_profile("raspberry-pi-5")
    with pytest.raises(ConfigError, match="raspberry-pi-5"):
        require_energy(limits, profile=profile, has_energy=False)
    require_energy(limits, profile=profile, has_energy=True)


def test_a_limit_on_quality_needs_a_model_of_which_it_can_be_told() -> None:
    limits = (Limit(figure="right", value=0.9), Limit(figure="ssim", value=0.9))
    everything = frozenset({"right", "psnr", "ssim"})
    require_quality(limits, {"builtin:scenes": everything})
    with pytest.raises(ConfigError, match="builtin:emoji"):
        require_quality(limits, {"builtin:scenes": everything, "builtin:emoji": frozenset()})
    with pytest.raises(MissingDependencyError, match="--min-ssim"):
        require_quality(limits, {"builtin:scenes": everything - {"ssim"}})
