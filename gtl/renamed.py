"""Former names of options, which are accepted with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gtl.errors import ConfigError

_Init = TypeVar("_Init", bound=Callable[..., None])


def renamed(**names: str) -> Callable[[_Init], _Init]:
    """Decorator of a constructor some of whose options had other names: ``former="present"``.

    Signature and help have the present names alone. What :class:`gtl.roles.Recorded` remembers,
    and so every run folder, has them too.
    """

    def decorate(init: _Init) -> _Init:
        @functools.wraps(init)
        def accept(self: Any, *args: Any, **options: Any) -> None:
            init(self, *args, **present_options(accept, options, type(self).__name__))

        accept._former_names = names  # type: ignore[attr-defined]
        return accept  # type: ignore[return-value]

    return decorate


def present_options(
    init: Callable[..., None], options: Mapping[str, Any], part: str | None = None
) -> dict[str, Any]:
    """Options by their present names.

    Args:
        init: The constructor that will get them.
        options: Options by name.
        part: What the constructor makes, for the warning; ``None`` gives no warning.

    Raises:
        ConfigError: If an option is given by both names.
    """
    former: Mapping[str, str] = getattr(init, "_former_names", {})
    present: dict[str, Any] = {}
    for name, value in options.items():
        current = former.get(name, name)
        if current != name and part is not None:
            warnings.warn(
                f"the option `{name}` of {part} is now called `{current}`; the former name will "
                "be removed",
                DeprecationWarning,
                stacklevel=3,
            )
        if current != name and current in options:
            raise ConfigError(
                f"`{name}` and `{current}` are one option by its former and its present name; "
                f"give `{current}` alone"
            )
        present[current] = value
    return present
