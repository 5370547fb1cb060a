"""Search for the files of a data set, here and in the root folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gtl.errors import ConfigError, DataError


def find(
    spec: str,
    root: Path | None,
    places: Sequence[str],
    remedy: str,
    fits: Callable[[Path], bool] = Path.is_file,
) -> Path:
    """The first of some places, here or in ``root``, that holds what is looked for.

    Args:
        spec: What is looked for, for the message.
        root: Folder in which the places are tried after they were tried from here.
        places: Paths, the likeliest first.
        remedy: What to put there.
        fits: Whether a path is what is looked for.

    Raises:
        ConfigError: If it is not here and no root is known.
        DataError: If it is not in the root either.
    """
    paths = [Path(place).expanduser() for place in places]
    tried = [*paths, *(root / path for path in paths if root is not None)]
    for path in tried:
        if fits(path):
            return path
    if root is None:
        raise ConfigError(
            f"{spec} is not here and needs a folder to look in; give root (--root) or set GTL_DATA"
        )
    raise DataError(
        f"{spec}: there is no {' or '.join(places)} here or in {root}; {remedy}, or correct the "
        "name or root"
    )
