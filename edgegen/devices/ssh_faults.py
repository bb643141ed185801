"""What ssh writes where a connection fails, what it means, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgegen.core.environment import REMOTE
from edgegen.core.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
    MissingDependencyError,
)
from edgegen.core.process import ProcessError, run

_LOCAL_S = 10.0
_LONGEST_REASON = 200

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
        r"(?m)^.+\n(?:.*\n)*(?:kex_exchange_identification|Connection \w+ (?:by|to) UNKNOWN port)|"
        r"stdio forwarding failed|(?:by|to) UNKNOWN port",
        DeviceUnreachableError,
        "cannot be reached through its jump host or proxy.",
        "Look at ProxyJump and ProxyCommand in ~/.ssh/config, and at the host that they name: "
        "{by_hand}",
    ),
    (
        r"Too many authentication failures",
        DeviceUnauthorizedError,
        "ended the login: more keys were offered than it takes (MaxAuthTries).",
        "Offer the right one only. In ~/.ssh/config, below 'Host' and its name: "
        "IdentityFile ~/.ssh/KEY and IdentitiesOnly yes. By hand: {by_hand}",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|: bad permissions",
        DeviceUnauthorizedError,
        "does not let us in: ssh ignores a private key that others may read.",
        "Take their rights away: chmod 600 and the key's file. By hand: {by_hand}",
    ),
    (
        r'Load key "[^"]*":',
        DeviceUnauthorizedError,
        "does not let us in: a private key cannot be read.",
        "IdentityFile in ~/.ssh/config must name the private key, not its .pub: {by_hand}",
    ),
    (
        r"signing failed|agent refused operation",
        DeviceUnauthorizedError,
        "does not let us in: the ssh agent does not sign.",
        "Unlock or touch the key, or add it again with ssh-add. By hand: {by_hand}",
    ),
    (
        r"Permission denied|No supported authentication",
        DeviceUnauthorizedError,
        "does not let us in: no key of ours is accepted.",
        "Passwords are not asked for. Put a key there with ssh-copy-id, then try: {by_hand}",
    ),
    (
        r"Unable to negotiate|no matching .* found",
        DeviceUnreachableError,
        "speaks other algorithms than this ssh.",
        "It may be old. What it offers may be allowed for it in ~/.ssh/config (HostKeyAlgorithms "
        "+ssh-rsa, KexAlgorithms +...). By hand: {by_hand}",
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
        r"Host is down|during banner exchange",
        DeviceUnreachableError,
        "does not answer.",
        "Look whether it is on and in the same network: {by_hand}",
    ),
    (
        r"kex_exchange_identification|banner line contains invalid|Bad remote protocol",
        DeviceUnreachableError,
        "ends the connection before the login.",
        "Its ssh server may be starting, be busy (MaxStartups) or have banned this address "
        "(fail2ban, hosts.deny); or something else listens at that port. By hand: {by_hand}",
    ),
    (
        r"not permitted to log in yet|account has expired|account is locked",
        DeviceUnauthorizedError,
        "does not let this user in.",
        "Wait until it has started, or look at the account there. By hand: {by_hand}",
    ),
    (
        r"Bad configuration option|command-line: line|no such identity|Bad owner or permissions|"
        r"terminating, \d+ bad configuration",
        DeviceUnreachableError,
        "cannot be reached with this ssh configuration.",
        "See what ssh says: {by_hand}",
    ),
)
"""What ssh writes (OpenSSH 8 to 10: sshconnect.c, sshconnect2.c, ssh.c, packet.c, clientloop.c),
and what it means; the first that matches counts."""


def explain(address: str, told: str, by_hand: str, settings: Sequence[str]) -> DeviceError:
    """Return what broke a connection, with ssh's own reason.

    `told` is the end of what ssh wrote, `by_hand` the command that a user would try, and
    `settings` the command line that shows what ssh would use for the device (`ssh -G`).
    """
    for pattern, kind, what, hint in _FAULTS:
        match = re.search(pattern, told)
        if match is None:
            continue
        if match[0].startswith("Permission denied") and (key := _locked_key(settings)):
            what = f"does not let us in: the key {key} has a passphrase, and no agent has it."
            hint = f"Add it to the agent: ssh-add {key}. Then: {{by_hand}}"
        reason = _reason(told, match)
        return kind(f"{address} {what.rstrip('.')} ({reason}).", hint=hint.format(by_hand=by_hand))
    last = told.strip().splitlines()[-1] if told.strip() else "ssh did not say why"
    return ConnectionLostError(
        f"The connection to {address} was lost: {last.rstrip('.')}.",
        hint=f"Look whether it is up, and retry: {by_hand}",
    )


def _reason(told: str, match: re.Match[str]) -> str:
    """Return the line that was recognised, as ssh wrote it."""
    line = told[match.start() :].partition("\n")[0]
    start = told.rfind("\n", 0, match.start()) + 1
    whole = told[start : match.start()] + line
    return f"ssh: {whole.strip('@ ').removeprefix('ssh: ').rstrip('.')[:_LONGEST_REASON]}"


def _locked_key(settings: Sequence[str]) -> str | None:
    """Return the first key of the configuration that only a passphrase opens, and no agent has."""
    try:
        configured = _said(settings).splitlines()
        in_agent = _said(("ssh-add", "-L"))
        for line in configured:
            keyword, _, name = line.partition(" ")
            path = Path(name).expanduser()
            if keyword != "identityfile" or not path.is_file():
                continue
            opened = _said(("ssh-keygen", "-y", "-P", "", "-f", str(path)))
            public = Path(f"{path}.pub")
            held = public.is_file() and public.read_text(errors="replace").split()[1:2]
            if "passphrase" in opened and not (held and held[0] in in_agent):
                return name
    except (MissingDependencyError, ProcessError, OSError):
        return None  # it was only to explain
    return None


def _said(command: Sequence[str]) -> str:
    done = run(command, timeout_s=_LOCAL_S, check=False, besides=REMOTE)
    return done.text + done.error_text
