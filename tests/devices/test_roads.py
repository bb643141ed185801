"""Which processors packages reach, and what is said of that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.profile import DeviceProfile
from edgegen.devices.profiles import list_profiles, load_profile
from edgegen.devices.roads import roads_of, roads_to


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda it: it.name)
def test_every_runtime_of_a_profile_is_a_road_and_says_what_was_shown(
    profile: DeviceProfile,
) -> None:
    roads = roads_of(profile)
    assert [it.target for it in roads][: len(profile.runtimes)] == [
        it.target for it in profile.runtimes
    ]
    assert all(it.shown and it.profile == profile.name for it in roads)
    if profile.hardware.npu is not None and profile.os != "ios":
        assert roads[-1].processor == "NPU" or "Neural Engine" in "".join(
            it.processor for it in roads
        )


def test_a_known_chip_is_reached_by_compiling_for_it() -> None:
    phone = load_profile("galaxy-s24-ultra")
    road = roads_of(phone)[-1]
    assert (road.processor, road.target) == ("NPU", "onnx")
    assert "--npu" in road.by
    assert "on no real NPU yet" in road.shown
    assert road in roads_to("onnx", [phone])


@pytest.mark.parametrize(
    ("chip", "why"), [(None, "Qualcomm's NPUs only"), ("qcs6490", "integers only")]
)
def test_an_npu_without_a_road_says_why(chip: str | None, why: str) -> None:
    phone = load_profile("galaxy-s24-ultra")
    road = roads_of(replace(phone, hardware=replace(phone.hardware, chip=chip)))[-1]
    assert (road.processor, road.target, road.by) == ("NPU", None, "no road")
    assert why in road.shown


def test_nothing_is_claimed_of_a_runtime_on_devices_that_it_never_ran_on() -> None:
    roads = {it.target: it for it in roads_of(load_profile("pixel-8"))}
    assert "emulated" in roads["onnx"].shown
    assert "not run on such a device" in roads["tflite"].shown
