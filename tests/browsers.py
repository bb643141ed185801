"""Browsers that show pages without a screen."""

import shutil

import pytest

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Return where Chromium is; skip the test where it isn't."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is here")
    return found
