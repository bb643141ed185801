"""What every transport must do: one suite for all of the table."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.core.errors import (
    ConfigError,
    ConnectionLostError,
    DeviceError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
)
from edgegen.core.process import Child
from edgegen.devices import store
from edgegen.devices.device import Device
from edgegen.devices.ssh import SshTransport
from edgegen.devices.transports import Transport, open_transport
from edgegen.runner.deployment import deploy
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.pack import pack_runner
from edgegen.runner.protocol import Step
from edgegen.runner.session import RunnerSession
from tests.devices.adb_standin import StandInDevice
from tests.devices.conftest import adb_transport, is_running
from tests.devices.sshd import Sshd
from tests.tiny_packages import onnx_package

SILENCE_S = 30.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("transports") / "package")


def output(child: Child) -> bytes:
    data = b""
    while piece := child.read(1 << 16, silence_s=SILENCE_S):
        data += piece
    return data


def wait_for_end(pid: int, within_s: float = 15.0) -> bool:
    until = time.monotonic() + within_s
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(pid)


def test_arguments_arrive_as_they_were_given(transport: Transport) -> None:
    words = ["a b", "it's", '"x"', "$HOME", "`id`", "*", "a\nb", "ü", "", "--", "-n", "\\"]
    with transport.start(["printf", "[%s]", *words]) as child:
        assert output(child).decode() == "".join(f"[{word}]" for word in words)
        assert child.wait(SILENCE_S) == 0


def test_every_byte_passes_unchanged_in_both_directions(transport: Transport) -> None:
    data = bytes(range(256)) * 2000 + b"\r\n\n\0\x04\x03\x1a" + os.urandom(300_000)
    with transport.start(["head", "-c", str(len(data))]) as child:
        child.write(data[:100_000], stall_s=SILENCE_S)
        first = child.read(1 << 20, silence_s=SILENCE_S)
        sent = 100_000
        received = first
        while sent < len(data):
            child.write(data[sent : sent + 50_000], stall_s=SILENCE_S)
            sent += 50_000
            if len(received) < sent - 60_000:
                received += child.read(1 << 20, silence_s=SILENCE_S)
        received += output(child)
        assert received == data


@pytest.mark.parametrize("code", [0, 1, 3, 100, 127])
def test_a_programs_exit_code_is_its_own(transport: Transport, code: int) -> None:
    with transport.start(["sh", "-c", f"echo out; echo err >&2; exit {code}"]) as child:
        assert output(child) == b"out\n"
        assert child.wait(SILENCE_S) == code
        assert child.log_tail() == "err"
        assert transport.fault(code, child.log_tail()) is None


def test_a_signal_that_ends_a_program_is_told(transport: Transport) -> None:
    with transport.start(["sh", "-c", "kill -9 $$"]) as child:
        output(child)
        assert child.wait(SILENCE_S) in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert transport.fault(child.returncode or 0, child.log_tail()) is None


def test_the_environment_reaches_the_program(transport: Transport) -> None:
    environment = {"EDGEGEN_A": "1", "EDGEGEN_B": "two words; $x"}
    with transport.start(["sh", "-c", 'echo "$EDGEGEN_A|$EDGEGEN_B"'], env=environment) as child:
        assert output(child) == b"1|two words; $x\n"


def test_the_end_of_the_input_reaches_the_program(transport: Transport) -> None:
    with transport.start(["sh", "-c", "cat; echo end"]) as child:
        child.send("line")
        child.close_input()
        assert output(child) == b"line\nend\n"


def test_a_program_that_watches_its_input_ends_when_the_child_is_killed(
    transport: Transport,
) -> None:
    with transport.start(["sh", "-c", "echo $$; exec cat"]) as child:
        pid = int(child.read(100, silence_s=SILENCE_S))
        assert is_running(pid)
        os.kill(child.pid, signal.SIGKILL)
        assert wait_for_end(pid)


def test_a_line_arrives_when_it_was_written_not_later(transport: Transport) -> None:
    with transport.start(["sh", "-c", "echo one; cat; echo two"]) as child:
        assert child.read(100, silence_s=SILENCE_S) == b"one\n"
        child.close_input()
        assert output(child) == b"two\n"


def test_the_agent_answers(transport: Transport) -> None:
    with Device(transport, pack_runner()) as device:
        facts = device.facts
        assert facts.cores >= 1
        assert facts.python.startswith("3.")
        assert facts.runtime is not None
        again = device.state()
        assert again.boot_id == facts.boot_id


def test_a_package_is_deployed_and_runs(
    transport: Transport, package: Path, tmp_path: Path
) -> None:
    from tests.devices.test_store import list_golden_files
    from tests.runner.test_runner_session import golden_package

    golden = golden_package(package, tmp_path / "golden")
    list_golden_files(golden)
    with Device(transport, pack_runner()) as device:
        done = deploy(device, golden)
        assert done.checks
        assert all(check.passed for check in done.checks)
        assert done.stored.sent_bytes > 0
        (found,) = store.status(device)
        assert found.current == done.stored.version


def test_nothing_of_a_run_stays_behind(transport: Transport, package: Path) -> None:
    with Device(transport, pack_runner()) as device:
        device.agent.lock("test")
        stored = store.push(device, store.shipment(package))
        job = GenerateJob(package=stored.path, request=Request(prompts=("a cat",)), repeat=100_000)
        events = RunnerSession(device=device).events(job)
        pid = next(events).pid  # type: ignore[union-attr]  # the first event is hello
        assert is_running(pid)
        agent = device.agent.request("lock", owner={})
        assert agent == {}
        events.close()
        assert wait_for_end(pid)


@pytest.mark.parametrize(
    "address",
    [
        "pi@raspberrypi",
        "ssh:/pi",
        "http://pi",
        "ssh://",
        "ssh://-oProxyCommand=id",
        "ssh://-x@pi",
        "ssh://pi:secret@host",
        "ssh://host/path",
        "ssh://host:port",
        "ssh://ho st",
        "adb://-s",
        "Local",
    ],
)
def test_an_address_of_no_known_form_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_transport(address)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ssh://raspberrypi.local", ["--", "raspberrypi.local"]),
        ("ssh://pi@Board:2222", ["-p", "2222", "--", "pi@Board"]),
        ("ssh://pi@[fe80::1]:22", ["-p", "22", "--", "pi@fe80::1"]),
        ("ssh://pi@[fe80::1%enP2]:22", ["-p", "22", "--", "pi@fe80::1%enP2"]),
    ],
)
def test_an_address_becomes_what_ssh_takes(address: str, words: list[str]) -> None:
    transport = SshTransport(address)
    command = transport.command()
    assert command[-len(words) :] == words
    assert "StrictHostKeyChecking=yes" in command
    transport.close()


def connect(transport: Transport) -> None:
    with Device(transport, pack_runner()):
        pass


def test_an_unknown_host_key_is_an_error_and_is_not_accepted(sshd: Sshd) -> None:
    known = sshd.known_hosts
    known.write_text("")
    with pytest.raises(DeviceUnauthorizedError, match="not known here") as caught:
        connect(SshTransport(sshd.address))
    assert "fingerprint" in caught.value.hint
    assert known.read_text() == ""


def test_a_host_key_that_changed_is_an_error(sshd: Sshd) -> None:
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    before = sshd.known_hosts.read_text()
    with pytest.raises(DeviceUnauthorizedError, match="another host key") as caught:
        connect(SshTransport(sshd.address))
    assert "ssh-keygen -R" in caught.value.hint
    assert sshd.known_hosts.read_text() == before


def test_a_key_that_is_not_accepted_is_an_error(sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(DeviceUnauthorizedError, match="no key of ours") as caught:
        connect(SshTransport(sshd.address))
    assert "ssh-copy-id" in caught.value.hint


def test_a_host_without_a_server_is_an_error(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(DeviceUnreachableError, match="refuses the connection"):
        connect(SshTransport(sshd.address))


def test_a_name_that_does_not_resolve_is_an_error(sshd: Sshd) -> None:
    with pytest.raises(DeviceUnreachableError, match="does not resolve"):
        connect(SshTransport("ssh://no-such-host.invalid"))


def lose(transport: Transport, package: Path, cut: Callable[[], None], phase: str) -> None:
    """Cut the connection in a phase; the error must be about the connection."""
    with Device(transport, pack_runner()) as device:
        device.return_s = 0.0
        device.agent.lock("test")
        if phase == "idle":
            cut()
            device.agent.request("status")
        advance = (lambda amount: cut()) if phase == "push" else (lambda amount: None)
        for file in store.shipment(package).files:
            device.agent.put(file.source, file.sha256, file.size_bytes, advance=advance)
        stored = store.push(device, store.shipment(package))
        job = GenerateJob(package=stored.path, request=Request(prompts=("a cat",)), repeat=100_000)
        for event in RunnerSession(device=device).events(job):
            if phase == "start" or (phase == "run" and isinstance(event, Step)):
                cut()


@pytest.mark.parametrize(
    "phase",
    ["push", "run", *(pytest.param(it, marks=pytest.mark.slow) for it in ("idle", "start"))],
)
def test_ssh_that_is_cut_is_told_and_nothing_runs_on(
    sshd: Sshd, package: Path, tmp_path: Path, phase: str
) -> None:
    with pytest.raises(ConnectionLostError):
        lose(SshTransport(sshd.address), package, sshd.cut, phase)
    sshd.start()
    with Device(SshTransport(sshd.address), pack_runner()) as device:
        device.agent.lock("after")  # the one before does not hold it
        stored = store.push(device, store.shipment(package))
    for file in store.shipment(package).files:
        assert (Path(stored.path) / file.path).read_bytes() == file.source.read_bytes()


@pytest.mark.parametrize("phase", ["idle", "push", "start", "run"])
def test_adb_that_is_cut_is_told_and_nothing_runs_on(
    android: StandInDevice, package: Path, phase: str
) -> None:
    with pytest.raises(ConnectionLostError):
        lose(adb_transport(android), package, android.power_off, phase)


def test_an_android_device_that_restarts_in_the_middle_is_told(
    android: StandInDevice, package: Path
) -> None:
    with pytest.raises(ConnectionLostError):
        lose(adb_transport(android), package, lambda: android.reboot(1.0), "run")


def test_an_android_device_that_is_not_attached_is_an_error(android: StandInDevice) -> None:
    from edgegen.devices.adb import AdbTransport

    with pytest.raises(DeviceError, match="nothing-here"):
        connect(AdbTransport("adb://nothing-here"))
