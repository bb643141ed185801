"""The stand-in device against the real adb: what the tests of the transport build on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.devices.adb_server import ADB, AdbServer
from tests.devices.adb_standin import BOOT_ID, Banner, StandInDevice
from tests.devices.small_disk import small_disk

pytestmark = pytest.mark.skipif(ADB is None, reason="adb is not installed")

MIB = 1 << 20
EVERY_BYTE = bytes(range(256))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    with AdbServer(tmp_path_factory.mktemp("adb") / "home") as started:
        yield started


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder


@pytest.fixture
def device(storage: Path, server: AdbServer) -> Iterator[StandInDevice]:
    with StandInDevice(storage=storage) as running:
        server.connect(running)
        yield running
        server.adb("disconnect", running.serial)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "It did not happen."
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it was read
        return False
    return state != "Z"


# ---- connecting


def test_a_connected_device_is_listed_with_what_its_banner_says(
    server: AdbServer, storage: Path
) -> None:
    banner = Banner(product="husky", model="Pixel 8 Pro", device="husky")
    with StandInDevice(storage=storage, banner=banner) as device:
        said = server.adb("connect", device.serial)
        line = next(
            line for line in server.adb("devices", "-l").text.splitlines() if device.serial in line
        )
        server.adb("disconnect", device.serial)
    assert said.text == f"connected to {device.serial}\n"
    assert re.fullmatch(
        rf"{re.escape(device.serial)} +device product:husky model:Pixel_8_Pro device:husky"
        r" transport_id:\d+",
        line,
    )


def test_a_device_may_be_in_recovery(server: AdbServer, storage: Path) -> None:
    with StandInDevice(storage=storage, banner=Banner(state="recovery")) as device:
        server.adb("connect", device.serial)
        server.wait_for(device.serial, "recovery")
        server.adb("disconnect", device.serial)


def test_a_device_that_is_switched_off_refuses_and_adb_still_exits_with_0(
    server: AdbServer, storage: Path
) -> None:
    with StandInDevice(storage=storage) as device:
        device.power_off()
        said = server.adb("connect", device.serial)
    assert said.returncode == 0
    assert said.text == f"failed to connect to '{device.serial}': Connection refused\n"


def test_an_unknown_host_is_unauthorized_until_the_user_accepts_its_key(
    server: AdbServer, storage: Path
) -> None:
    with StandInDevice(storage=storage, asks=True) as device:
        said = server.adb("connect", device.serial)
        server.wait_for(device.serial, "unauthorized")
        refused = server.adb("-s", device.serial, "shell", "-T", "echo in")
        device.accept_key()
        server.wait_for(device.serial, "device")
        accepted = server.adb("-s", device.serial, "shell", "-T", "echo in")
        server.adb("disconnect", device.serial)
        again = server.adb("connect", device.serial)  # now its signature is known
        server.adb("disconnect", device.serial)
    assert (said.returncode, said.text) == (0, f"failed to authenticate to {device.serial}\n")
    assert refused.returncode == 1
    assert refused.error_text.startswith("error: device unauthorized.\n")
    assert accepted.text == "in\n"
    assert again.text == f"connected to {device.serial}\n"


def test_a_signature_of_another_key_does_not_let_in(server: AdbServer, storage: Path) -> None:
    with StandInDevice(storage=storage, asks=True) as device:
        with AdbServer(storage / "another-host") as other:
            other.adb("connect", device.serial)
            other.wait_for(device.serial, "unauthorized")
            device.accept_key()
            other.wait_for(device.serial, "device")
        server.adb("connect", device.serial)
        server.wait_for(device.serial, "unauthorized")
        server.adb("disconnect", device.serial)


def test_a_device_that_never_answers_is_offline(server: AdbServer, device: StandInDevice) -> None:
    device.faults.silent = True
    device.drop()
    server.wait_for(device.serial, "offline")
    said = server.adb("-s", device.serial, "shell", "-T", "true")
    assert (said.returncode, said.error_text) == (1, "error: device offline\n")


# ---- commands


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_a_command_s_exit_code_and_streams_arrive_apart(
    server: AdbServer, device: StandInDevice, code: int
) -> None:
    said = server.adb("-s", device.serial, "shell", "-T", f"echo out; echo err >&2; exit {code}")
    assert (said.returncode, said.stdout, said.stderr) == (code, b"out\n", b"err\n")


def test_a_command_that_a_signal_ended_exits_with_128_and_its_number(
    server: AdbServer, device: StandInDevice
) -> None:
    said = server.adb("-s", device.serial, "shell", "-T", "kill -9 $$")
    assert said.returncode == 128 + signal.SIGKILL


def test_the_old_shell_has_no_exit_code_and_one_stream(
    server: AdbServer, device: StandInDevice
) -> None:
    said = server.adb("-s", device.serial, "shell", "-x", "echo out; echo err >&2; exit 3")
    assert (said.returncode, said.stdout, said.stderr) == (0, b"out\nerr\n", b"")


def test_a_command_starts_neither_in_the_storage_nor_with_the_host_s_environment(
    server: AdbServer, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_OF_THE_HOST", "1")
    said = server.adb("-s", device.serial, "shell", "-T", "pwd; env").text
    assert str(device.storage) not in said.splitlines()[0]
    assert "EDGEGEN_OF_THE_HOST" not in said
    assert f"TMPDIR={device.storage}\n" in said


def test_programs_of_android_can_be_played(server: AdbServer, storage: Path) -> None:
    play = {"getprop": "echo '[ro.product.model]: [Pixel 8]'\n"}
    with StandInDevice(storage=storage, programs=play) as device:
        server.connect(device)
        said = server.adb("-s", device.serial, "shell", "-T", "getprop")
        server.adb("disconnect", device.serial)
    assert said.text == "[ro.product.model]: [Pixel 8]\n"


@pytest.mark.parametrize("data", [EVERY_BYTE * 3, b"", os.urandom(20 * MIB)], ids=len)
def test_bytes_go_in_and_out_of_a_command_unchanged(
    server: AdbServer, device: StandInDevice, data: bytes
) -> None:
    path = device.storage / "file"
    into = server.adb("-s", device.serial, "shell", "-T", f"exec cat > {path}", input=data)
    out = server.adb("-s", device.serial, "shell", "-T", f"exec cat {path}")
    assert (into.returncode, out.returncode) == (0, 0)
    assert path.read_bytes() == data
    assert out.stdout == data


def test_closing_adb_s_input_closes_the_command_s_input(
    server: AdbServer, device: StandInDevice
) -> None:
    with server.start("-s", device.serial, "shell", "-T", "cat; echo end; exit 5") as child:
        child.send("a line")
        lines = child.lines(silence_s=5)
        assert next(lines) == "a line"  # it came before the input was closed
        child.close_input()
        assert list(lines) == ["end"]
        assert child.wait(5) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_adb_hangs_its_command_up(
    server: AdbServer, device: StandInDevice, number: signal.Signals
) -> None:
    with server.start("-s", device.serial, "shell", "-T", "echo $$; exec sleep 60") as child:
        pid = int(next(child.lines(silence_s=5)))
        assert is_running(pid)
        os.kill(child.pid, number)
        child.wait(5)
        wait_until(lambda: not is_running(pid))


def test_sighup_reaches_the_shell_alone_so_a_silent_grandchild_survives(
    server: AdbServer, device: StandInDevice
) -> None:
    command = "sleep 60 & echo $!; wait"
    with server.start("-s", device.serial, "shell", "-T", command) as child:
        pid = int(next(child.lines(silence_s=5)))
    time.sleep(0.3)
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_process_that_watches_its_input_ends_with_adb(
    server: AdbServer, device: StandInDevice
) -> None:
    command = "(trap '' HUP; echo $(exec sh -c 'echo $PPID'); cat >/dev/null; exit 0) ; true"
    with server.start("-s", device.serial, "shell", "-T", command) as child:
        pid = int(next(child.lines(silence_s=5)))
        assert is_running(pid)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(5)
        wait_until(lambda: not is_running(pid))


# ---- files


def test_push_and_pull_keep_bytes_and_time(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB + 17))
    os.utime(source, (1_600_000_000, 1_600_000_000))
    target = device.storage / "new" / "folder" / "file"
    pushed = server.adb("-s", device.serial, "push", str(source), str(target))
    pulled = server.adb("-s", device.serial, "pull", "-a", str(target), str(tmp_path / "back"))
    assert (pushed.returncode, pulled.returncode) == (0, 0)
    assert target.read_bytes() == source.read_bytes() == (tmp_path / "back").read_bytes()
    assert target.stat().st_mtime == 1_600_000_000


def test_push_sends_a_tree_and_ls_lists_it(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "a").write_text("a")
    (tree / "b").write_text("bb")
    said = server.adb("-s", device.serial, "push", str(tree), f"{device.storage}/tree")
    listed = server.adb("-s", device.serial, "ls", f"{device.storage}/tree")
    assert said.returncode == 0
    assert (device.storage / "tree" / "sub" / "a").read_text() == "a"
    assert {line.split()[-1] for line in listed.text.splitlines()} == {".", "..", "b", "sub"}


def test_with_a_root_the_paths_begin_there(
    server: AdbServer, storage: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("x")
    with StandInDevice(storage=storage, root=tmp_path / "root") as device:
        server.connect(device)
        said = server.adb(
            *("-s", device.serial, "push", str(tmp_path / "source"), "/data/local/tmp/file")
        )
        up = server.adb(
            *("-s", device.serial, "push", str(tmp_path / "source"), "/data/../../escaped")
        )
        server.adb("disconnect", device.serial)
    assert said.returncode == 0
    assert (tmp_path / "root/data/local/tmp/file").read_text() == "x"
    assert up.returncode == 1
    assert not (tmp_path / "escaped").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_commands_can_run_in_a_root_of_their_own(
    server: AdbServer, storage: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for program in ("/bin/sh", "/bin/cat"):
        listed = subprocess.run(["ldd", program], capture_output=True, check=True).stdout.decode()
        libraries = (word for word in listed.split() if word.startswith("/"))
        for path in (program, *libraries):
            (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path.lstrip("/"))
    (root / "data/local/tmp").mkdir(parents=True)
    (root / "data/local/tmp/file").write_text("of the root")
    shell = ("chroot", str(root), "/bin/sh", "-c")
    with StandInDevice(storage=storage, root=root, shell=shell) as device:
        server.connect(device)
        said = server.adb(
            *("-s", device.serial, "shell", "-T"),
            "pwd; echo $TMPDIR; cat $TMPDIR/file; exit 4",
        )
        server.adb("disconnect", device.serial)
    assert (said.returncode, said.error_text) == (4, "")
    assert said.text == "/\n/data/local/tmp\nof the root"


@pytest.mark.parametrize("path", ["/sdcard/file", "/etc/edgegen-standin"])
def test_nothing_is_written_outside_the_storage(
    server: AdbServer, device: StandInDevice, tmp_path: Path, path: str
) -> None:
    (tmp_path / "source").write_text("x")
    said = server.adb("-s", device.serial, "push", str(tmp_path / "source"), path)
    assert said.returncode == 1
    assert "Permission denied" in said.text
    assert not Path(path).exists()


def test_a_symlink_does_not_lead_out_of_the_storage(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (device.storage / "link").symlink_to(tmp_path)
    said = server.adb(
        *("-s", device.serial, "pull", f"{device.storage}/link/secret", str(tmp_path / "got"))
    )
    assert said.returncode == 1
    assert not (tmp_path / "got").exists()


def test_a_newer_adb_s_requests_are_served(server: AdbServer, device: StandInDevice) -> None:
    """LIS2, SND2 and RCV2, which this machine's adb may be too old to send."""
    path = f"{device.storage}/file".encode()

    def ask(request: bytes, data: bytes) -> bytes:
        return request + struct.pack("<I", len(data)) + data

    def setup(request: bytes, *numbers: int) -> bytes:
        return request + struct.pack(f"<{len(numbers)}I", *numbers)

    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as host:
        reply = host.makefile("rb")
        for service in (f"host:transport:{device.serial}", "sync:"):
            host.sendall(f"{len(service):04x}{service}".encode())
            assert reply.read(4) == b"OKAY"
        host.sendall(ask(b"SND2", path) + setup(b"SND2", 0o100640, 0))
        host.sendall(ask(b"DATA", EVERY_BYTE) + setup(b"DONE", 1_600_000_000))
        assert reply.read(8) == setup(b"OKAY", 0)
        host.sendall(ask(b"RCV2", path) + setup(b"RCV2", 0))
        assert reply.read(8 + 256 + 8) == ask(b"DATA", EVERY_BYTE) + setup(b"DONE", 0)
        host.sendall(ask(b"LIS2", str(device.storage).encode()))
        sizes = {}
        while (head := reply.read(76))[:4] == b"DNT2":
            numbers = struct.unpack("<4sIQQ4IQ3qI", head)
            sizes[reply.read(numbers[-1]).decode()] = numbers[8]
        assert head[:4] == b"DONE"
        host.sendall(setup(b"QUIT", 0))
        reply.close()
    assert sizes["file"] == 256
    assert sorted(sizes) == [".", "..", "file"]


