"""Makes images on a device, and brings them here."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

from edgegen.core.errors import RunnerError
from edgegen.core.files import sha256_of, translate_disk_errors
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.answers import Place
from edgegen.devices.chips import cargo_for
from edgegen.devices.device import Device
from edgegen.devices.store import File, Stored, new_run_name, push, send_blobs
from edgegen.runner.backend_choice import Wishes, choose_backend
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.protocol import Event
from edgegen.runner.received import Announced, fetch_picture
from edgegen.runner.session import ImageResult, generate


def push_package(
    device: Device, package: Path, progress: Progress, wishes: Wishes | None = None
) -> Stored:
    """Take the device, and push what it lacks of a package; what is current there stays.

    Raises what `cargo_for` and `choose_backend` raise before anything travels.
    """
    wishes = wishes or Wishes()
    cargo = cargo_for(device, package, wanted=wishes.chip)
    choose_backend(device, cargo.manifest.runs_as, wishes)
    device.agent.lock(f"run {cargo.name}")
    return push(device, cargo, progress)


def generate_there(
    device: Device,
    stored: Stored,
    job: GenerateJob,
    folder: Path,
    names: Sequence[str],
    on_event: Callable[[Event], None] | None = None,
    *,
    wishes: Wishes | None = None,
    patience_s: float | None = None,
) -> list[ImageResult]:
    """Run a job on a device with a package that is there; images come to `folder` by `names`.

    The job's backend is replaced by the one that the device, the package's target and `wishes`
    make; without `wishes`, all of it but its name is what the user asked for. Files that the job
    starts from are pushed, too. Raises what the runner and the connection raise.
    """
    request = dataclasses.replace(
        job.request,
        image=send_file(device, job.request.image),
        mask=send_file(device, job.request.mask),
        depth=send_file(device, job.request.depth),
        latents=send_file(device, job.request.latents),
        control=_send_all(device, job.request.control),
        lora=send_file(device, job.request.lora),
        picture_prompt=send_file(device, job.request.picture_prompt),
    )
    run = new_run_name()
    there = device.agent.ask(Place, "make_run", name=run).path
    try:
        sent = dataclasses.replace(
            job,
            package=stored.path,
            request=request,
            backend=choose_backend(
                device,
                stored.target,
                wishes
                or Wishes(
                    providers=job.backend.providers or (),
                    threads=job.backend.threads,
                    memory=job.backend.memory,
                    arithmetic=job.backend.arithmetic,
                ),
            ),
            output=there,
            file_names=tuple(f"{index}.png" for index in range(len(names))),
            verify=True,
        )
        made = generate(sent, on_event, device=device, patience_s=patience_s)
        _check_made(device, made, len(names), request)
        with translate_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for index, (name, image) in enumerate(zip(names, made, strict=True)):
                announced = Announced(width=image.width, height=image.height, sha256=image.sha256)
                path = posixpath.join(there, f"{index}.png")
                fetch_picture(device, path, folder / name, announced)
    finally:
        device.remove_run(run)
    return [
        dataclasses.replace(image, path=str(folder / name))
        for image, name in zip(made, names, strict=True)
    ]


def _check_made(device: Device, made: list[ImageResult], count: int, request: Request) -> None:
    """Raise RunnerError where the images are not as many, or not as large, as were asked for."""
    if len(made) != count:
        raise RunnerError(f"{device.address} made {len(made)} images, not {count}.")
    wanted = (request.width, request.height)
    for image in made:
        if None not in wanted and (image.width, image.height) != wanted:
            raise RunnerError(
                f"{device.address} made an image of {image.width} × {image.height} pixels, not "
                f"{wanted[0]} × {wanted[1]}.",
                hint=f"See what runs there: edgegen devices show {device.address}",
            )


def _send_all(device: Device, files: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Push files of this machine, and return their paths on the device."""
    sent = (send_file(device, file) for file in files or ())
    return tuple(it for it in sent if it is not None) or None


def send_file(device: Device, file: str | None) -> str | None:
    """Push a file of this machine, and return its path on the device; None stays None."""
    if file is None:
        return None
    source = Path(file)
    sha256 = sha256_of(source)
    sent = File(path=source.name, source=source, sha256=sha256, size_bytes=source.stat().st_size)
    send_blobs(device, [sent], SilentProgress())
    return posixpath.join(device.agent.root, "blobs", sha256)
