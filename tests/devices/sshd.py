"""A real sshd on loopback, as the way to a device: this machine in a home of its own, or a root.

    with Sshd(tmp_path / "sshd", home=tmp_path / "home") as sshd:
        monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {sshd.ssh_config}")
        sshd.address  # ssh://root@127.0.0.1:40123

    with arm64_programs(), Sshd(tmp_path / "pi", root=arm64_root()) as sshd: …

It has a host key, a user's key and a port of its own, and ends with the test, or with its process.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from edgegen_runner.process_tree import members

from edgegen.core.process import Child, ProcessError, run
from tests.devices.emulation import CPUINFO, QEMU_CPU

CHROOT = Path("/mnt")
"""Where a root is mounted, in the server's own mount namespace: sshd's ChrootDirectory wants a path
of which every part belongs to root, and a test's folder below /tmp has none."""

_SEPARATION = Path("/run/sshd")
_WATCH = Path(__file__).with_name("until_input_ends.py")
_START_S = 20.0

_MOUNT_ROOT = """\
set -eu
root=$1 place=$2 scratch=$3 cpuinfo=$4
shift 4
mount -t overlay overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" "$place"
mount -t proc proc "$place/proc"
mount --rbind /dev "$place/dev"
mount --bind "$cpuinfo" "$place/proc/cpuinfo"
hostname "$(cat "$root/etc/hostname")"
exec "$@"
"""


_GIVE_SHELL = """\
set -eu
mount --bind "$1" /etc/passwd
shift
exec "$@"
"""


def needs_login_shell(name: str) -> str:
    """Return the path of a shell; skip the test, and say why, where it cannot be a login shell."""
    needs_sshd()
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"no {name} here: apt-get install {name}")
    if os.geteuid() != 0 or run(_MAY_MOUNT, timeout_s=10, check=False).returncode != 0:
        pytest.skip("another login shell needs root, and a container that lets it mount")
    return program


_MAY_MOUNT = ("unshare", "--mount", "mount", "--bind", "/etc/passwd", "/etc/passwd")


def needs_sshd() -> None:
    """Skip the test, and say what to install, where this machine has no sshd."""
    if sshd_program() is None or shutil.which("ssh") is None:
        pytest.skip("no sshd here: apt-get install openssh-server openssh-client")


