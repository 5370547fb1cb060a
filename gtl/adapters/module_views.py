"""Views of a module: shallow copies of its tree that share its tensors and call it differently.

An adapter changes what a frozen encoder's modules compute, and the encoder itself may be used at
the same time, by another thread or by another adapted form. So its modules are never patched, not
even for the time of a call: each call of an adapted encoder runs on a view made for that call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

Wrap = Callable[..., Tensor]
Change = Callable[[nn.Module], None]


class Call:
    """A module as an adapter calls it: with the adapters that act before it.

    Attributes:
        module: The module. It shares parameters, buffers and hooks with that of the frozen encoder,
            and is another object where an adapter acts in it.
    """

    def __init__(
        self,
        module: nn.Module,
        wraps: Sequence[Wrap] = (),
        options: Mapping[str, Any] | None = None,
    ):
        self.module, self._wraps, self._options = module, tuple(wraps), dict(options or {})

    def __call__(self, *inputs: Any) -> Tensor:
        """What the module returns, changed by the adapters before this one."""
        if self._wraps:
            *before, last = self._wraps
            return last(Call(self.module, before, self._options), *inputs)
        return self.module.forward(*inputs, **self._options)

    def with_parameters(self, values: Mapping[tuple[nn.Module, str], Tensor]) -> Call:
        """The same call at other values of parameters.

        Args:
            values: By module, :attr:`module` or one inside it, and by name of the parameter there.
        """
        changes: dict[int, Change] = {}
        for owner in {id(owner): owner for owner, _ in values}.values():
            own = {name: value for (part, name), value in values.items() if part is owner}
            changes[id(owner)] = partial(_replace_parameters, own)
        return Call(view_of(self.module, changes), self._wraps, self._options)


def wrapped(module: nn.Module, wraps: Mapping[str, Sequence[Wrap]]) -> nn.Module:
    """A view of a module in which calls of some modules go through functions.

    Args:
        module: The root; it and all modules inside stay as they are.
        wraps: By path, as in ``named_modules``, functions that are called in the place of that
            module as ``wrap(call, *inputs)``, the outermost last.
    """
    changes = {id(module.get_submodule(path)): partial(_wrap, tuple(wraps[path])) for path in wraps}
    return view_of(module, changes)


def view_of(module: nn.Module, changes: Mapping[int, Change]) -> nn.Module:
    """A copy of a tree of modules, as far as something in it changes.

    Modules without a change in or below them are the original ones. All others are shallow copies:
    new objects with the same parameters, buffers, hooks and other attributes. A module that has
    several places in the tree has the same copy in all of them. What a copy assigns to plain
    attributes of itself is lost after the call; buffers are not.

    Args:
        module: The root.
        changes: By ``id`` of a module, what to do to its copy.
    """
    views: dict[int, nn.Module] = {}

    def visit(part: nn.Module) -> nn.Module:
        if id(part) in views:
            return views[id(part)]
        views[id(part)] = part  # a module that contains itself is not entered again
        children = part._modules.items()
        inside = {name: None if child is None else visit(child) for name, child in children}
        moved = any(child is not part._modules[name] for name, child in inside.items())
        if moved or id(part) in changes:
            views[id(part)] = copy = object.__new__(type(part))
            vars(copy).update(vars(part))
            vars(copy)["_modules"] = inside
            if id(part) in changes:
                changes[id(part)](copy)
        return views[id(part)]

    return visit(module)


def _wrap(wraps: Sequence[Wrap], copy: nn.Module) -> None:
    """Let calls of a copy go through functions, and its own ``forward`` be the innermost."""
    inner = object.__new__(type(copy))
    vars(inner).update(vars(copy))
    vars(copy)["forward"] = partial(_forward, inner, wraps)


def _forward(module: nn.Module, wraps: Sequence[Wrap], *inputs: Any, **options: Any) -> Tensor:
    return Call(module, wraps, options)(*inputs)


def _replace_parameters(values: Mapping[str, Tensor], copy: nn.Module) -> None:
    # In a new dict, at the same places: the order of parameters stays, the original's dict too.
    vars(copy)["_parameters"] = {**copy._parameters, **values}
