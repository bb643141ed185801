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
from edgegen.core.errors import (
    ConfigError,
    ConnectionLostError,
    DeviceError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
)
from edgegen.core.process import Child, ProcessError, run
from edgegen.core.scratch import SYSTEM_FOLDER, ScratchFolder, default_roots
from edgegen.devices.transports import find_python

COMMAND_VARIABLE = "EDGEGEN_SSH"
"""The environment variable with the ssh command, `ssh` unless set: `ssh -F other_config`."""

_CONNECT_S = 15
_ALIVE_EVERY_S = 5
_ALIVE_COUNT = 3
_FAILED = 255
_SILENCE_S = 8.0
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

    def command(self) -> list[str]:
        """Return the ssh command line up to the remote command."""
        port = [] if self._port is None else ["-p", str(self._port)]
        target = self._host if self._user is None else f"{self._user}@{self._host}"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(_CONNECT_S),
            "ServerAliveInterval": str(_ALIVE_EVERY_S),
            "ServerAliveCountMax": str(_ALIVE_COUNT),
            "ControlMaster": "auto",
            "ControlPersist": "no",
            "ControlPath": str(self._socket_folder() / "%C"),
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "ForwardX11": "no",
            "RequestTTY": "no",
            "LogLevel": "ERROR",
        }
        set_options = [
            part for name, value in options.items() for part in ("-o", f"{name}={value}")
        ]
        return [*shlex.split(_program()), *set_options, *port, "--", target]

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        """Return what ssh said of the connection; None where the remote program ended so."""
        if returncode != _FAILED:
            return None
        by_hand = f"{_program()} {'' if self._port is None else f'-p {self._port} '}" + (
            self._host if self._user is None else f"{self._user}@{self._host}"
        )
        for pattern, kind, what, hint in _FAULTS:
            if re.search(pattern, told):
                return kind(f"{self.address} {what}", hint=hint.format(by_hand=by_hand))
        last = told.strip().splitlines()[-1] if told.strip() else "ssh did not say why"
        return ConnectionLostError(
            f"The connection to {self.address} was lost: {last}.",
            hint=f"Look whether it is up, and retry: {by_hand}",
        )

    @property
    def connected(self) -> bool:
        """Return whether ssh has been let in: then it makes the control socket."""
        return self._sockets is not None and any(self._sockets.path.iterdir())

    def why_silent(self) -> str:
        """Return what the login shell does in place of our command, as the end of a sentence.

        A second session, without any input, tells a question from another shell.
        """
        try:
            done = run([*self.command(), f"echo {_MARK}"], timeout_s=_SILENCE_S, check=False)
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

    def _socket_folder(self) -> Path:
        # The path of a socket may have 108 characters at most, so it lies in /tmp.
        if self._sockets is None:
            self._sockets = ScratchFolder("ssh", roots=(SYSTEM_FOLDER, *default_roots()))
        return self._sockets.path


_READ_COMMAND = 'exec sh -c \'IFS= read -r line; eval "$(printf %b "$line")"; exit $?\''
"""What the login shell runs: no character of it means something else in csh or fish."""


def _one_line(command: str) -> str:
    """Return a command as one line of ASCII, of which `printf %b` makes the command again."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != ord("\\") else f"\\0{byte:03o}"
        for byte in command.encode()
    )


_FAULTS: tuple[tuple[str, type[DeviceError], str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|[Hh]ost key for .* has changed",
        DeviceUnauthorizedError,
        "has another host key than it had.",
        "Someone may be in between, or the device was set up anew. Find out which; if it was set "
        "up anew, remove the old key with ssh-keygen -R, and connect by hand once: {by_hand}",
    ),
    (
        r"Host key verification failed|No \S+ host key is known",
        DeviceUnauthorizedError,
        "has a host key that is not known here.",
        "Connect by hand once, compare the fingerprint with the device's own, and accept it: "
        "{by_hand}",
    ),
    (
        r"Permission denied|Too many authentication failures|No supported authentication",
        DeviceUnauthorizedError,
        "does not let us in: no key of ours is accepted.",
        "Passwords are not asked for. Put a key there with ssh-copy-id, then try: {by_hand}",
    ),
    (
        r"Could not resolve hostname|Name or service not known",
        DeviceUnreachableError,
        "is not known: its name does not resolve.",
        "Check the name, or use its address. By hand: {by_hand}",
    ),
    (
        r"Connection refused",
        DeviceUnreachableError,
        "refuses the connection: no ssh server answers there.",
        "Enable ssh on the device (Raspberry Pi: sudo raspi-config), check the port, then: "
        "{by_hand}",
    ),
    (
        r"[Cc]onnection timed out|Operation timed out|No route to host|Network is unreachable|"
        r"during banner exchange",
        DeviceUnreachableError,
        "does not answer.",
        "Look whether it is on and in the same network: {by_hand}",
    ),
    (
        r"Bad configuration option|command-line: line|no such identity|Bad owner or permissions",
        DeviceUnreachableError,
        "cannot be reached with this ssh configuration.",
        "See what ssh says: {by_hand}",
    ),
)
"""What ssh writes (OpenSSH 8 to 10: sshconnect.c, ssh.c, clientloop.c), and what it means."""


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
    place = address.lower().rindex(host)
    return user, address[place : place + len(host)], port


def _no_address(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"'{address}' is no ssh address: {why}.", hint="The form is ssh://[user@]host[:port]."
    )