def sshd_program() -> str | None:
    """Return the path of sshd, which is on root's PATH alone; None where there is none."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Sshd:
    """A server; a context manager. `folder` is for its files, and is made.

    With `home` its sessions have that folder as HOME and begin there, on this machine; `shell` is
    then the login shell (root may give one, see `needs_login_shell`). With `root`
    they are in that root, under an overlay in `folder`: what they write is there, in `written`,
    and survives `stop` and `start`, as a disk survives a restart. `environment` is added to theirs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        home: Path | None = None,
        root: Path | None = None,
        environment: dict[str, str] | None = None,
        shell: str | None = None,
    ) -> None:
        assert (home is None) != (root is None), "a home here, or a root"
        self.folder = folder.resolve()
        self.written = self.folder / "upper"
        self.port = 0
        self._home = home
        self._root = root
        self._environment = dict(environment or {})
        self._shell = shell
        self._child: Child | None = None

    @property
    def user(self) -> str:
        """Return the user that logs in: the one who runs the tests."""
        return pwd.getpwuid(os.geteuid()).pw_name

    @property
    def address(self) -> str:
        """Return the device's address."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        """Return the file that knows the server's key."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """Return a file for `ssh -F`: this server's key and the user's, and nothing else."""
        return self.folder / "ssh_config"

    @property
    def identity(self) -> Path:
        """Return the user's private key."""
        return self.folder / "user_key"

    @property
    def log(self) -> str:
        """Return what the server has said."""
        path = self.folder / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._prepare()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, on the port that it had before."""
        program = sshd_program()
        assert program is not None, "call needs_sshd first"
        arguments = [program, "-D", "-f", str(self.folder / "sshd_config")]
        arguments += ["-E", str(self.folder / "sshd.log")]
        if os.geteuid() == 0:  # sshd of root wants it; the service makes it at boot
            _SEPARATION.mkdir(mode=0o755, exist_ok=True)
        if self._root is not None:
            arguments = [
                # A process namespace, too: its first process takes all others with it.
                *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"),
                *("--propagation", "private", "--", "sh", "-c", _MOUNT_ROOT, "sh"),
                *(str(self._root), str(CHROOT), str(self.folder), str(CPUINFO), *arguments),
            ]
        if self._shell is not None:
            arguments = [
                *("unshare", "--mount", "--propagation", "private", "--", "sh", "-c"),
                *(_GIVE_SHELL, "sh", str(self._users()), *arguments),
            ]
        self._child = Child([sys.executable, str(_WATCH), *arguments])
        deadline = time.monotonic() + _START_S
        while not self._answers():
            try:
                self._child.wait(0.05)
            except ProcessError:
                if time.monotonic() < deadline:
                    continue
            raise AssertionError(f"sshd did not start: {self._child.log_tail()}\n{self.log}")

    def cut(self) -> None:
        """Kill the server's own processes: connections break, what runs behind them does not."""
        for pid in members(self._child.pid) if self._child is not None else ():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """End the server, and all sessions with it, as when the device loses its power."""
        if self._child is not None:
            child, self._child = self._child, None
            for pid in members(child.pid):  # each session leads a group of its own
                if pid != child.pid:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            child.close()
            deadline = time.monotonic() + _START_S
            while self._answers():  # its namespace is still being taken down
                assert time.monotonic() < deadline, "sshd does not end"
                time.sleep(0.02)

    def new_host_key(self) -> None:
        """Give the server another key, as a device has after its system was installed anew."""
        for suffix in ("", ".pub"):
            (self.folder / f"host_key{suffix}").unlink()
        self._key("host_key")

    def _users(self) -> Path:
        """Return a file of users that gives the user of the tests another login shell."""
        users = self.folder / "passwd"
        lines = Path("/etc/passwd").read_text().splitlines()
        users.write_text(
            "".join(
                f"{line.rpartition(':')[0]}:{self._shell}\n"
                if line.startswith(f"{self.user}:")
                else f"{line}\n"
                for line in lines
            )
        )
        users.chmod(0o644)
        return users

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _prepare(self) -> None:
        for name in ("upper", "work"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("host_key", "user_key"):
            if not (self.folder / name).exists():
                self._key(name)
        shutil.copyfile(self.folder / "user_key.pub", self.folder / "authorized_keys")
        (self.folder / "authorized_keys").chmod(0o600)
        self.port = self.port or _free_port()
        (self.folder / "sshd_config").write_text("\n".join(self._server_settings()) + "\n")
        host_key = (self.folder / "host_key.pub").read_text().strip()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        self.ssh_config.write_text(
            f"IdentityFile {self.identity}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {self.known_hosts}\nGlobalKnownHostsFile /dev/null\n"
        )

    def _server_settings(self) -> list[str]:
        environment = dict(self._environment)
        settings = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"PidFile {self.folder}/sshd.pid",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "PermitUserRC no",
            "StrictModes no",  # the folder is the test's, below /tmp
            "UsePAM no",
            "X11Forwarding no",
            "PrintMotd no",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
        ]
        if self._home is not None:
            self._home.mkdir(parents=True, exist_ok=True)
            environment["HOME"] = str(self._home)
        else:
            environment["QEMU_CPU"] = QEMU_CPU
            settings.append(f"ChrootDirectory {CHROOT}")
        settings.append(
            "SetEnv " + " ".join(f'"{name}={value}"' for name, value in environment.items())
        )
        return settings

    def _key(self, name: str) -> None:
        run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)),
            timeout_s=30,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
