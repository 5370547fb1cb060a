"""Quiet imports of optional packages: importing ogb, for one, would start a network thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gtl.errors import MissingDependencyError


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Turn an ``ImportError`` inside the block into one that names the extra to install.

    Raises:
        MissingDependencyError: If an import inside the block fails.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, MissingDependencyError):
            raise
        missing = f"the package {error.name!r}" if error.name else f"more than is here ({error})"
        raise MissingDependencyError(
            f"{purpose} needs {missing}; install it with: pip install 'graph-transfer[{extra}]'"
        ) from error


@contextmanager
def without_version_check() -> Iterator[None]:
    """Import ogb inside this block: its own import would ask the network for a newer release."""
    blocked = "outdated" not in sys.modules
    if blocked:
        sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if blocked:
            del sys.modules["outdated"]
