"""Places where no package may or can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.core.manifest import load_manifest
from edgegen.packaging.integrity import verify_files
from tests.conftest import TinyPipeline
from tests.faults.command import Command, contents, staging_of
from tests.faults.conftest import Edgegen, Mount
from tests.tiny_packages import onnx_package


def something_else(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")


def a_file(out: Path) -> None:
    out.write_text("years of work")


def link_to_a_package(out: Path) -> None:
    out.symlink_to(onnx_package(out.parent / "package"), target_is_directory=True)


def link_to_nothing(out: Path) -> None:
    out.symlink_to("gone")


def link_to_itself(out: Path) -> None:
    out.symlink_to(out.name)


def other_manifest(out: Path) -> None:
    something_else(out)
    (out / "edgegen.json").write_text('{"mine": 1}')


def pipe_for_a_manifest(out: Path) -> None:
    onnx_package(out)
    (out / "edgegen.json").unlink()
    os.mkfifo(out / "edgegen.json")


def manifest_that_leads_out(out: Path) -> None:
    onnx_package(out)
    (out / "edgegen.json").rename(out.parent / "edgegen.json")
    (out / "edgegen.json").symlink_to("../edgegen.json")


def package_with_a_pipe(out: Path) -> None:
    onnx_package(out)
    os.mkfifo(out / "mine")


def package_with_a_link_to_a_folder(out: Path) -> None:
    onnx_package(out)
    (out / "mine").symlink_to("unet")


def package_with_own_files(out: Path) -> None:
    onnx_package(out)
    (out / "thesis.txt").write_text("years of work")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "fill",
    [
        something_else,
        a_file,
        link_to_a_package,
        link_to_nothing,
        link_to_itself,
        other_manifest,
        pipe_for_a_manifest,
        manifest_that_leads_out,
        package_with_a_pipe,
        package_with_a_link_to_a_folder,
        package_with_own_files,
    ],
)
def test_place_that_holds_something_else_is_never_replaced(
    fill: Callable[[Path], None],
    force: bool,
    tiny_pipeline: TinyPipeline,
    place: Path,
    edgegen: Edgegen,
) -> None:
    fill(place / "out")
    before = contents(place)
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", place / "out"]
    outcome = edgegen(*arguments, *(["--force"] if force else []))
    outcome.assert_failed(2, str(place / "out"))
    assert contents(place) == before


def test_package_is_replaced_only_when_asked(
    tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    out = onnx_package(place / "out")
    before = contents(place)
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", out]
    edgegen(*arguments).assert_failed(2, "--force")
    assert edgegen(*arguments, "--force", "--dry-run").code == 0
    assert contents(place) == before


def test_model_is_never_replaced_by_its_package(
    copy_of: Callable[[str], Path], place: Path, edgegen: Edgegen
) -> None:
    model = copy_of("ddpm")
    before = contents(model)
    for out in (model, model / "unet"):
        outcome = edgegen("package", model, "-t", "onnx", "-o", out, "--force")
        outcome.assert_failed(2, "holds something else")
    assert contents(model) == before


@pytest.mark.parametrize("name", ["x" * 300, "x" * 250])
def test_name_that_no_disk_takes_is_refused(
    name: str, tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    outcome = edgegen("package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", place / name)
    outcome.assert_failed(10, "File name too long")
    assert contents(place) == {}


def test_place_below_a_file_is_refused(
    tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    (place / "file").write_text("years of work")
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", place / "file/deep/out"]
    edgegen(*arguments).assert_failed(10, "Not a directory", "--output")
    assert (place / "file").read_text() == "years of work"


@pytest.mark.parametrize(
    "name", ["EDGEGEN_STATE_DIR", pytest.param("EDGEGEN_CACHE_DIR", marks=pytest.mark.slow)]
)
def test_folder_of_logs_that_cannot_be_written_is_named(
    name: str,
    tiny_pipeline: TinyPipeline,
    place: Path,
    edgegen: Edgegen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (place / "file").touch()
    monkeypatch.setenv(name, str(place / "file"))
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", place / "out"]
    edgegen(*arguments).assert_failed(10, str(place / "file"), name)
    assert contents(place).keys() == {"file"}


def test_read_only_folder_is_refused_before_any_work(
    mount: Mount, tiny_pipeline: TinyPipeline, edgegen: Edgegen
) -> None:
    disk = mount("ro,size=100m")
    for out in ("out", "new/out"):
        outcome = edgegen("package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", disk / out)
        outcome.assert_failed(10, "Read-only file system", "--output")


def test_package_on_a_read_only_disk_runs_and_is_verified(
    mount: Mount, guarded_package: Path, place: Path, edgegen: Edgegen
) -> None:
    disk = mount("size=50m")
    shutil.copytree(guarded_package, disk / "package")
    remounted = subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
    assert remounted.returncode == 0
    image = place / "image.png"
    assert edgegen("run", disk / "package", "--steps", "2", "-o", image).code == 0
    assert image.is_file()
    before = contents(disk)
    outcome = edgegen("verify", disk / "package")
    assert outcome.code == 0, outcome.errors
    assert "warning: This is not kept as the package's evidence" in outcome.errors
    assert "Read-only file system" in outcome.errors
    assert contents(disk) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_folder_of_another_user_is_refused_before_any_work(
    tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    place.chmod(0o555)
    outcome = edgegen("package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", place / "out")
    outcome.assert_failed(10, "Permission denied", "--output")


def test_small_disk_is_refused_before_any_work(
    mount: Mount, tiny_pipeline: TinyPipeline, edgegen: Edgegen
) -> None:
    disk = mount("size=1m")
    outcome = edgegen("package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", disk / "out")
    outcome.assert_failed(10, " free.", "--output")
    assert contents(disk) == {}


def test_folder_that_is_a_disk_is_refused_before_any_work(
    mount: Mount, tiny_pipeline: TinyPipeline, edgegen: Edgegen
) -> None:
    """It cannot be renamed over: only a folder in it can."""
    disk = mount("size=200m")
    outcome = edgegen("package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", disk)
    outcome.assert_failed(2, str(disk))
    assert contents(disk) == {}


def fill_up(disk: Path, *, leave_bytes: int) -> None:
    """Write a file that takes all but `leave_bytes` of a disk."""
    stat = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - leave_bytes)


def test_disk_that_becomes_full_leaves_what_was_there(
    mount: Mount, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    disk = mount("size=100m")
    out = onnx_package(disk / "out")
    before = contents(disk)
    arguments = ["package", tiny_pipeline("sd15"), "-t", "onnx", "-o", out, "--force"]
    with Command(arguments=arguments, folder=tmp_path) as command:
        assert command.wait_until(lambda: staging_of(out) is not None)
        fill_up(disk, leave_bytes=16 << 10)
        command.wait().assert_failed(10, "is full", "--output")
        command.assert_all_gone(within_s=0)
        assert list(command.scratch.iterdir()) == []
    (disk / "filler").unlink()
    assert contents(disk) == before


def test_image_that_does_not_fit_on_the_disk_is_not_left_in_part(
    mount: Mount, place: Path, edgegen: Edgegen
) -> None:
    package = onnx_package(place / "package")
    disk = mount("size=1m")
    fill_up(disk, leave_bytes=0)
    (disk / "image.png").write_bytes(b"")
    before = contents(disk)
    outcome = edgegen("run", package, "--prompt", "x", "-o", disk / "image.png")
    outcome.assert_failed(10, str(disk))
    assert contents(disk) == before


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "graph"])
def test_limit_on_the_size_of_files_leaves_nothing(
    what: str, copy_of: Callable[[str], Path], place: Path
) -> None:
    import diffusers

    model = copy_of("ddpm")
    unet = diffusers.UNet2DModel.from_pretrained(model / "unet")
    if what == "graph":  # make it the largest file
        unet = diffusers.UNet2DModel.from_config({**unet.config, "block_out_channels": (8, 8)})
        unet.save_pretrained(model / "unet")
    arguments = ["package", model, "-t", "onnx", "-o", place / "out"]
    with Command(arguments=arguments, folder=place.parent, limit_file_bytes=100_000) as command:
        command.wait().assert_failed(10, "--output")
        command.assert_all_gone(within_s=0)
        assert list(command.scratch.iterdir()) == []
    assert contents(place) == {}


def build_of(model: Path, out: Path, *options: str) -> Command:
    arguments = ["package", model, "-t", "onnx", "--skip-parity", "-o", out, *options]
    return Command(arguments=arguments, folder=out.parents[1])


@pytest.mark.slow
def test_of_two_builds_into_one_folder_the_later_keeps_its_work_beside_it(
    tiny_pipeline: TinyPipeline, place: Path
) -> None:
    out = place / "out"
    out.mkdir()
    model = tiny_pipeline("ddpm")
    with build_of(model, out) as first, build_of(model, out, "-r", "fp32") as second:
        outcomes = [first.wait(), second.wait()]
    winner, loser = sorted(outcomes, key=lambda outcome: outcome.code)
    assert winner.code == 0, winner.errors
    loser.assert_failed(2, "holds a package already", f"is now {out}-2", "give it that name")
    assert sorted(path.name for path in place.iterdir()) == ["out", "out-2"]
    recipes = {load_manifest(path).recipe.name for path in place.iterdir()}
    assert recipes == {"fp16-storage", "fp32"}


@pytest.mark.slow
def test_of_two_builds_with_force_the_later_wins(tiny_pipeline: TinyPipeline, place: Path) -> None:
    out = place / "out"
    model = tiny_pipeline("ddpm")
    options = ("--force", "-r", "fp32")
    with build_of(model, out, "--force") as first, build_of(model, out, *options) as second:
        for outcome in (first.wait(), second.wait()):
            assert outcome.code == 0, outcome.errors
    assert [path.name for path in place.iterdir()] == ["out"]
    verify_files(out, load_manifest(out))


@pytest.mark.slow
@pytest.mark.parametrize("there", ["an empty folder", "a package"])
def test_files_that_a_user_saves_into_the_folder_meanwhile_are_kept(
    there: str, tiny_pipeline: TinyPipeline, place: Path
) -> None:
    out = place / "out"
    if there == "a package":
        onnx_package(out)
    else:
        out.mkdir()
    before = contents(out)
    with build_of(tiny_pipeline("ddpm"), out, "--force") as command:
        assert command.wait_until(lambda: staging_of(out) is not None)
        (out / "thesis.txt").write_text("years of work")
        outcome = command.wait()
    outcome.assert_failed(2, str(out), f"is now {out}-2")
    assert contents(out).items() >= before.items()
    assert (out / "thesis.txt").read_text() == "years of work"
    verify_files(place / "out-2", load_manifest(place / "out-2"))
