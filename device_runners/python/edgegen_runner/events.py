"""The type of what takes events; without numpy, so that the agent and the sensors can use it."""

from __future__ import annotations

from typing import Callable

Emit = Callable[..., None]
"""Takes an event's name and its fields."""