# ---- faults


def test_a_cut_push_fails_and_leaves_no_file(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(8 * MIB))
    device.faults.cut_after(received_bytes=3 * MIB)
    target = device.storage / "big"
    said = server.adb("-s", device.serial, "push", str(tmp_path / "big"), str(target))
    assert said.returncode == 1
    assert "failed to copy" in said.text
    wait_until(lambda: not target.exists())


def test_a_cut_command_can_look_like_a_success(server: AdbServer, device: StandInDevice) -> None:
    """adb 29 exits with 0 where newer ones exit with 255: only the data's end can be believed."""
    device.faults.cut_after(sent_bytes=3 * MIB)
    command = f"head -c {8 * MIB} /dev/zero; echo end"
    said = server.adb("-s", device.serial, "shell", "-T", command)
    assert said.returncode in (0, 255)
    assert len(said.stdout) < 8 * MIB


def test_after_a_cut_adb_connects_again_by_itself(server: AdbServer, device: StandInDevice) -> None:
    device.drop()
    server.wait_for(device.serial, "device")
    assert server.adb("-s", device.serial, "shell", "-T", "echo in").text == "in\n"


def test_a_full_device_refuses_a_push_and_says_why(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(2 * MIB))
    device.faults.free_bytes = MIB
    said = server.adb("-s", device.serial, "push", str(tmp_path / "big"), f"{device.storage}/big")
    assert said.returncode == 1
    assert "No space left on device" in said.text
    wait_until(lambda: list(device.storage.iterdir()) == [])


