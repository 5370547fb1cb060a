"""Listing of all parts and readers of data, with their options, for the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gtl import catalog
from gtl.errors import ConfigError
from gtl.registry import Registry
from gtl.suggest import nearest

_WIDTH = 100


def listing(what: str = "all") -> str:
    """What there is.

    Args:
        what: ``all``; ``pretrained``, for the encoders that come with gtl; the name of one, for its
            card; a role (``encoder``, ``task``, ...), for its parts; the name of a part, for
            its options; ``data``, for the readers; or the scheme of a reader, for its options.

    Raises:
        ConfigError: If it is none of these.

    Example:
        >>> print(listing("gcs").splitlines()[0])
        weighting gcs: Gate each auxiliary gradient by its cosine with the target's.
    """
    from gtl.data.loading import SCHEMES, reader
    from gtl.train.shipped import SHIPPED, card

    roles = registries()
    if what == "all":
        return "\n".join(_parts(registry) for registry in roles.values())
    if what in roles:
        return _parts(roles[what])
    if what == "pretrained":
        return _table("pretrained encoders", {name: _about(card(name)) for name in SHIPPED})
    if what in SHIPPED:
        return card(what)
    if what == "data":
        return _table("readers", {f"{name}:": _line(reader(name)) for name in SCHEMES})
    if what in SCHEMES:
        return _with_options(f"{what}:", reader(what), keyword_only=True)
    found = [(role, registry) for role, registry in roles.items() if what in registry.names()]
    if not found:
        known = [
            "all",
            *roles,
            "data",
            "pretrained",
            *SHIPPED,
            *SCHEMES,
            *(n for r in roles.values() for n in r.names()),
        ]
        raise ConfigError(f"there is no {what!r} to list; {nearest(what, known)}")
    texts = [
        _with_options(f"{role} {what}", registry.get(what), skip=registry.sized_by)
        for role, registry in found
    ]
    return "\n\n".join(texts)


def registries() -> dict[str, Registry]:
    """The registry of each role, by role."""
    return {found.role: found for found in vars(catalog).values() if isinstance(found, Registry)}


def _parts(registry: Registry) -> str:
    return _table(f"{registry.role}s", registry.describe())


def _table(title: str, lines: dict[str, str]) -> str:
    width = max(map(len, lines), default=0)
    return "\n".join([title, *(f"  {name:{width}}  {text}" for name, text in lines.items())])


def _about(card: str) -> str:
    """The first paragraph of a card, below its title, on one line."""
    paragraphs = [part for part in card.split("\n\n") if part and not part.startswith("#")]
    return " ".join(paragraphs[0].split())


def _line(of: Any) -> str:
    return (inspect.getdoc(of) or "").split("\n")[0]


def _with_options(
    title: str, of: Callable[..., Any], skip: tuple[str, ...] = (), keyword_only: bool = False
) -> str:
    import textwrap

    from docstring_parser import parse

    described = {p.arg_name: p.description or "" for p in parse(inspect.getdoc(of) or "").params}
    lines = [f"{title}: {_line(of)}"]
    for parameter in inspect.signature(of).parameters.values():
        named = parameter.kind is parameter.KEYWORD_ONLY or not keyword_only
        if not named or parameter.name in skip or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        default = "" if parameter.default is parameter.empty else f" (default: {parameter.default})"
        lines.append(f"  {parameter.name}{default}")
        about = " ".join(described.get(parameter.name, "").split())
        if about:
            lines += textwrap.wrap(about, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines if len(lines) > 1 else [*lines, "  no options"])
