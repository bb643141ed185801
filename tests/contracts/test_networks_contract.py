"""What a new network has to declare; a failure says which fact is missing."""

from __future__ import annotations

from typing import get_args

import pytest

from edgegen.core.model import STEERING, Role
from edgegen.networks import NETWORKS
from edgegen.networks.base import (
    Autoencoder,
    Denoiser,
    ImageEncoder,
    Network,
    Steering,
    TextEncoder,
)

ROLES: dict[type[Network], tuple[str, ...]] = {
    TextEncoder: ("text_encoder",),
    Denoiser: ("denoiser",),
    Autoencoder: ("decoder", "encoder"),
    Steering: STEERING,
    ImageEncoder: ("image_encoder",),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_stands_under_the_name_of_its_class(name: str) -> None:
    network = NETWORKS[name]
    assert name in (network.class_name, *network.old_names)
    assert network.load_class().__name__ == network.class_name
    assert NETWORKS[network.class_name] is network


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_of_a_kind_and_makes_the_components_of_that_kind(name: str) -> None:
    network = NETWORKS[name]
    assert type(network) in ROLES, "declare a TextEncoder, a Denoiser, an Autoencoder or a Steering"
    roles = tuple(part.role for part in network.parts)
    if isinstance(network, Steering):
        assert len(roles) == 1
        assert roles[0] in ROLES[Steering]
    else:
        assert roles == ROLES[type(network)]
    assert set(roles) <= set(get_args(Role))


@pytest.mark.parametrize("name", NETWORKS)
def test_components_of_one_network_are_told_apart(name: str) -> None:
    parts = NETWORKS[name].parts
    assert len({part.suffix for part in parts}) == len(parts)
    if len(parts) > 1:
        assert all("" not in part.prefixes for part in parts), "each needs its layers' prefixes"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_transformers_names_its_config_s_class(name: str) -> None:
    network = NETWORKS[name]
    assert (network.library == "transformers") == (network.config_class is not None)