def test_a_command_on_a_small_disk_runs_out_of_it(server: AdbServer, device: StandInDevice) -> None:
    with small_disk(device.storage / "disk", MIB) as disk:
        said = server.adb(
            *("-s", device.serial, "shell", "-T", f"exec cat > {disk}/big"), input=bytes(2 * MIB)
        )
    assert said.returncode == 1
    assert "No space left on device" in said.error_text


def test_a_slow_cable_is_as_slow_as_it_was_set(
    server: AdbServer, device: StandInDevice, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(2 * MIB))
    device.faults.bytes_per_s = 4 * MIB
    said = server.adb("-s", device.serial, "push", str(tmp_path / "file"), f"{device.storage}/a")
    assert said.returncode == 0
    assert 0.4 < said.wall_s < 5


def test_a_reboot_kills_commands_and_changes_the_boot_id(
    server: AdbServer, device: StandInDevice
) -> None:
    before = server.adb("-s", device.serial, "shell", "-T", f"cat {BOOT_ID}").text.strip()
    assert before == device.boot_id
    with server.start("-s", device.serial, "shell", "-T", "echo $$; exec sleep 60") as child:
        pid = int(next(child.lines(silence_s=5)))
        device.reboot(0.2)
        assert child.wait(5) in (0, 255)
        wait_until(lambda: not is_running(pid))
    server.adb("disconnect", device.serial)
    wait_until(lambda: device.boot_id != before)
    server.connect(device)
    after = server.adb("-s", device.serial, "shell", "-T", f"cat {BOOT_ID}").text.strip()
    assert after == device.boot_id != before


def test_adb_reboot_reboots_the_device(server: AdbServer, device: StandInDevice) -> None:
    before = device.boot_id
    server.adb("-s", device.serial, "reboot")
    wait_until(lambda: device.boot_id != before)
    assert device.services[-1] == "reboot:"


def test_a_service_that_the_device_lacks_is_refused(
    server: AdbServer, device: StandInDevice
) -> None:
    said = server.adb("-s", device.serial, "reverse", "--list")
    assert (said.returncode, said.error_text) == (1, "error: closed\n")


# ---- the server


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.devices.adb_server import AdbServer\n"
        "with AdbServer(Path(sys.argv[1])) as server:\n"
        "    print(server.port, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "home")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        owner.kill()

    def is_gone() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return True
        return False

    wait_until(is_gone)
