"""Fetches packages of another architecture from Debian's archive, and unpacks them.

apt is given a state of its own in a folder: this machine's packages, lists and caches are not
touched, and nothing is installed. The archive's signatures are checked as always.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.environment import NETWORK
from edgegen.core.errors import IntegrityError, MissingDependencyError, ResourceError
from edgegen.core.files import sha256_of
from edgegen.core.process import ProcessError, run
from edgegen.core.progress import Progress
from edgegen.runner.bundle.apt_sources import own_sources, write_sources
from edgegen.runner.bundle.facts import Debian

_PROGRAMS = {"apt-get": "apt", "apt-config": "apt", "dpkg-deb": "dpkg"}
_UPDATE_S = 600.0
_DOWNLOAD_S = 600.0
_URI = re.compile(r"'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_SETTING = re.compile(
    r'Acquire::(https?|ForceIPv[46]|Check-Date|Check-Valid-Until)(::[A-Za-z0-9:._/-]+)? ".+";'
)
"""How the network is reached; what would weaken the checks of signatures is not taken over."""
_ELSEWHERE = (
    "Build the bundle on Debian or Ubuntu, and pass the file along: "
    "edgegen runner build --platform … -o FILE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """A package as it lies in the archive; `path` is where it was put."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    uri: str
    path: Path


def check_tools(debian: Debian) -> None:
    """Raise MissingDependencyError where apt, dpkg or Debian's keys are not on this machine."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise MissingDependencyError(
                f"{program} is not installed; the bundle is made of Debian's packages.",
                hint=f"On Debian and Ubuntu: apt-get install {package}. {_ELSEWHERE}",
            )
    if not Path(debian.keyring).is_file():
        raise MissingDependencyError(
            f"The keys of Debian's archive ({debian.keyring}) are not on this machine.",
            hint=f"apt-get install debian-archive-keyring. {_ELSEWHERE}",
        )


class PrivateApt:
    """An apt of its own for one release and architecture, in a folder that it may fill.

    Raises ResourceError where the archive cannot be reached or is not signed as it must be.
    """

    def __init__(self, folder: Path, debian: Debian) -> None:
        self._folder = folder
        self._env = {"APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"}
        for name in ("state/lists/partial", "cache/archives/partial", "parts", "log"):
            (folder / name).mkdir(parents=True)
        (folder / "state/status").touch()
        write_sources(folder / "debian.sources", own_sources(debian), debian)
        settings = {
            "APT::Architecture": debian.architecture,
            "APT::Architectures": debian.architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::State": str(folder / "state"),
            "Dir::State::status": str(folder / "state/status"),
            "Dir::Cache": str(folder / "cache"),
            "Dir::Log": str(folder / "log"),
            "Dir::Etc::parts": str(folder / "parts"),
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::sourcelist": str(folder / "debian.sources"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
        }
        lines = [*_network_settings(), *(f'{name} "{settings[name]}";' for name in settings)]
        (folder / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def update(self) -> None:
        """Fetch the lists of packages, and check their signatures."""
        self._apt("update", timeout_s=_UPDATE_S)

    def with_dependencies(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of packages and of all that they need, as apt would install them."""
        arguments = ("install", "--simulate", "--no-install-recommends", *names)
        text = self._apt(*arguments, timeout_s=_UPDATE_S)
        return tuple(re.findall(r"^Inst (\S+)", text, flags=re.MULTILINE))

    def download(self, names: Sequence[str], folder: Path, progress: Progress) -> tuple[Deb, ...]:
        """Fetch packages into `folder`, in the order of `names`; apt checks their hashes."""
        text = self._apt("download", "--print-uris", *names, timeout_s=_UPDATE_S)
        listed = [found.groupdict() for found in _URI.finditer(text)]
        total = sum(int(each["size"]) for each in listed)
        with progress.step("Debian's packages", total=total, unit="bytes") as step:
            self._apt("download", "--quiet", *names, timeout_s=_DOWNLOAD_S, cwd=folder)
            debs = []
            for name in names:
                debs.append(_checked(name, listed, folder))
                step.advance(debs[-1].size_bytes)
        return tuple(debs)

    def _apt(self, *arguments: str, timeout_s: float, cwd: Path | None = None) -> str:
        try:
            return run(
                ("apt-get", "--option", "APT::Update::Error-Mode=any", *arguments),
                timeout_s=timeout_s,
                env=self._env,
                besides=NETWORK,
                cwd=cwd or self._folder,
            ).text
        except ProcessError as error:
            told = [line for line in error.tail.splitlines() if line[:2] in ("E:", "W:")]
            raise ResourceError(
                f"apt-get {arguments[0]} failed: {told[0][2:].strip() if told else error.message}",
                hint="Check the network and the sources of apt on this machine, and retry.",
            ) from error


def _checked(name: str, listed: Sequence[dict[str, str]], folder: Path) -> Deb:
    """Return a package that was fetched, as the archive lists it."""
    found = next((each for each in listed if each["file"].startswith(f"{name}_")), None)
    path = folder / ("" if found is None else found["file"])
    if found is None or not path.is_file() or sha256_of(path) != found["sha256"]:
        raise IntegrityError(
            f"What came for {name} is not what Debian's archive lists.",
            hint="The archive changed meanwhile, or a proxy serves an old file: retry.",
        )
    version = run(("dpkg-deb", "--field", str(path), "Version"), timeout_s=60).text.strip()
    return Deb(
        name=name,
        version=version,
        sha256=found["sha256"],
        size_bytes=int(found["size"]),
        uri=found["uri"],
        path=path,
    )


def unpack(debs: Sequence[Deb], folder: Path) -> None:
    """Unpack the files of packages into one folder; nothing of theirs is run."""
    folder.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        run(("dpkg-deb", "--extract", str(deb.path), str(folder)), timeout_s=300)


def _network_settings() -> list[str]:
    """Return how this machine's apt reaches the network: proxies, certificates, time-outs."""
    done = run(("apt-config", "dump", "--format", '%F "%v";%n'), timeout_s=60, besides=NETWORK)
    return [line for line in done.text.splitlines() if _SETTING.fullmatch(line)]
