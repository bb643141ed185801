"""The store on a device: by content, verified, resumed, switched in one step."""

import contextlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import (
    ConfigError,
    DeviceBusyError,
    DeviceError,
    DeviceFullError,
    IntegrityError,
    ParityError,
)
from edgegen.core.files import sha256_of
from edgegen.devices import store
from edgegen.devices.device import Device
from edgegen.runner.deployment import deploy
from tests.devices.stand_ins import CutTransport, OtherMachine, device
from tests.runner.test_runner_session import golden_package
from tests.tiny_packages import change_manifest, for_chips, onnx_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("store") / "package")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def connected(home: Path) -> Iterator[Device]:
    with device(OtherMachine(home)) as found:
        found.agent.lock("test")
        yield found


def versions(home: Path, name: str) -> list[str]:
    folder = home / "packages" / name / "versions"
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def another(package: Path, folder: Path, seed: int) -> Path:
    """A package that differs in its manifest alone."""
    import shutil

    shutil.copytree(package, folder)
    change_manifest(folder, toolkits={"test": str(seed)})
    return folder


def test_what_arrives_is_the_package_byte_for_byte(package: Path, connected: Device) -> None:
    cargo = store.shipment(package)
    stored = store.push(connected, cargo)
    assert stored.sent_bytes == sum({f.sha256: f.size_bytes for f in cargo.files}.values())
    for file in cargo.files:
        there = Path(stored.path) / file.path
        assert sha256_of(there) == file.sha256
    assert sha256_of(Path(stored.path) / "edgegen.json")[:16] == stored.version


def test_what_is_there_does_not_travel_again(
    package: Path, connected: Device, tmp_path: Path
) -> None:
    first = store.push(connected, store.shipment(package))
    assert store.push(connected, store.shipment(package)).sent_bytes == 0
    changed = another(package, tmp_path / "changed", 1)
    second = store.push(connected, store.shipment(changed))
    assert second.sent_bytes == (changed / "edgegen.json").stat().st_size
    assert second.version != first.version
    assert sorted([first.version, second.version]) == versions(
        Path(connected.agent.root), first.name
    )


def test_a_blob_that_was_cut_short_on_the_device_is_sent_again(
    package: Path, connected: Device, home: Path
) -> None:
    cargo = store.shipment(package)
    store.push(connected, cargo)
    largest = max(cargo.files, key=lambda file: file.size_bytes)
    blob = home / "blobs" / largest.sha256
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.truncate(100)
    assert store.push(connected, cargo).sent_bytes == largest.size_bytes
    assert sha256_of(blob) == largest.sha256


def test_a_part_whose_bytes_went_bad_is_found_and_sent_anew(
    package: Path, connected: Device, home: Path
) -> None:
    cargo = store.shipment(package)
    largest = max(cargo.files, key=lambda file: file.size_bytes)
    part = home / "blobs" / f"{largest.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * (largest.size_bytes // 2))
    stored = store.push(connected, cargo)
    assert not part.exists()
    assert stored.sent_bytes == store.shipment(package).size_bytes
    assert sha256_of(Path(stored.path) / largest.path) == largest.sha256


