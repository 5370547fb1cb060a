"""Search space of a fine-tuning: options of its parts and settings of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtl.catalog import ADAPTERS, ENCODERS
from gtl.errors import ConfigError
from gtl.roles import Choice, Range, Space
from gtl.roles.search_space import as_space

# By level of the data: a tenth to ten times the default learning rate, and decay of all weights.
TRAINING: Mapping[str, Mapping[str, Space]] = {
    "graph": {"lr": Range(1e-4, 1e-2, log=True), "weight_decay": Range(1e-6, 1e-2, log=True)},
    "node": {"lr": Range(1e-3, 1e-1, log=True), "weight_decay": Range(1e-5, 1e-2, log=True)},
    "edge": {"lr": Range(1e-4, 1e-1, log=True), "weight_decay": Range(1e-6, 1e-2, log=True)},
}


@dataclass(frozen=True)
class SearchSpace:
    """What is searched, and what stays as it was given.

    Attributes:
        encoders: Encoders to choose from; each a name, a folder, or a mapping with fixed options.
        adapter: As for :func:`gtl.finetune`; its options are searched if it is one, by name.
        options: Spaces by key: ``lr`` or another argument of :func:`gtl.finetune`,
            ``NAME.width`` for an option of the encoder ``NAME``, ``adapter.hidden``.
    """

    encoders: tuple[Any, ...]
    adapter: Any
    options: Mapping[str, Space]

    def keys(self, encoder: str) -> list[str]:
        """The keys that count for one of the encoders."""
        names = {title_of(given) for given in self.encoders}
        return [
            key
            for key in self.options
            if key.partition(".")[0] not in names - {encoder} or "." not in key
        ]

    def arguments(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of :func:`gtl.finetune` for chosen values.

        Args:
            chosen: Values by key, and under ``encoder`` the title of the encoder if there are
                several.
        """
        title = chosen.get("encoder", title_of(self.encoders[0]))
        given = next(e for e in self.encoders if title_of(e) == title)
        found: dict[str, Any] = {"encoder": given, "adapter": self.adapter}
        for key, value in chosen.items():
            part, dot, option = key.partition(".")
            if part == title and dot:
                found["encoder"] = {**_mapping(found["encoder"]), option: value}
            elif part == "adapter" and dot:
                found["adapter"] = {**_mapping(found["adapter"]), option: value}
            elif dot:
                found[part] = {**(found.get(part) or {}), option: value}
            elif key != "encoder":
                found[key] = value
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, for ``config.json``."""
        return {
            key: list(space.values)
            if isinstance(space, Choice)
            else {"low": space.low, "high": space.high, "log": space.log}
            for key, space in self.options.items()
        }


def search_space(
    encoder: Any, adapter: Any, given: Mapping[str, Any], level: str, fixed: Mapping[str, Any]
) -> SearchSpace:
    """The space that the parts declare, with what was given in its place.

    Args:
        encoder: A name, a folder, a mapping with options that are not searched, or a list of those.
        adapter: As for :func:`gtl.finetune`.
        given: Spaces by key, as plain values or not; ``None`` takes one out.
        level: Of the data.
        fixed: Arguments that are not searched.

    Raises:
        ConfigError: If an encoder is an instance, or a space is unusable.
    """
    listed = encoder if isinstance(encoder, (list, tuple)) else [encoder]
    encoders = tuple(str(part) if isinstance(part, Path) else part for part in listed)
    found: dict[str, Space] = dict(TRAINING[level])
    for part in encoders:
        found |= _declared(ENCODERS, part, title_of(part))
    if isinstance(adapter, (str, Mapping)):
        found |= _declared(ADAPTERS, adapter, "adapter")
    _check_adapter(adapter, given)
    for key, values in given.items():
        for name in _names(key, encoders):
            found[name] = as_space(key, [None] if values is None else values)
    # options of an argument, such as weight_decay.first, stand in the place of its one value
    found = {key: v for key, v in found.items() if not any(k.startswith(f"{key}.") for k in given)}
    taken_out = {n for key, v in given.items() if v is None for n in _names(key, encoders)}
    left_out = taken_out | set(fixed)
    titles = {title_of(part) for part in encoders}
    if len(titles) < len(encoders):
        raise ConfigError(f"`encoder` names one of {', '.join(sorted(titles))} twice; name it once")
    return SearchSpace(encoders, adapter, {k: v for k, v in found.items() if k not in left_out})


def title_of(encoder: Any) -> str:
    """What an encoder is called in a search.

    Raises:
        ConfigError: If it is an instance: each trial needs one of its own.
    """
    name = encoder.get("name") if isinstance(encoder, Mapping) else encoder
    if not isinstance(name, str):
        raise ConfigError(
            f"`encoder` is a {type(encoder).__name__}, of which each trial needs one of its own; "
            "give a name, a mapping with `name` and options, or the folder of a run"
        )
    return name


def _check_adapter(adapter: Any, given: Mapping[str, Any]) -> None:
    """Refuse to search options of an adapter that is not there, or of one among several."""
    options = [key for key, value in given.items() if key.startswith("adapter.") and value]
    if options and "adapter" not in given and not isinstance(adapter, (str, Mapping)):
        what = "none" if adapter is None or adapter == [] else f"a {type(adapter).__name__}"
        raise ConfigError(
            f"`space` has {options[0]!r}, but `adapter` is {what}; name one adapter, such as "
            "adapter='parallel', or leave the key out"
        )


def _declared(registry: Any, part: Any, prefix: str) -> dict[str, Space]:
    """The spaces of a part's class; none of a folder, whose encoder is what it is."""
    name = part.get("name") if isinstance(part, Mapping) else part
    if name not in registry.names():
        return {}
    fixed = set(part) if isinstance(part, Mapping) else set()
    declared = registry.get(name).search_space
    return {f"{prefix}.{key}": space for key, space in declared.items() if key not in fixed}


def _names(key: str, encoders: Sequence[Any]) -> list[str]:
    """``encoder.width`` counts for each of the encoders."""
    part, _, option = key.partition(".")
    if part == "encoder" and option:
        return [f"{title_of(encoder)}.{option}" for encoder in encoders]
    return [key]


def _mapping(part: Any) -> dict[str, Any]:
    return dict(part) if isinstance(part, Mapping) else {"name": part}
