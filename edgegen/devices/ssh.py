"""A device behind the system's ssh: its configuration, agent, jump hosts and known hosts count.

The first connection (the agent's) is the master of those that follow, which saves each of them the
handshake (ssh_config(5), ControlMaster). The master ends with the agent: nothing stays behind.
An unknown host key is an error, never accepted in silence; passwords are not asked for.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from edgegen.core.environment import REMOTE
from edgegen.core.errors import ConfigError, DeviceError
from edgegen.core.process import Child, ProcessError, run
from edgegen.core.scratch import SYSTEM_FOLDER, ScratchFolder, default_roots
from edgegen.devices.ssh_faults import explain
from edgegen.devices.transports import find_python

COMMAND_VARIABLE = "EDGEGEN_SSH"
"""The environment variable with the ssh command, `ssh` unless set: `ssh -F other_config`."""

_CONNECT_S = 15
_ALIVE_EVERY_S = 5
_ALIVE_COUNT = 3
_FAILED = 255
_SILENCE_S = 8.0
_LONGEST_SOCKET = 104 - 1 - 17  # of macOS (Linux: 108), a NUL, and what ssh appends for a moment
_MARK = "edgegen-was-here"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*")
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")


class SshTransport:
    """Starts programs on another machine by the system's ssh."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.home = "~/.edgegen"
        self._user, self._host, self._port = _parse(address)
        self._sockets: ScratchFolder | None = None

    def interpreter(self) -> tuple[str, ...]:
        """Return the command that finds the device's Python."""
        return find_python(self.home)

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program on the device; see `Transport.start`.

        The login shell gets the same words whatever the program is, and in all shells (csh and
        fish, too) they mean the same; the command itself is the first line of the input. The
        device's sh stays the parent: if a signal ends the program, it reports 128 and the signal's
        number, where ssh by itself would report nothing but 255.
        """
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        words = [*(["env", *settings] if settings else []), *arguments]
        child = Child([*self.command(), _READ_COMMAND], log=log, besides=REMOTE)
        child.send(_one_line(shlex.join(words)))
        return child

    def command(self, *, alone: bool = False) -> list[str]:
        """Return the ssh command line up to the remote command.

        `alone` is for a connection that shares nothing with the others.
        """
        socket = None if alone else self._socket()
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(_CONNECT_S),
            "ServerAliveInterval": str(_ALIVE_EVERY_S),
            "ServerAliveCountMax": str(_ALIVE_COUNT),
            "ControlMaster": "no" if socket is None else "auto",
            "ControlPersist": "no",
            "ControlPath": "none" if socket is None else str(socket),
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "ForwardX11": "no",
            "RequestTTY": "no",
            "LogLevel": "INFO",
        }
        set_options = [
            part for name, value in options.items() for part in ("-o", f"{name}={value}")
        ]
        *port, target = self._target()
        return [*shlex.split(_program()), *set_options, *port, "--", target]

    def _target(self) -> list[str]:
        """Return the words by which ssh is told the device; an address begins with no dash."""
        port = [] if self._port is None else ["-p", str(self._port)]
        return [*port, self._host if self._user is None else f"{self._user}@{self._host}"]

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        """Return what ssh said of the connection; None where the remote program ended so."""
        if returncode != _FAILED:
            return None
        settings = [*shlex.split(_program()), "-G", *self._target()]
        by_hand = shlex.join([*shlex.split(_program()), *self._target()])
        return explain(self.address, told, by_hand, settings)

    @property
    def connected(self) -> bool:
        """Return whether ssh has been let in: then it makes the control socket."""
        return self._sockets is not None and any(self._sockets.path.iterdir())

    def why_silent(self) -> str:
        """Return what the login shell does in place of our command, as the end of a sentence.

        A second connection, without any input, tells a question from another shell. It is one by
        itself: the master would keep the streams of a session that is ended here.
        """
        command = [*self.command(alone=True), f"echo {_MARK}"]
        try:
            done = run(command, timeout_s=_SILENCE_S, check=False, besides=REMOTE)
        except ProcessError:
            return "its login shell starts something that does not end"
        if _MARK in done.text.split():
            return "its login shell reads the input first: it asks something, or starts a shell"
        return "its login shell starts another program in place of our command"

    def close(self) -> None:
        """Remove the folder of the control socket."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    def _socket(self) -> Path | None:
        """Return the path of the control socket; None where it would be too long for the system.

        Where /tmp cannot be used it lies in the state folder.
        """
        if self._sockets is None:
            self._sockets = ScratchFolder("ssh", roots=(SYSTEM_FOLDER, *default_roots()))
        socket = self._sockets.path / "s"
        return socket if len(os.fsencode(socket)) <= _LONGEST_SOCKET else None


_READ_COMMAND = 'exec sh -c \'IFS= read -r line; eval "$(printf %b "$line")"; exit $?\''
"""What the login shell runs: no character of it means something else in csh or fish."""


def _one_line(command: str) -> str:
    """Return a command as one line of ASCII, of which `printf %b` makes the command again."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != ord("\\") else f"\\0{byte:03o}"
        for byte in command.encode()
    )


def _program() -> str:
    return os.environ.get(COMMAND_VARIABLE) or "ssh"


def _parse(address: str) -> tuple[str | None, str, int | None]:
    """Return user, host and port of an address.

    Raises ConfigError for another form. What begins with a dash would be an option of ssh's.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _no_address(address, str(error)) from error
    host, user = parts.hostname, parts.username
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _no_address(address, "nothing may follow the host")
    if parts.password is not None:
        raise _no_address(address, "a password has no place here")
    if not host or not _HOST.fullmatch(host):
        raise _no_address(address, "it has no host")
    if user is not None and not _USER.fullmatch(user):
        raise _no_address(address, f"{user!r} is no user")
    # urlsplit writes the host small; names in ssh_config are case-sensitive.
    place = address.lower().rindex(host.lower())
    return user, address[place : place + len(host)], port


def _no_address(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"'{address}' is no ssh address: {why}.", hint="The form is ssh://[user@]host[:port]."
    )
