from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.shipped import shipped
from edgegen.devices.profiles import list_profiles, load_profile, profile_names


def test_every_file_is_listed_and_the_host_is_named_first() -> None:
    files = {path.stem for path in shipped("profiles").glob("*.toml")}
    assert {profile.name for profile in list_profiles()} == files
    assert profile_names()[0] == "host"
    assert set(profile_names()) == files | {"host"}


def test_a_profile_is_found_by_its_name() -> None:
    assert load_profile("raspberry-pi-5").hardware.soc == "Broadcom BCM2712"


def test_an_unknown_profile_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no profile 'rasberry-pi5'") as raised:
        load_profile("rasberry-pi5")
    assert raised.value.hint.startswith("Did you mean 'raspberry-pi-5'?")


def test_a_profile_of_the_users_own_is_given_by_its_path(tmp_path: Path) -> None:
    text = (shipped("profiles") / "raspberry-pi-5.toml").read_text()
    path = tmp_path / "my-pi.toml"
    path.write_text(text.replace('name = "raspberry-pi-5"', 'name = "my-pi"'))
    assert load_profile(str(path)).name == "my-pi"


def test_a_key_that_no_profile_has_is_named_with_its_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "my-pi.toml"
    text = (shipped("profiles") / "raspberry-pi-5.toml").read_text()
    path.write_text(text.replace("throttle_c", "throtle_c"))
    with pytest.raises(
        ConfigError, match=r"my-pi\.toml: unknown key 'thermal\.throtle_c'"
    ) as error:
        load_profile(str(path))
    assert "throttle_c" in error.value.hint


def test_the_runtime_of_a_target_is_found() -> None:
    profile = load_profile("jetson-orin-nano")
    options = profile.runtime("onnx")
    assert options is not None
    assert options.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert profile.runtime("coreml") is None
