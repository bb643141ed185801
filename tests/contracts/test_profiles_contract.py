"""What a new device profile has to have; a failure says what is missing."""

from __future__ import annotations

import dataclasses

import pytest
from edgegen_runner.runtimes import of_target
from edgegen_runner.sensors.readers import READERS

from edgegen.core.codec import decode, encode
from edgegen.core.profile import DeviceProfile, Hardware
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets
from edgegen.devices.profiles import list_profiles
from edgegen.devices.sensors import MEASURES, SENSOR_KINDS
from edgegen.runner.backend_choice import Wishes, backend_of

PROFILES = {profile.name: profile for profile in list_profiles()}


def figures_of(profile: DeviceProfile) -> set[str]:
    """Return the figures of a profile that somebody must have published or estimated."""
    hardware = {
        field.name
        for field in dataclasses.fields(Hardware)
        if getattr(profile.hardware, field.name) is not None
    }
    thermal = {name for name in ("throttle_c", "critical_c") if getattr(profile.thermal, name)}
    buffer = {"largest_buffer_bytes"} if profile.largest_buffer_bytes is not None else set()
    return hardware | thermal | buffer | {"architecture", "application_memory_bytes"}


@pytest.mark.parametrize(
    ("os", "kind", "count"),
    [
        ("android", "phone", 3),
        ("ios", "phone", 3),
        ("android", "tablet", 1),
        ("ipados", "tablet", 1),
    ],
)
def test_there_are_enough_phones_and_tablets(os: str, kind: str, count: int) -> None:
    assert sum(p.os == os and p.kind == kind for p in PROFILES.values()) >= count


@pytest.mark.parametrize("name", PROFILES)
def test_every_figure_has_a_source_and_every_source_a_figure(name: str) -> None:
    profile = PROFILES[name]
    sourced = [figure for source in profile.sources for figure in source.figures]
    assert sorted(sourced) == sorted(figures_of(profile))


@pytest.mark.parametrize("name", PROFILES)
def test_a_source_is_a_page_or_calls_itself_an_estimate(name: str) -> None:
    for source in PROFILES[name].sources:
        is_page = source.url is not None and source.url.startswith("https://")
        assert is_page or "estimate" in source.title.lower(), source


@pytest.mark.parametrize("name", PROFILES)
def test_memory_that_an_application_may_take_is_called_an_estimate(name: str) -> None:
    (source,) = (s for s in PROFILES[name].sources if "application_memory_bytes" in s.figures)
    assert "estimate" in source.title.lower()
    assert "estimate" in PROFILES[name].notes.lower()


@pytest.mark.parametrize("name", PROFILES)
def test_an_application_has_less_memory_than_the_device(name: str) -> None:
    profile = PROFILES[name]
    assert 0 < profile.application_memory_bytes < profile.hardware.memory_bytes
    assert (profile.budget.peak_memory_bytes or 0) <= profile.application_memory_bytes


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_a_known_target_and_recipe(name: str) -> None:
    targets = load_targets()
    assert PROFILES[name].runtimes
    for options in PROFILES[name].runtimes:
        assert options.target in targets
        assert load_recipe(options.recipe, targets[options.target])


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_one_runtime_a_target(name: str) -> None:
    names = [options.target for options in PROFILES[name].runtimes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PROFILES)
def test_the_providers_are_known_and_end_with_the_processor(name: str) -> None:
    for options in PROFILES[name].runtimes:
        known = {name for runtime in of_target(options.target) for name in runtime.providers}
        assert set(options.providers) <= known
        if options.target == "onnx":
            assert options.providers[-1] == "CPUExecutionProvider"


@pytest.mark.parametrize("name", PROFILES)
def test_the_runtime_of_a_profile_runs_its_target(name: str) -> None:
    for options in PROFILES[name].runtimes:
        backend = backend_of(PROFILES[name], options.target, Wishes())
        assert backend.name in {runtime.name for runtime in of_target(options.target)}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_asks_for_shapes_that_its_target_has(name: str) -> None:
    for options in PROFILES[name].runtimes:
        assert options.shapes in load_targets()[options.target].shapes


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_known_sensors(name: str) -> None:
    assert set(PROFILES[name].sensors) <= SENSOR_KINDS.keys()


@pytest.mark.parametrize("name", PROFILES)
def test_a_processor_without_16_bit_arithmetic_is_not_given_any(name: str) -> None:
    for options in PROFILES[name].runtimes:
        recipe = load_recipe(options.recipe, load_targets()[options.target])
        on_the_processor = options.providers[:1] in ((), ("CPUExecutionProvider",), ("CPU",))
        assert recipe.compute == "float32" or not on_the_processor


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_survives_being_written_and_read(name: str) -> None:
    profile = PROFILES[name]
    assert decode(DeviceProfile, encode(profile), source=name) == profile


def test_what_measures_something_is_a_known_sensor() -> None:
    assert frozenset().union(*MEASURES.values()) <= SENSOR_KINDS.keys()


def test_every_reader_of_the_runner_can_be_named_by_a_profile() -> None:
    assert READERS.keys() <= SENSOR_KINDS.keys()
