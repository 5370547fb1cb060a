"""A frozen encoder with adapters in use: what stands where the encoder stood.

The encoder is left as it is. While the adapted one computes, and only then, calls of the modules
that adapters wrap go through the adapters; so any number of them, of any kind, can be set around
one another, and taking them off again is nothing but leaving them out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gtl.adapters import trainable
from gtl.adapters.freezing import hold, let_go
from gtl.adapters.vector_cache import Kept, Vectors
from gtl.errors import ConfigError
from gtl.graph import Graph, PackedGraphs, Schema
from gtl.roles import Adapter, Anatomy, Encoder, Place

# Calls of a base go through one set of adapters at a time, whichever threads they come from.
_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


class Adapted(nn.Module):
    """A frozen module and named adapters, one of which is in use; each may be several in a row.

    The base is frozen in earnest: nothing of it requires gradients, and it stays in eval mode also
    under ``train()``. So batch norms use their running statistics and do not move them, and
    dropout is off: the base is a fixed function, and an untrained adapter leaves it that one.

    Args:
        base: The module; frozen in place until :func:`gtl.adapters.detach`.
        anatomy: Its places.

    Attributes:
        base: The frozen module.
        adapters: Lists of adapters by name.
        in_use: Name of the adapters that act and learn; ``None`` means none.
    """

    def __init__(self, base: nn.Module, anatomy: Anatomy):
        super().__init__()
        self.base = base
        self.adapters = nn.ModuleDict()
        self.in_use: str | None = None
        self.anatomy = anatomy
        hold(base, self)

    def use(self, name: str | None) -> Adapted:
        """Let the adapters of that name act and learn, and no others; ``None`` means the base.

        Raises:
            ConfigError: If there are none of that name.
        """
        if name is not None and name not in self.adapters:
            known = ", ".join(map(repr, self.adapters)) or "none"
            raise ConfigError(f"no adapter is named {name!r}; attached: {known}")
        self.in_use = name
        for key, parts in self.adapters.items():
            parts.requires_grad_(key == name)
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether no parameter of the base may move."""
        return not any(p.requires_grad for p in self.base.parameters())

    def parts(self) -> list[Adapter]:
        """The adapters in use, in the order in which they were given."""
        return [] if self.in_use is None else self.named(self.in_use)

    def named(self, name: str) -> list[Adapter]:
        """The adapters of that name, in the order in which they were given."""
        return list(self.adapters[name].children())  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> Adapted:
        """Set the mode of the adapters; the base stays in eval mode."""
        super().train(mode)
        self.base.eval()
        return self

    def restored(self) -> nn.Module:
        """The base; if no other holds it, as free and in the modes as before the first adapter."""
        let_go(self.base, self)
        return self.base

    def shareable(self) -> list[Any]:
        """What a copy that is trained beside this one may share: a base that stays as it is."""
        return list(self.base.modules()) if self.is_frozen else []

    def print_trainable_parameters(self) -> None:
        """Print how many parameters may move, in the manner of PEFT."""
        trainable.print_trainable_parameters(self)

    def _call(self, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        with self._wrapped():
            return function(*inputs, **options)

    def _encode(self, *inputs: Any, **options: Any) -> Tensor:
        changing = _changing(self.parts())
        said: dict[str, Tensor] = {}
        with self._wrapped(said if changing else None):
            out = self.base(*inputs, **options)
        for part in changing:
            out = part.output(self._in_order(said), out)
        return out

    @contextmanager
    def _wrapped(self, said: dict[str, Tensor] | None = None) -> Iterator[None]:
        """While it lasts, calls of modules of the base go through the adapters in use.

        Args:
            said: Where to note the outputs of embedding and blocks, by path.
        """
        wraps = [part.wraps() for part in self.parts()]
        watched = [] if said is None else [place.path for place in self._layers()]
        modules = dict(self.base.named_modules()) if wraps or watched else {}
        changed: list[tuple[nn.Module, Any]] = []
        with _locks.setdefault(self.base, threading.RLock()):
            try:
                for path in dict.fromkeys([*(p for wrap in wraps for p in wrap), *watched]):
                    module = modules[path]
                    call: Callable[..., Tensor] = module.forward
                    for wrap in wraps:
                        if path in wrap:
                            call = partial(_through, wrap[path], Call(module, call))
                    if said is not None and path in watched:
                        call = partial(_noted, said, path, call)
                    changed.append((module, module.__dict__.get("forward")))
                    module.forward = call
                yield
            finally:
                for module, before in reversed(changed):
                    if before is None:
                        del module.forward
                    else:
                        module.forward = before

    def _layers(self) -> Sequence[Place]:
        anatomy = self.anatomy
        return [*([] if anatomy.embed is None else [anatomy.embed]), *anatomy.blocks]

    def _in_order(self, said: Mapping[str, Tensor]) -> list[Tensor]:
        """What embedding and blocks said last, in the order of the anatomy."""
        return [said[place.path] for place in self._layers()]


class AdaptedEncoder(Adapted, Encoder):
    """A frozen encoder with adapters: an encoder like any other.

    Args:
        base: The encoder; frozen in place until :func:`gtl.adapters.detach`.
        anatomy: Its places.
    """

    base: Encoder

    def __init__(self, base: Encoder, anatomy: Anatomy):
        super().__init__(base, anatomy)
        self._kept = Kept()

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""
        if not self._is_fixed():
            return self._encode(graph)
        layers, out = self._kept.get(graph, self.base, self._fixed)
        for part in _changing(self.parts()):
            out = part.output(layers, out)
        return out

    def encode_once(self, graphs: PackedGraphs, items: Tensor) -> None:
        """Encode graphs of a set now, and never again in batches of :meth:`gtl.data.Dataset.batch`.

        Nothing happens where an adapter acts inside the encoder, or where the vectors would take
        more than a GiB; otherwise they take that memory until :meth:`forget`.

        Args:
            graphs: The set.
            items: Numbers of its graphs, int64 ``(k,)``, none of them twice.
        """
        if self._is_fixed():
            self._kept.ahead(graphs, items, self.base, self._fixed)

    def forget(self) -> None:
        """Let go of vectors that are kept."""
        self._kept.forget()

    def use(self, name: str | None) -> AdaptedEncoder:
        """Let the adapters of that name act and learn, and no others; ``None`` means the base."""
        self.forget()
        super().use(name)
        return self

    def shareable(self) -> list[Any]:
        """The base, if it stays as it is, and what is kept of it."""
        shared = super().shareable()
        return [*shared, self._kept] if shared else []

    def _is_fixed(self) -> bool:
        """Whether nothing inside the encoder changes while adapters and heads learn."""
        return self.is_frozen and not any(part.wraps() for part in self.parts())

    def _fixed(self, graph: Graph) -> Vectors:
        """What embedding and blocks say, if any adapter in use asks for it, and the output."""
        said: dict[str, Tensor] = {}
        noted = said if _changing(self.parts()) else None
        with self._wrapped(noted), torch.inference_mode(False), torch.no_grad():
            out = self.base(graph)
        return self._in_order(said) if said else [], out

    def layers(self, graph: Graph) -> list[Tensor]:
        """Node vectors after the adapted embedding and after each adapted block."""
        return self._call(self.base.layers, graph)

    @property
    def schema(self) -> Schema:  # type: ignore[override]
        """What graphs must look like."""
        return self.base.schema

    @property
    def width(self) -> int:  # type: ignore[override]
        """Columns of the output."""
        widths = [part.width for part in self.parts() if part.width is not None]
        return widths[-1] if widths else self.base.width

    @property
    def embed(self) -> nn.Module:  # type: ignore[override]
        """The input embedding with what adapters put around it."""
        return _Inside(self, self.base.embed)

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The blocks with what adapters put around them."""
        return nn.ModuleList(_Inside(self, block) for block in self.base.blocks)


class AdaptedModule(Adapted):
    """A frozen module from elsewhere with adapters; called like the module.

    Args:
        base: The module; frozen in place until :func:`gtl.adapters.detach`.
        anatomy: Its places.
    """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module returns, adapted."""
        return self._encode(*inputs, **options)


def frozen_names(model: nn.Module) -> set[str]:
    """Names in a model's state of what training leaves as it is.

    Encoders under adapters, unless some of their parameters are free, and adapters not in use.
    """
    names: set[str] = set()
    for path, module in model.named_modules():
        if isinstance(module, Adapted):
            fixed = {f"adapters.{name}": part for name, part in module.adapters.items()}
            fixed.pop(f"adapters.{module.in_use}", None)
            if module.is_frozen:
                fixed["base"] = module.base
            for place, part in fixed.items():
                start = f"{path}.{place}." if path else f"{place}."
                names.update(start + name for name in part.state_dict())
    return names


class Call:
    """A module as an adapter calls it: with what the adapters before it put around it.

    Attributes:
        module: The module.
    """

    def __init__(self, module: nn.Module, forward: Callable[..., Tensor]):
        self.module, self._forward = module, forward

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """What the module returns, so far."""
        return self._forward(*inputs, **options)


class _Inside(nn.Module):
    """A module of the base, called as inside the adapted encoder."""

    def __init__(self, owner: Adapted, module: nn.Module):
        super().__init__()
        object.__setattr__(self, "owner", owner)  # no part of this one: it would contain itself
        object.__setattr__(self, "module", module)

    def forward(self, *inputs: Any) -> Tensor:
        return self.owner._call(self.module, *inputs)  # type: ignore[operator,union-attr]


def _changing(parts: Sequence[Adapter]) -> list[Adapter]:
    """Those that have something to say about the output."""
    return [part for part in parts if type(part).output is not Adapter.output]


def _through(wrap: Callable[..., Tensor], call: Call, *inputs: Any, **options: Any) -> Tensor:
    if options:
        call = Call(call.module, partial(call, **options))
    return wrap(call, *inputs)


def _noted(
    said: dict[str, Tensor], path: str, call: Callable[..., Tensor], *inputs: Any, **options: Any
) -> Tensor:
    said[path] = call(*inputs, **options)
    return said[path]