def test_a_file_here_that_is_not_what_the_manifest_says_is_never_stored(
    package: Path, connected: Device, home: Path, tmp_path: Path
) -> None:
    bad = another(package, tmp_path / "bad", 2)
    largest = max(store.shipment(bad).files, key=lambda file: file.size_bytes)
    with largest.source.open("r+b") as file:
        file.seek(largest.size_bytes // 2)
        file.write(b"\xff\x00\xff\x00")
    with pytest.raises(IntegrityError, match="not the file that its manifest names"):
        store.push(connected, store.shipment(bad))
    assert not (home / "blobs" / largest.sha256).exists()
    assert not (home / "packages").exists()


def cuts(total: int, count: int) -> list[int]:
    generator = random.Random(20261125)
    return sorted(generator.randrange(total) for _ in range(count))


def connect_and_push(transport: OtherMachine, cargo: store.Shipment) -> store.Stored:
    with device(transport) as connected:
        connected.agent.lock("test")
        return store.push(connected, cargo)


def push_with_cut(package: Path, home: Path, after_bytes: int) -> None:
    """Push, lose the connection after so many bytes, and push again: nothing is lost."""
    cargo = store.shipment(package)
    transport = CutTransport(home, after_bytes)
    with pytest.raises(DeviceError, match="gone"):
        connect_and_push(transport, cargo)
    assert not (home / "packages").exists()
    for blob in (home / "blobs").glob("*"):
        if not blob.name.endswith(".part"):
            assert sha256_of(blob) == blob.name
    already = sum(path.stat().st_size for path in (home / "blobs").glob("*"))
    transport.after_bytes = None
    stored = connect_and_push(transport, cargo)
    sizes = {file.sha256: file.size_bytes for file in cargo.files}
    assert stored.sent_bytes == sum(sizes.values()) - already
    for file in cargo.files:
        assert sha256_of(Path(stored.path) / file.path) == file.sha256


def all_bytes(package: Path) -> int:
    """What goes to a device that has nothing: the runner and the package."""
    from edgegen.runner.pack import pack_runner

    return len(pack_runner()) + store.shipment(package).size_bytes


@pytest.mark.parametrize("number", range(5))
def test_a_push_that_was_cut_goes_on_where_it_was(package: Path, home: Path, number: int) -> None:
    push_with_cut(package, home, cuts(all_bytes(package), 5)[number])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(200))
def test_a_push_that_was_cut_at_any_of_200_bytes_goes_on(
    package: Path, home: Path, number: int
) -> None:
    push_with_cut(package, home, cuts(all_bytes(package), 200)[number])


