"""Options of readers from the command line: their types, and text that stays text.

YAML reads ``no`` as a truth value and ``010`` as the number 8. For the name of a column or of a
class both are text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from gtl.errors import ConfigError

_NONE = ("", "~", "null")
_KINDS = {"text": "str", "a list": "Sequence[str]", "nothing": "None"}


def text_value(written: str) -> Any:
    """The text or list of texts that was written; ``None`` for ``null``.

    Example:
        >>> text_value("010"), text_value("[yes, 'a, b']"), text_value('"null"'), text_value("null")
        ('010', ['yes', 'a, b'], 'null', None)
    """
    import yaml

    if written.strip() in _NONE:
        return None
    if not written.startswith(("[", '"', "'")):
        return written
    try:
        return yaml.load(written, yaml.BaseLoader)
    except yaml.YAMLError:
        return written


def typed_options(spec: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a reader, converted to its types; unknown ones are left to :func:`gtl.load`.

    Args:
        spec: What is read.
        options: By name; values may be text.

    Raises:
        ConfigError: If a value cannot be of the type that the option has.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from gtl.data.loading import SCHEMES, reader

    scheme = spec.partition(":")[0]
    if scheme not in SCHEMES:
        return dict(options)
    texts = _texts(reader(scheme))
    for name in set(texts) & set(options):
        _check_text(scheme, name, options[name], texts[name])
    parser = ArgumentParser(exit_on_error=False)
    skip: set[str | int] = {"name", "root", *texts}
    names = parser.add_function_arguments(reader(scheme), skip=skip, fail_untyped=False)
    known = {name: value for name, value in options.items() if name in names}
    try:
        typed = parser.parse_object(known, defaults=False).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"{scheme}: {error.message}; see: gtl list {scheme}") from error
    return {**options, **typed}


def _texts(reader: Any) -> dict[str, str]:
    """Types of the options of a reader that are text or lists of texts, by name."""
    found = inspect.signature(reader).parameters.values()
    types = {p.name: str(p.annotation) for p in found if p.kind is p.KEYWORD_ONLY}
    return {name: kind for name, kind in types.items() if not re.search("int|float|bool|Any", kind)}


def _check_text(scheme: str, name: str, value: Any, kind: str) -> None:
    """Refuse what is not text; ``kind`` is the type of the option as it is declared."""
    several = isinstance(value, (list, tuple))
    expected = [what for what, part in _KINDS.items() if part in kind.split(" | ")]
    found = "a list" if several else "nothing" if value is None else "text"
    if found not in expected:
        raise ConfigError(
            f"{scheme}: `{name}` is {value!r}, expected {' or '.join(expected)}; "
            f"see: gtl list {scheme}"
        )
    for entry in value if several else [value]:
        if not isinstance(entry, str) and value is not None:
            raise ConfigError(
                f"{scheme}: `{name}` has {entry!r} ({type(entry).__name__}), expected text; put "
                f"quotes around it, or give it as --data.{name}"
            )
