"""What every drawer promises: torch, a package here, and a package on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.errors import ConfigError
from edgegen.core.progress import SilentProgress
from edgegen.devices.device import Device
from edgegen.drawer import Drawer, DrawRequest
from edgegen.models.pipeline_source import FolderSource
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.reference.drawer import TorchDrawer
from edgegen.reference.pipeline import load_reference
from edgegen.runner.drawers import DeviceDrawer, PackageDrawer
from edgegen.runner.pack import pack_runner
from edgegen.runner.remote import push_package
from tests.devices.stand_ins import OtherMachine

# diffusers says so where it corrects an old configuration
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LEAST_PSNR_DB = 50.0
PLAIN = DrawRequest(prompt="a cat and the dog", seed=3, steps=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEGEN_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield tmp_path_factory.mktemp("drawers")


@pytest.fixture(scope="module")
def model(tiny_pipeline: Callable[[str], Path]) -> Path:
    return tiny_pipeline("sd15")


@pytest.fixture(scope="module")
def torch_drawer(model: Path, folders: Path) -> Iterator[Drawer]:
    spec = read_pipeline(resolve(str(model)))
    reference = load_reference(spec, FolderSource(model))
    with reference.weights:
        yield TorchDrawer(reference.pipeline, spec.family, spec.generation)


@pytest.fixture(scope="module", params=["torch", "package", "device"])
def drawer(
    request: pytest.FixtureRequest, tiny_onnx_package: Path, folders: Path
) -> Iterator[Drawer]:
    if request.param == "torch":
        yield request.getfixturevalue("torch_drawer")
    elif request.param == "package":
        yield PackageDrawer(tiny_onnx_package)
    else:
        with Device(OtherMachine(folders / "device"), pack_runner()) as device:
            yield DeviceDrawer(device, push_package(device, tiny_onnx_package, SilentProgress()))


def test_a_drawer_draws_what_diffusers_draws(drawer: Drawer, torch_drawer: Drawer) -> None:
    requests = [PLAIN, replace(PLAIN, negative_prompt="the er", guidance=4.0, scheduler="euler")]
    for expected, drawn in zip(torch_drawer.draw(requests), drawer.draw(requests), strict=True):
        assert expected.std() > 1
        reached = psnr_db(expected, drawn, peak=255.0)
        assert reached is None or reached >= LEAST_PSNR_DB


def test_pictures_have_the_order_of_the_requests_and_are_as_if_drawn_alone(drawer: Drawer) -> None:
    other = replace(PLAIN, prompt="the er", seed=9)
    drawn = drawer.draw([replace(PLAIN, seed=4), other, PLAIN, other])
    assert len({pixels.tobytes() for pixels in drawn}) == 3
    (alone,) = drawer.draw([other])
    for pixels in (drawn[1], drawn[3]):
        # torch's kernels add in another order in a batch
        assert np.abs(pixels.astype(int) - alone).max() <= 1


def test_all_that_a_request_says_changes_the_picture(drawer: Drawer) -> None:
    others = [
        replace(PLAIN, negative_prompt="the er"),
        replace(PLAIN, guidance=2.0),
        replace(PLAIN, scheduler="euler"),
        replace(PLAIN, steps=2),
        replace(PLAIN, seed=4),
        replace(PLAIN, prompt=""),
    ]
    plain, *changed = drawer.draw([PLAIN, *others])
    unchanged = [
        request
        for request, pixels in zip(others, changed, strict=True)
        if np.array_equal(plain, pixels)
    ]
    assert not unchanged


def test_a_picture_is_uint8_with_three_channels_and_has_the_size_of_its_request(
    drawer: Drawer,
) -> None:
    native, wide = drawer.draw([PLAIN, replace(PLAIN, width=48, height=32)])
    assert native.dtype == wide.dtype == np.uint8
    assert native.shape == (32, 32, 3)
    assert wide.shape == (32, 48, 3)


def test_no_requests_are_no_pictures(drawer: Drawer) -> None:
    assert drawer.draw([]) == []


def test_an_unknown_scheduler_is_refused_with_those_that_are_known(drawer: Drawer) -> None:
    with pytest.raises(ConfigError) as caught:
        drawer.draw([replace(PLAIN, scheduler="eulre")])
    assert "euler" in f"{caught.value.message} {caught.value.hint}"
