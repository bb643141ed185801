"""edgegen's runner, as `edgegen run` uses it: `options` are the runtime's name and settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from turns import read_job, serve, step_ended

job = read_job()
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "device_runners" / "python"))

from edgegen_runner.backends import BackendOptions, open_backend  # noqa: E402
from edgegen_runner.package import load_package  # noqa: E402
from edgegen_runner.request import Request  # noqa: E402
from edgegen_runner.session import Image, Session  # noqa: E402

options = dict(job["options"])
residency = options.pop("residency", "all")
kept = job.get("kept")
backend = open_backend(
    BackendOptions(
        threads=job["threads"], optimized=None if kept is None else Path(kept), **options
    )
)
session: Any = None


def _hear(kind: str, **_: object) -> None:
    if kind == "step":
        step_ended()


def load() -> None:
    global session
    package = load_package(Path(job["model"]))
    request = Request(
        prompts=(job["prompt"],),
        steps=job["steps"],
        guidance=job["guidance"],
        width=job["pixels"],
        height=job["pixels"],
        latents=Path(job["latents"]),
    )
    session = Session(package, backend, request, residency, _hear)
    if residency == "all":
        session.load()


def draw() -> Any:
    return session.draw(Image(0, 0, job["prompt"], False))[0]


serve(job, f"{backend.name} {backend.version}", load, draw)
