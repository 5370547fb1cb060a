"""Registry of the parts of one role: names, classes, options and plug-ins.

The tables of names are in :mod:`gtl.catalog`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from gtl.errors import ConfigError, GtlError, GtlWarning, UnknownPartError
from gtl.renamed import present_options
from gtl.suggest import nearest


class Registry:
    """Maps the names of one role to the classes that play it.

    Args:
        role: What the parts are, singular (``"task"``); used in messages.
        builtin: ``name -> "module:Class"`` of the parts that gtl ships.
        sized_by: Constructor arguments that come first and that loops supply, not users.
        families: ``prefix -> module`` of parts that another package names, ``prefix:name``; the
            module has ``names()``, empty if that package is missing, and ``named(name)``.
        base: Class that every part derives from; parts that do not are refused.
        former_names: ``former -> present`` names, which are accepted with a warning.
    """

    def __init__(
        self,
        role: str,
        builtin: Mapping[str, str],
        sized_by: tuple[str, ...] = (),
        families: Mapping[str, str] | None = None,
        base: type = object,
        former_names: Mapping[str, str] | None = None,
    ):
        self.role = role
        self.group = "gtl." + re.sub(r"\W", "_", role) + "s"
        self.base = base
        self.sized_by = sized_by
        self.families = dict(families or {})
        self.former_names = dict(former_names or {})
        self._places: dict[str, str] = dict(builtin)
        self._classes: dict[str, type] = {}
        self._plugins_read = False

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator that registers a part under ``name``.

        Raises:
            ConfigError: If another class already has that name, or the class plays another role.
        """

        def add(cls: type) -> type:
            self._require_role(name, cls)
            known = self._classes.get(name)
            same = known is not None and _place(known) == _place(cls)
            if (known is not None and not same) or (known is None and name in self._places):
                raise ConfigError(
                    f"{self.role} {name!r} is already registered; choose another name"
                )
            self._classes[name] = cls
            return cls

        return add

    def names(self) -> list[str]:
        """All known names, built-in ones first, families and plug-ins included."""
        known = dict.fromkeys(self._own_names())
        for prefix, module in self.families.items():
            names = importlib.import_module(module).names()
            known.update(dict.fromkeys(f"{prefix}:{name}" for name in names))
        return list(known)

    def get(self, name: str) -> type:
        """The class registered under ``name``.

        Raises:
            UnknownPartError: If there is none; offers the nearest name and the list.
            MissingDependencyError: If the package of a family is not installed.
        """
        if name not in self._classes and name not in self._places:
            self._read_plugins()
        if name not in self._classes and name in self.former_names:
            name = self._present_name(name)
        if name in self._classes:
            return self._classes[name]
        prefix, _, rest = name.partition(":")
        if rest and prefix in self.families:
            family = importlib.import_module(self.families[prefix])
            if rest in family.names() or not family.names():
                self._classes[name] = family.named(rest)
                return self._classes[name]
        if name not in self._places:
            raise UnknownPartError(f"unknown {self.role} {name!r}; {nearest(name, self.names())}")
        module, _, attribute = self._places[name].partition(":")
        self._classes[name] = getattr(importlib.import_module(module), attribute)
        return self._classes[name]

    def build(self, part: Any, *args: Any) -> Any:
        """Turn what a user wrote into a part.

        Args:
            part: An instance (returned as it is), a registered name, or a mapping with the key
                ``name`` and the options of the constructor beside it.
            *args: Positional arguments of the constructor that the caller supplies (a schema).

        Raises:
            UnknownPartError: If the name is not registered.
            ConfigError: If the constructor does not take one of the options, or needs another.
        """
        if isinstance(part, str):
            part = {"name": part}
        if isinstance(part, (type, list, tuple)):
            given = f"the class {part.__name__}" if isinstance(part, type) else repr(part)
            raise ConfigError(
                f"{self.role}: {given} was given, expected one name, a mapping of name and "
                "options, or an instance"
            )
        if not isinstance(part, Mapping):
            return part
        options = {str(key): value for key, value in part.items()}
        if "name" not in options:
            raise ConfigError(f"a {self.role} given as a mapping needs the key 'name': {options}")
        name = options.pop("name")
        cls = self.get(name)
        options = present_options(cls.__init__, options, f"{self.role} {name!r}")  # type: ignore[misc]
        self._check_options(name, cls, len(args), options)
        try:
            return cls(*args, **options)
        except (TypeError, ValueError) as error:
            if isinstance(error, GtlError):
                raise
            shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
            raise ConfigError(
                f"{self.role} {name!r} cannot be built with {shown or 'its defaults'}: {error}"
            ) from error

    def name_of(self, part: Any) -> str:
        """The registered name of an instance, or its class name if it was never registered."""
        for name in self._own_names():
            place = self._places.get(name, "")
            cls = type(part)
            if self._classes.get(name) is cls or place == _place(cls):
                return name
        return type(part).__name__

    def spec(self, part: Any) -> dict[str, Any]:
        """Name and plain options of an instance: what :meth:`build` needs to make it again.

        Options that are not plain, such as modules, are left out.
        """
        options = getattr(part, "arguments", {})
        plain = {
            key: value
            for key, value in options.items()
            if _is_plain(value) and key not in self.sized_by
        }
        return {"name": self.name_of(part), **plain}

    def describe(self) -> dict[str, str]:
        """Every name with the first line of its class's docstring."""
        lines = {
            name: (inspect.getdoc(self.get(name)) or "").split("\n")[0] for name in self.names()
        }
        return dict(lines)

    def _present_name(self, former: str) -> str:
        present = self.former_names[former]
        warnings.warn(
            f"the {self.role} {former!r} is now called {present!r}; the former name will be "
            "removed",
            DeprecationWarning,
            stacklevel=4,
        )
        return present

    def _own_names(self) -> list[str]:
        """Names without those of families: listing them imports the packages of families."""
        self._read_plugins()
        return [*self._places, *(name for name in self._classes if name not in self._places)]

    def _check_options(self, name: str, cls: type, sizes: int, options: Mapping) -> None:
        known = list(inspect.signature(cls).parameters.values())[sizes:]
        names = [p.name for p in known if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known)
        for option in options:
            if option not in names and not takes_any:
                choices = ", ".join(names) or "none"
                raise ConfigError(
                    f"{self.role} {name!r} has no option {option!r}; it has: {choices}"
                )
        for p in known:
            if p.name in names and p.default is p.empty and p.name not in options:
                raise ConfigError(
                    f"{self.role} {name!r} needs the option {p.name!r}; give it as a mapping: "
                    f"{{name: {name}, {p.name}: ...}}"
                )

    def _require_role(self, name: str, cls: Any) -> None:
        if not isinstance(cls, type) or not issubclass(cls, self.base):
            kind = "the class" if isinstance(cls, type) else "an object of type"
            came = cls if isinstance(cls, type) else type(cls)
            raise ConfigError(
                f"{self.role} {name!r} is {kind} {came.__name__}, expected a class that "
                f"derives from gtl.roles.{self.base.__name__}"
            )

    def _read_plugins(self) -> None:
        if self._plugins_read:
            return
        self._plugins_read = True
        for entry in entry_points(group=self.group):
            try:
                self.register(entry.name)(entry.load())
            except (Exception, SystemExit) as error:  # a script may leave when it is imported
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                warnings.warn(
                    f"plug-in {self.role} {entry.name!r} ({entry.value}) was skipped: {reason}",
                    GtlWarning,
                    stacklevel=3,
                )


def _place(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (str, bool, int, float))
