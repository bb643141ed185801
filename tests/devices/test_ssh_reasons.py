"""Connections that fail: the reason is ssh's own, and the hint is what mends it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.core.environment import REMOTE
from edgegen.core.errors import DeviceError, DeviceUnauthorizedError, DeviceUnreachableError
from edgegen.core.process import Child, run
from edgegen.devices.device import Device
from edgegen.devices.ssh import SshTransport
from edgegen.runner.pack import pack_runner
from tests.devices.sshd import Sshd

PASSPHRASE = "not a secret"


@pytest.fixture
def folder(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for keys, and an ssh that knows the server and reads `config` there; no agent."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keys = tmp_path / "keys"
    keys.mkdir()
    monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {keys / 'config'}")
    return keys


def configure(folder: Path, sshd: Sshd, *lines: str) -> None:
    known = (f"UserKnownHostsFile {sshd.known_hosts}", "GlobalKnownHostsFile /dev/null")
    (folder / "config").write_text("\n".join((*lines, *known)) + "\n")


def key(path: Path, passphrase: str = "") -> Path:
    arguments = ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path))
    run(arguments, timeout_s=30)
    return path


def add(path: Path, **environment: str) -> None:
    run(("ssh-add", str(path)), timeout_s=10, env=environment, besides=REMOTE)


def refused(sshd: Sshd) -> DeviceError:
    with pytest.raises(DeviceError) as caught, Device(SshTransport(sshd.address), pack_runner()):
        pass
    assert f"-p {sshd.port} " in caught.value.hint
    return caught.value


@pytest.fixture
def agent_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An ssh agent, and its socket."""
    place = str(tmp_path / "agent")
    with Child(["ssh-agent", "-D", "-a", place]) as agent:
        agent.read(1, silence_s=10)
        monkeypatch.setenv("SSH_AUTH_SOCK", place)
        yield place


def test_an_agent_with_too_many_keys_is_named(folder: Path, sshd: Sshd, agent_socket: str) -> None:
    for number in range(7):
        add(key(folder / f"key{number}"))
    configure(folder, sshd)
    error = refused(sshd)
    assert isinstance(error, DeviceUnauthorizedError)
    assert "more keys were offered than it takes" in error.message
    assert "Too many authentication failures" in error.message
    assert "IdentitiesOnly yes" in error.hint


def test_a_key_with_a_passphrase_and_no_agent_is_named(folder: Path, sshd: Sshd) -> None:
    locked = key(folder / "locked", PASSPHRASE)
    (sshd.folder / "authorized_keys").write_text(locked.with_suffix(".pub").read_text())
    configure(folder, sshd, f"IdentityFile {locked}", "IdentitiesOnly yes")
    error = refused(sshd)
    assert f"the key {locked} has a passphrase, and no agent has it" in error.message
    assert f"ssh-add {locked}" in error.hint


def test_a_key_with_a_passphrase_that_the_agent_has_is_not_blamed(
    folder: Path, sshd: Sshd, agent_socket: str
) -> None:
    locked = key(folder / "locked", PASSPHRASE)
    answer = folder / "answer"
    answer.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    answer.chmod(0o700)
    asked = {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
    add(locked, **asked)
    configure(folder, sshd, f"IdentityFile {locked}")
    assert "no key of ours is accepted" in refused(sshd).message


@pytest.mark.parametrize(
    ("lines", "kind", "what", "reason"),
    [
        (
            ("IdentityFile {folder}/open", "IdentitiesOnly yes"),
            DeviceUnauthorizedError,
            "ssh ignores a private key that others may read",
            "UNPROTECTED PRIVATE KEY FILE",
        ),
        (
            ("IdentityFile {folder}/no-key", "IdentitiesOnly yes"),
            DeviceUnauthorizedError,
            "a private key cannot be read",
            'Load key "{folder}/no-key"',
        ),
        (
            ("ProxyCommand no-such-proxy",),
            DeviceUnreachableError,
            "through its jump host or proxy",
            "",  # what the proxy itself wrote may come too late
        ),
        (
            ("Host 127.0.0.1", "ProxyJump localhost:1"),
            DeviceUnreachableError,
            "through its jump host or proxy",
            "",
        ),
        (
            ("HostKeyAlgorithms ssh-rsa",),
            DeviceUnreachableError,
            "speaks other algorithms",
            "Unable to negotiate",
        ),
        (
            ("NoSuchOption yes",),
            DeviceUnreachableError,
            "cannot be reached with this ssh configuration",
            "Bad configuration option",
        ),
    ],
)
def test_the_reason_is_ssh_s_own(
    lines: tuple[str, ...],
    kind: type[DeviceError],
    what: str,
    reason: str,
    folder: Path,
    sshd: Sshd,
) -> None:
    key(folder / "open").chmod(0o644)
    (sshd.folder / "authorized_keys").write_text((folder / "open.pub").read_text())
    (folder / "no-key").write_text("hello\n")
    (folder / "no-key").chmod(0o600)
    configure(folder, sshd, *(line.format(folder=folder) for line in lines))
    error = refused(sshd)
    assert isinstance(error, kind)
    assert what in error.message
    assert "(ssh: " in error.message
    assert reason.format(folder=folder) in error.message


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_server_at_the_port_is_not_taken_for_a_lost_connection(
    greeting: bytes, folder: Path, sshd: Sshd
) -> None:
    sshd.stop()
    with socket.create_server(("127.0.0.1", sshd.port)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        configure(folder, sshd)
        assert "ends the connection before the login" in refused(sshd).message
        thread.join()
