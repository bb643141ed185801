"""What a bundle is made of: the facts of `device_runners/bundles/arm64.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.shipped import shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A mirror of Debian's archive, with the suites to take from it."""

    uri: str
    suites: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """The release that programs and libraries come from. `keyring` has the archive's keys."""

    release: str
    architecture: str
    keyring: str
    licence_texts: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """A package of Debian: its licence as SPDX names it, and the libraries to take, as paths."""

    name: str
    licence: str
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFacts:
    """A wheel: its licence as SPDX names it, and patterns of the files that are not taken."""

    name: str
    licence: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """A runtime that a bundle can have, by the name of its wheel."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A kind of device: the path of its shell, and environment variables of its own."""

    name: str
    shell: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """All that a bundle's build goes by; the paths are those in Debian's packages."""

    machine: str
    python: str
    glibc: tuple[int, int]
    loader: str
    program: str
    stdlib: str
    extensions: str
    page_bytes: int
    stdlib_left_out: tuple[str, ...]
    extensions_left_out: tuple[str, ...]
    debian: Debian
    packages: tuple[PackageFacts, ...]
    wheels: tuple[WheelFacts, ...]
    runtimes: tuple[RuntimeFacts, ...]
    platforms: tuple[Platform, ...]

    def platform(self, name: str) -> Platform:
        """Return the platform of a name; raises ConfigError, with the nearest, for another."""
        return _by_name(self.platforms, name, "platform")

    def wheel(self, name: str) -> WheelFacts:
        """Return what is known of a wheel; raises ConfigError for another."""
        return _by_name(self.wheels, name, "wheel")

    def runtime(self, name: str) -> RuntimeFacts:
        """Return the runtime of a name; raises ConfigError, with the nearest, for another."""
        return _by_name(self.runtimes, name, "runtime")


T = TypeVar("T", Platform, WheelFacts, RuntimeFacts)


def facts_path() -> Path:
    """Return the file of the facts."""
    return shipped("device_runners") / "bundles" / "arm64.toml"


def load_facts() -> BundleFacts:
    """Read the facts of all bundles."""
    return load_toml(BundleFacts, facts_path())


def _by_name(known: tuple[T, ...], name: str, kind: str) -> T:
    for each in known:
        if each.name == name:
            return each
    raise ConfigError(
        f"There is no {kind} '{name}' for a bundle.",
        hint=nearest(name, [each.name for each in known]),
    )