def test_too_little_room_is_found_before_anything_travels(
    package: Path, connected: Device, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo = store.shipment(package)
    real = type(connected).look_again
    facts = real(connected)

    import dataclasses

    monkeypatch.setattr(
        Device,
        "look_again",
        lambda self: dataclasses.replace(facts, free_bytes=cargo.size_bytes),
    )
    with pytest.raises(DeviceFullError, match="must stay free") as caught:
        store.push(connected, cargo)
    assert "edgegen prune" in caught.value.hint
    assert not list((home / "blobs").glob("*"))


def test_two_hosts_do_not_use_a_device_at_once(home: Path) -> None:
    with device(OtherMachine(home)) as first:
        first.agent.lock("bench of the first")
        second = device(OtherMachine(home))
        with second, pytest.raises(DeviceBusyError, match="bench of the first"):
            second.agent.lock("second")
    with device(OtherMachine(home)) as third:
        third.agent.lock("third")


def test_a_dead_owner_does_not_hold_the_lock(home: Path) -> None:
    first = device(OtherMachine(home))
    first.__enter__()
    first.agent.lock("killed")
    assert first.agent._child is not None
    os.kill(first.agent._child.pid, 9)
    with device(OtherMachine(home)) as second:
        second.agent.lock("second")
    first.agent.close()


def test_a_deployed_package_is_current_and_the_one_before_can_come_back(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    first = deploy(connected, package, name="cats")
    second = deploy(connected, another(package, tmp_path / "b", 3), name="cats")
    assert (first.before, second.before) == (None, first.stored.version)
    current = home / "packages" / "cats" / "current"
    assert current.resolve().name == second.stored.version
    assert store.rollback(connected, "cats") == (second.stored.version, first.stored.version)
    assert current.resolve().name == first.stored.version
    with pytest.raises(DeviceError, match="no version before"):
        store.rollback(connected, "cats")
    assert current.resolve().name == first.stored.version


def list_golden_files(package: Path) -> None:
    """Bring the manifest's list of the golden case's files up to date."""
    files = json.loads((package / "edgegen.json").read_text())["files"]
    golden = [
        {
            "path": path.relative_to(package).as_posix(),
            "sha256": sha256_of(path),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted((package / "golden").iterdir())
    ]
    others = [file for file in files if not file["path"].startswith("golden/")]
    change_manifest(package, files=others + golden)


def test_what_fails_its_golden_case_never_becomes_current(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    good = golden_package(package, tmp_path / "good")
    list_golden_files(good)
    done = deploy(connected, good, name="cats")
    assert done.checks
    assert all(check.passed for check in done.checks)
    bad = another(good, tmp_path / "bad", 4)
    image = bad / "golden" / "image.npy"
    np.save(image, -np.load(image))
    list_golden_files(bad)
    with pytest.raises(ParityError, match="Nothing was switched"):
        deploy(connected, bad, name="cats")
    assert (home / "packages" / "cats" / "current").resolve().name == done.stored.version


def test_prune_removes_what_nothing_uses_and_keeps_what_is_current(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    kept = [
        deploy(connected, another(package, tmp_path / str(i), i), name="cats").stored.version
        for i in range(4)
    ]
    store.push(connected, store.shipment(another(package, tmp_path / "staged", 9), "cats"))
    (home / "blobs" / ("ab" * 32 + ".part")).write_bytes(b"half")
    done = store.prune(connected, keep=1)
    assert versions(home, "cats") == sorted(kept[-2:])
    assert len(done.versions) == 3
    assert not list((home / "blobs").glob("*.part"))
    used = {file.sha256 for file in store.shipment(package).files[:-1]}
    assert used <= {path.name for path in (home / "blobs").iterdir()}
    assert store.rollback(connected, "cats") == (kept[3], kept[2])
    (found,) = store.status(connected)
    assert found.current == kept[2]


def test_a_name_that_would_leave_the_store_is_refused(package: Path, connected: Device) -> None:
    with pytest.raises(ConfigError, match="no name"):
        store.shipment(package, "../../etc")


@pytest.mark.parametrize(
    "request_fields",
    [
        {"request": "link", "name": "../x", "version": "1", "files": []},
        {"request": "link", "name": "x", "version": "1", "files": [["../../x", "ab" * 32]]},
        {"request": "link", "name": "x", "version": "1", "files": [["/etc/x", "ab" * 32]]},
        {"request": "put", "sha256": "../../x", "size": 1},
        {"request": "get", "path": "/etc/passwd"},
        {"request": "nothing"},
        {"request": "put"},
        {"request": "link", "name": 3},
    ],
    ids=str,
)
def test_the_agent_refuses_what_leaves_its_folder(
    connected: Device, request_fields: dict[str, Any]
) -> None:
    name = request_fields.pop("request")
    with pytest.raises(DeviceError):
        connected.agent.request(name, **request_fields)
    assert connected.agent.request("status") == {"packages": []}


def test_a_file_comes_back_from_a_run(connected: Device, tmp_path: Path) -> None:
    folder = Path(connected.agent.request("make_run", name="run-1")["path"])
    data = os.urandom(3_000_001)
    (folder / "0.png").write_bytes(data)
    connected.agent.get(str(folder / "0.png"), tmp_path / "here.png", most_bytes=3_000_001)
    assert (tmp_path / "here.png").read_bytes() == data
    connected.agent.request("remove_run", name="run-1")
    assert not folder.exists()


def cargo_of(package: Path, folder: Path, seed: int) -> store.Shipment:
    return store.shipment(another(package, folder / str(seed), seed), "cats")


def put(connected: Device, cargo: store.Shipment) -> str:
    store.switch(connected, store.push(connected, cargo))
    return cargo.version


def test_rollback_keeps_the_history_and_prune_the_version_that_was_left(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    first, second, third = (put(connected, cargo_of(package, tmp_path, i)) for i in range(3))
    (before,) = store.status(connected)
    assert store.rollback(connected, "cats") == (third, second)
    (after,) = store.status(connected)
    assert after.current == second
    dates = {each.version: each.at for each in before.versions}
    assert {each.version: each.at for each in after.versions} == dates
    assert None not in dates.values()
    rolled_back = [each.version for each in after.versions if each.rolled_back_at is not None]
    assert rolled_back == [third]
    done = store.prune(connected, keep=1)
    assert done.versions == (("cats", first),)
    assert versions(home, "cats") == sorted([second, third])
    # Forward again, and the way back is still known.
    put(connected, cargo_of(package, tmp_path / "again", 2))
    (again,) = store.status(connected)
    assert [each.rolled_back_at for each in again.versions] == [None, None]
    assert store.rollback(connected, "cats") == (third, second)


def test_rollback_after_rollback_goes_on_back_and_not_to_and_fro(
    package: Path, connected: Device, tmp_path: Path
) -> None:
    first, second, third = (put(connected, cargo_of(package, tmp_path, i)) for i in range(3))
    assert store.rollback(connected, "cats") == (third, second)
    assert store.rollback(connected, "cats") == (second, first)
    with pytest.raises(DeviceError, match="no version before") as caught:
        store.rollback(connected, "cats")
    assert "edgegen status" in caught.value.hint
    assert "edgegen deploy" in caught.value.hint
    with pytest.raises(DeviceError, match="deployed are: cats"):
        store.rollback(connected, "dogs")


@pytest.mark.parametrize("lost", ["file", "record", "cut"])
def test_a_version_that_lacks_files_is_not_whole_and_never_becomes_current(
    package: Path, connected: Device, tmp_path: Path, home: Path, lost: str
) -> None:
    cargos = [cargo_of(package, tmp_path, i) for i in range(3)]
    first, second, third = (put(connected, cargo) for cargo in cargos)
    folder = home / "packages" / "cats" / "versions"
    victim = folder / second / cargos[1].files[0].path
    if lost == "record":  # as prune leaves it when it is killed
        next(folder.glob(f"{second}.*")).unlink()
    else:
        victim.unlink()
        if lost == "cut":
            victim.write_bytes(b"")
    (found,) = store.status(connected)
    assert [each.version for each in found.versions if not each.whole] == [second]
    with pytest.raises(DeviceError, match="no whole version"):
        connected.agent.request("switch", name="cats", version=second)
    assert store.rollback(connected, "cats") == (third, first)
    # Deployed again it is whole, and what is current never lacked a file.
    put(connected, cargos[1])
    (found,) = store.status(connected)
    assert found.current == second
    assert all(each.whole for each in found.versions)
    for file in cargos[1].files:
        assert sha256_of(folder / second / file.path) == file.sha256


def test_a_blob_that_went_bad_is_bad_for_every_version_that_uses_it(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    cargos = [cargo_of(package, tmp_path, i) for i in range(2)]
    first, second = (put(connected, cargo) for cargo in cargos)
    shared = max(cargos[0].files, key=lambda file: file.size_bytes)
    blob = home / "blobs" / shared.sha256
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.write(b"\xff" * 64)
    assert store.verify(connected, cargos[1]) == 1
    (found,) = store.status(connected)
    assert [each.whole for each in found.versions] == [False, False]
    assert found.current == second  # it is what applications see
    with pytest.raises(DeviceError, match="not all files are here"):
        store.rollback(connected, "cats")
    store.prune(connected, keep=1)  # keeps the blobs of what is current
    store.push(connected, cargos[1])
    (found,) = store.status(connected)
    assert [(each.version, each.whole) for each in found.versions] == [(second, True)]
    assert first not in versions(home, "cats")


def test_a_dry_run_of_prune_lists_what_goes_and_removes_nothing(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    for i in range(3):
        put(connected, cargo_of(package, tmp_path, i))
    (home / "runtimes" / ".android-arm64-0.tar").parent.mkdir()
    (home / "runtimes" / ".android-arm64-0.tar").write_bytes(b"x" * 5000)
    before = sorted(home.rglob("*"))
    would = store.prune(connected, keep=0, dry_run=True)
    assert sorted(home.rglob("*")) == before
    assert len(would.versions) == 2
    assert would.others == ("runtimes/.android-arm64-0.tar",)
    assert would.freed_bytes > 5000
    assert store.prune(connected, keep=0) == would
    assert not (home / "runtimes" / ".android-arm64-0.tar").exists()
    assert store.prune(connected, keep=0).freed_bytes == 0


def test_what_lies_in_the_store_and_is_not_ours_hinders_nothing(
    package: Path, connected: Device, tmp_path: Path, home: Path
) -> None:
    version = put(connected, cargo_of(package, tmp_path, 0))
    put(connected, cargo_of(package, tmp_path, 1))
    packages = home / "packages"
    (packages / "Not a name").mkdir()
    (packages / ".DS_Store").write_bytes(b"\0")
    (packages / "empty").mkdir()
    (packages / "strange").mkdir()
    (packages / "strange" / "current").symlink_to("../../..")
    history = packages / "cats" / "history"
    torn = '{"version": "../../x"}\n[1]\n{"version": 3}\n' + "[" * 5000 + '\n{"versi'
    history.write_text(history.read_text() + torn)
    names = [each.name for each in store.status(connected)]
    assert names == ["cats", "empty", "strange"]
    assert store.rollback(connected, "cats")[1] == version
    assert json.loads(history.read_text().splitlines()[-1])["rolled_back"]
    store.prune(connected, keep=0)
    assert (packages / "Not a name").is_dir()


def test_a_full_disk_is_pruned_without_storing_anything(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgegen.runner.pack import pack_runner
    from tests.devices.small_disk import small_disk

    monkeypatch.setattr(store, "_SPARE_BYTES", 0)
    cargo = cargo_of(package, tmp_path, 0)
    room = 3 * cargo.size_bytes + 2 * len(pack_runner())
    with small_disk(tmp_path / "disk", room) as disk:
        home = disk / "home"
        with device(OtherMachine(home)) as there:
            there.agent.lock("test")
            put(there, cargo)
            put(there, cargo_of(package, tmp_path, 1))
            old_runner = Path(there.agent.runner)
        # A newer edgegen comes to a card without a byte left.
        old_runner.parent.rename(old_runner.parent.with_name("0" * 64))
        with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
            while True:
                file.write(b"\0" * 4096)
        with device(OtherMachine(home)) as there:
            there.agent.lock("prune")
            with pytest.raises(DeviceFullError, match="No space left") as caught:
                _ = there.agent.runner
            assert "edgegen prune" in caught.value.hint
            assert not (home / "runner" / there.agent.runner_id).exists() or not list(
                (home / "runner" / there.agent.runner_id).iterdir()
            )
            (found,) = store.status(there)
            assert len(found.versions) == 2
            assert there.facts.root == str(home)
            assert store.prune(there, keep=0).freed_bytes > 0
        (disk / "filler").unlink()
        with device(OtherMachine(home)) as there:
            assert Path(there.agent.runner).is_file()


def test_a_chips_part_of_a_package_is_a_version_of_its_own(
    connected: Device, home: Path, tmp_path: Path
) -> None:
    chips = ("snapdragon-8-gen-3", "snapdragon-8-elite")
    package = for_chips(onnx_package(tmp_path / "package"), *chips)
    part = store.push(connected, store.shipment(package, "both", chip=chips[1]))
    there = Path(part.path)
    assert part.version.endswith(f"-{chips[1]}")
    assert (there / "unet" / chips[1] / "model.onnx").is_file()
    assert not (there / "unet" / chips[0]).exists()
    assert store.verify(connected, store.shipment(package, "both", chip=chips[1])) == 0
    assert store.switch(connected, part) is None
    (shown,) = store.status(connected)
    assert shown.current == part.version
    whole = store.push(connected, store.shipment(package, "both"))  # it is no less complete
    assert (Path(whole.path) / "unet" / chips[0] / "model.onnx").is_file()
