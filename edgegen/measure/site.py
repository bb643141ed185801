"""Where a measurement happens: the device, the package there, and the files of its runs."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.measurement import PageCache, RunKind, Workload
from edgegen.core.progress import Progress
from edgegen.devices.agent import ANSWER_S, SLOWEST_BYTES_PER_S
from edgegen.devices.answers import Place
from edgegen.devices.chips import cargo_for
from edgegen.devices.device import Device
from edgegen.devices.store import new_run_name, push
from edgegen.measure.plan import BenchPlan
from edgegen.runner.job import absolute
from edgegen.runner.received import Announced, fetch_picture
from edgegen.runner.remote import send_file

_MOST_PICTURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The names of the files of a run, on the device."""

    files: tuple[str, ...]

    def __post_init__(self) -> None:
        if any("/" in name or not name.isprintable() for name in self.files):
            raise ValueError("a file's name is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """`package` is its folder on the device; `pictures` a folder here for what is drawn there.

    `files` are those of the package that are there, relative to it. `lora` is the plan's file, on
    the device.
    """

    device: Device
    package: str
    run_name: str
    pictures: Path | None
    files: tuple[str, ...]
    lora: str | None = None

    @property
    def name(self) -> str:
        """Return what an error calls the device, at the start of a sentence."""
        return "This device" if self.device.is_local else self.device.address

    def page_cache(self, plan: BenchPlan, kind: RunKind) -> PageCache | None:
        """Evict the package's files before a cold run, and return how much was in memory."""
        evict = kind in ("cold", "memory")  # from cold on, what is read is really read
        if not evict and kind not in ("steady", "sustained"):
            return None
        size_bytes = plan.identity.package_bytes
        return self.device.agent.ask(
            PageCache,
            "page_cache",
            files=[posixpath.join(self.package, path) for path in self.files],
            evict=evict,
            answer_s=ANSWER_S + size_bytes / SLOWEST_BYTES_PER_S,
        )

    def output(self) -> str | None:
        """Return the folder, on the device, for the picture of the cold run."""
        if self.pictures is None or self.device.is_local:
            return absolute(self.pictures)
        return self.device.agent.ask(Place, "make_run", name=self.run_name).path

    def fetch_pictures(self, work: Workload) -> None:
        """Bring what the cold run drew here, unless it was drawn here."""
        if self.pictures is None or self.device.is_local:
            return
        agent = self.device.agent
        folder = agent.ask(Place, "make_run", name=self.run_name).path
        announced = Announced(width=work.width, height=work.height)
        # The names are the device's: they are only ever used there.
        names = agent.ask(_Files, "list_run", name=self.run_name).files[:_MOST_PICTURES]
        for index, name in enumerate(names):
            place = self.pictures / f"{index}.png"
            fetch_picture(self.device, posixpath.join(folder, name), place, announced)

    def leave_nothing(self) -> None:
        """Remove this run's files from the device, as far as it can still be reached."""
        if not self.device.is_local:
            self.device.remove_run(self.run_name)


def prepare_site(
    plan: BenchPlan, device: Device, progress: Progress, pictures: Path | None
) -> Site:
    """Return the site of a measurement; what the device lacks of the package is pushed."""
    lora = None if plan.lora is None else str(plan.lora)
    if device.is_local:
        package, files = str(plan.package.resolve()), plan.files
    else:
        cargo = cargo_for(device, plan.package)
        package, files = push(device, cargo, progress).path, tuple(it.path for it in cargo.files)
        lora = send_file(device, lora)
    return Site(
        device=device,
        package=package,
        run_name=new_run_name(),
        pictures=pictures,
        files=files,
        lora=lora,
    )
