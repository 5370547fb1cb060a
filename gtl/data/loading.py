"""The function ``load``, which reads a data set by its spec, and the table of schemes."""

from __future__ import annotations

import importlib
import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.checks import as_seed
from gtl.errors import ConfigError, DataError
from gtl.suggest import nearest

if TYPE_CHECKING:
    from gtl.data.dataset import Dataset
    from gtl.data.series import Series

# A reader is called as reader(name, root, seed, **options); its keywords are the scheme's options.
SCHEMES = {
    "ogb": "gtl.data.readers.ogb:load_ogb",
    "smiles": "gtl.data.readers.smiles:load_smiles",
    "planetoid": "gtl.data.readers.planetoid:load_planetoid",
    "npz": "gtl.data.readers.npz:load_npz",
    "tu": "gtl.data.readers.tu:load_tu",
    "mat": "gtl.data.readers.mat:load_mat",
    "typed": "gtl.data.readers.heco:load_typed",
    "kg": "gtl.data.readers.kg:load_kg",
    "series": "gtl.data.readers.series:load_series",
    "demo": "gtl.data.readers.demo:load_demo",
    "packed": "gtl.data.readers.packed:load_packed",
}

_HOW = ("workers",)  # options that leave the data as it is


def load(
    spec: str, root: Path | str | None = None, seed: int = 0, **options: Any
) -> Dataset | Series:
    """Read a data set.

    Args:
        spec: ``scheme:name``: ``ogb:ogbg-molbace``, ``smiles:molecules.csv``,
            ``planetoid:cora``, ``npz:amazon_electronics_photo``, ``tu:MUTAG``,
            ``mat:dblpv7``, ``typed:acm``, ``kg:WN18RR``, ``series:los_loop``, ``demo:shapes``,
            ``packed:corpus.safetensors``.
        root: Folder where named data sets lie; the environment variable ``GTL_DATA`` if not given.
        seed: Of random splits.
        **options: What the scheme's reader takes by keyword, such as ``target="solubility"`` for
            :func:`gtl.data.readers.smiles.load_smiles`.

    Returns:
        A :class:`gtl.data.Dataset`; of ``series:`` a :class:`gtl.data.Series`.

    Raises:
        DataError: If the scheme is unknown, or a file is missing or cannot be used.
        ConfigError: If the scheme has no such option, or the seed is no whole number.

    Example:
        >>> len(load("demo:shapes"))
        200
    """
    scheme, colon, name = str(spec).partition(":")
    if not colon or scheme not in SCHEMES or not name:
        forms = ", ".join(f"{known}:..." for known in SCHEMES)
        if colon and scheme not in SCHEMES:
            raise DataError(f"unknown scheme {scheme!r} in {spec!r}; {nearest(scheme, SCHEMES)}")
        raise DataError(f"{spec!r} has no scheme before a colon; expected one of {forms}")
    read, seed = reader(scheme), as_seed(seed)
    known = [
        parameter.name
        for parameter in inspect.signature(read).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            raise ConfigError(f"{scheme}: has no option {option!r}; {nearest(option, known)}")
    folder = root if root is not None else os.environ.get("GTL_DATA") or None
    data: Dataset | Series = read(
        name, None if folder is None else Path(folder).expanduser(), seed, **options
    )
    kept = {name: value for name, value in options.items() if name not in _HOW}
    return replace(data, options={"seed": seed, **kept}, root="" if folder is None else str(folder))


def reader(scheme: str) -> Any:
    """The function that reads data of a scheme; its keyword-only arguments are the options."""
    module, _, function = SCHEMES[scheme].partition(":")
    return getattr(importlib.import_module(module), function)
