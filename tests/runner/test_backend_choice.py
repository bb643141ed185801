"""What a package is run with, where the user did not say."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from edgegen_runner.runtimes import RUNTIMES, of_target

from edgegen.core.errors import ConfigError, MissingDependencyError
from edgegen.core.profile import DeviceProfile
from edgegen.devices.device import Device
from edgegen.devices.profiles import load_profile
from edgegen.runner.backend_choice import (
    Wishes,
    backend_here,
    backend_of,
    choose_backend,
)

CPU = "CPUExecutionProvider"


def profile_with(target: str, package: str) -> DeviceProfile:
    profile = load_profile("raspberry-pi-5")
    (options,) = (each for each in profile.runtimes if each.target == target)
    return dataclasses.replace(
        profile, runtimes=(dataclasses.replace(options, package=package, threads=None),)
    )


def device_with(*packages: str) -> Device:
    """Return what the choice asks of a device that no profile fits, and that has packages."""
    runtime = SimpleNamespace(packages=dict.fromkeys(packages, "1"))
    facts = SimpleNamespace(runtime=runtime, model=None, memory_bytes=None)
    return cast("Device", SimpleNamespace(is_local=False, address="ssh://pi", facts=facts))


def test_a_profile_names_the_provider_and_the_threads() -> None:
    jetson = backend_of(load_profile("jetson-orin-nano"), "onnx", Wishes())
    assert jetson.providers == ("CUDAExecutionProvider", CPU)
    assert backend_of(load_profile("raspberry-pi-5"), "onnx", Wishes()).threads == 4


def test_a_profile_that_is_given_goes_before_the_one_that_fits_and_works_here() -> None:
    given = Wishes(profile=load_profile("raspberry-pi-5"))
    assert choose_backend(device_with("onnxruntime"), "onnx", given).threads == 4
    assert backend_here("onnx", given).threads == 4


def test_a_given_profile_without_a_runtime_for_the_target_is_refused() -> None:
    empty = dataclasses.replace(load_profile("raspberry-pi-5"), runtimes=())
    with pytest.raises(ConfigError, match="raspberry-pi-5 names no runtime"):
        choose_backend(device_with("onnxruntime"), "onnx", Wishes(profile=empty))


def test_what_the_user_says_goes_before_the_profile() -> None:
    wishes = Wishes(providers=(CPU,), threads=2, memory="lean")
    chosen = backend_of(load_profile("jetson-orin-nano"), "onnx", wishes)
    assert (chosen.providers, chosen.threads, chosen.memory) == ((CPU,), 2, "lean")


def test_without_a_profile_the_runtime_chooses() -> None:
    chosen = backend_of(None, "onnx", Wishes())
    assert (chosen.providers, chosen.threads) == (None, None)


def test_a_target_that_the_profile_does_not_know_leaves_the_choice_to_the_runtime() -> None:
    chosen = backend_of(load_profile("jetson-orin-nano"), "openvino", Wishes())
    assert (chosen.name, chosen.providers) == ("openvino", None)


def test_a_target_that_nothing_runs_is_refused() -> None:
    with pytest.raises(ConfigError, match="No runtime is known") as caught:
        backend_of(None, "onxn", Wishes())
    assert "onnx" in caught.value.hint


@pytest.mark.parametrize(
    ("target", "installed", "name"),
    [
        ("onnx", (), "onnxruntime"),
        ("openvino", ("onnxruntime",), "openvino"),
        ("tflite", (), "ai_edge_litert"),
        ("tflite", ("tflite_runtime", "ai_edge_litert"), "ai_edge_litert"),
        ("tflite", ("onnxruntime", "tflite_runtime"), "tflite_runtime"),
    ],
)
def test_the_first_runtime_of_a_target_that_is_there_is_taken(
    target: str, installed: tuple[str, ...], name: str
) -> None:
    assert backend_of(None, target, Wishes(), installed).name == name


@pytest.mark.parametrize(
    ("target", "package", "name"),
    [
        ("onnx", "onnxruntime-gpu", "onnxruntime"),
        ("onnx", "onnxruntime-c", "onnxruntime"),
        ("tflite", "tflite_runtime", "tflite_runtime"),
        ("tflite", "ai-edge-litert", "ai_edge_litert"),
    ],
)
def test_the_package_of_a_profile_decides(target: str, package: str, name: str) -> None:
    everything = [runtime.name for runtime in RUNTIMES]
    assert backend_of(profile_with(target, package), target, Wishes(), everything).name == name


def test_the_users_runtime_goes_before_the_profiles() -> None:
    wishes = Wishes(runtime="tflite_runtime")
    assert backend_of(load_profile("raspberry-pi-5"), "tflite", wishes).name == "tflite_runtime"


@pytest.mark.parametrize(("target", "runtime"), [("tflite", "openvino"), ("onnx", "torch")])
def test_a_runtime_of_another_target_is_refused(target: str, runtime: str) -> None:
    with pytest.raises(ConfigError, match=f"{runtime} does not run packages") as caught:
        backend_of(None, target, Wishes(runtime=runtime))
    assert of_target(target)[0].name in caught.value.hint


@pytest.mark.parametrize("target", sorted({runtime.target for runtime in RUNTIMES}))
def test_this_machine_runs_what_it_has(target: str) -> None:
    here = "coreml_reference" if target == "coreml" and sys.platform != "darwin" else None
    assert backend_here(target, Wishes(threads=3)).name == (here or of_target(target)[0].name)
    assert backend_here(target, Wishes(threads=3)).threads == 3


@pytest.mark.parametrize(
    ("platform", "modules", "name"),
    [
        ("linux", {"coremltools", "torch"}, "coreml_reference"),
        ("linux", set(), "coreml_reference"),
        ("darwin", {"coremltools", "torch"}, "coreml"),
        ("darwin", {"torch"}, "coreml_reference"),
        ("darwin", set(), "coreml"),
    ],
)
def test_core_ml_is_used_where_it_is_and_the_reference_elsewhere(
    platform: str, modules: set[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: object() if module in modules else None
    )
    assert backend_here("coreml", Wishes()).name == name


def test_a_device_runs_what_it_has() -> None:
    there = device_with("numpy", "onnxruntime", "tflite-runtime")
    assert choose_backend(there, "tflite", Wishes()).name == "tflite_runtime"
    assert choose_backend(there, "onnx", Wishes()).name == "onnxruntime"


def test_a_device_without_the_runtime_is_told_how_it_gets_it_beside_what_it_has() -> None:
    there = device_with("numpy", "onnxruntime")
    with pytest.raises(MissingDependencyError, match="has onnxruntime, not openvino") as caught:
        choose_backend(there, "openvino", Wishes())
    assert caught.value.hint == "edgegen devices setup ssh://pi --runtime openvino"


@pytest.mark.parametrize(
    ("target", "runtime"),
    [("onnx", "onnxruntime"), ("openvino", "openvino"), ("tflite", "ai-edge-litert")],
)
def test_a_device_without_any_runtime_is_told_at_once_which_one_it_needs(
    target: str, runtime: str
) -> None:
    there: Any = device_with()
    there.facts.runtime = None
    with pytest.raises(MissingDependencyError, match="no Python with numpy") as caught:
        choose_backend(there, target, Wishes())
    assert caught.value.hint == f"edgegen devices setup ssh://pi --runtime {runtime}"


def test_a_runtime_that_edgegen_cannot_bring_is_not_in_the_command() -> None:
    there = device_with("numpy", "onnxruntime")
    with pytest.raises(MissingDependencyError) as caught:
        choose_backend(there, "tflite", Wishes(runtime="tflite_runtime"))
    assert caught.value.hint == "Install it there, or leave --runtime to ai_edge_litert."


def test_a_device_that_does_not_tell_its_packages_is_tried() -> None:
    there: Any = device_with()
    assert choose_backend(there, "openvino", Wishes()).name == "openvino"
