"""Versions that results depend on."""

from __future__ import annotations

import platform

PACKAGES = {
    "torch": "torch",
    "transformer_lens": "transformer-lens",
    "polars": "polars",
    "interp_dsl": "interp-dsl",
}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; nothing is imported."""
    from importlib import metadata

    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, distribution in PACKAGES.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
