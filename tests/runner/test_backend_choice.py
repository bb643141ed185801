"""What a device computes on, where the user did not say."""

from edgegen.devices.profiles import load_profile
from edgegen.runner.backend_choice import Wishes, backend_of

CPU = "CPUExecutionProvider"


def test_a_profile_names_the_provider_and_the_threads() -> None:
    jetson = backend_of(load_profile("jetson-orin-nano"), "onnx", Wishes())
    assert jetson.providers == ("CUDAExecutionProvider", CPU)
    assert backend_of(load_profile("raspberry-pi-5"), "onnx", Wishes()).threads == 4


def test_what_the_user_says_goes_before_the_profile() -> None:
    wishes = Wishes(providers=(CPU,), threads=2, memory="lean")
    chosen = backend_of(load_profile("jetson-orin-nano"), "onnx", wishes)
    assert (chosen.providers, chosen.threads, chosen.memory) == ((CPU,), 2, "lean")


def test_without_a_profile_the_runtime_chooses() -> None:
    chosen = backend_of(None, "onnx", Wishes())
    assert (chosen.providers, chosen.threads) == (None, None)


def test_a_target_that_the_profile_does_not_know_leaves_the_choice_to_the_runtime() -> None:
    assert backend_of(load_profile("raspberry-pi-5"), "no-such-target", Wishes()).providers is None
