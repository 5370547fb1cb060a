"""A frozen encoder with adapters, which is used in the place of the encoder.

The encoder's modules are never changed: a call of the adapted encoder runs on a view of them (see
:mod:`gtl.adapters.module_views`) in which the modules that adapters wrap are called through the
adapters. So adapters of any kind can be combined, any number of adapted forms of one encoder can
compute at once, also in several threads, and to detach is to call the encoder itself again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gtl.adapters import trainable
from gtl.adapters.freezing import freeze, release
from gtl.adapters.module_views import Call, Wrap, wrapped
from gtl.adapters.vector_cache import VectorCache, Vectors
from gtl.errors import ConfigError
from gtl.graph import Graph, PackedGraphs, Schema
from gtl.roles import Adapter, Encoder, Site, Sites

Self = TypeVar("Self", bound="Adapted")


class Adapted(nn.Module):
    """A frozen module and named adapters, one of which is active; each may be several in a row.

    No parameter of the base requires a gradient, and it stays in eval mode also under ``train()``.
    So batch norms use their running statistics and do not update them, and dropout is off: the
    base is a fixed function, and an untrained adapter does not change it.

    In a call, modules of the base around or inside which an adapter acts are shallow copies that
    share its parameters, buffers and hooks; a forward hook gets the copy as its ``module``.

    Args:
        base: The module; frozen in place until :func:`gtl.adapters.detach`.
        sites: Where adapters can act in it.

    Attributes:
        base: The frozen module.
        adapters: Lists of adapters by name.
        active_adapter: Name of the adapters that act and are trained; ``None`` means none.
    """

    def __init__(self, base: nn.Module, sites: Sites):
        super().__init__()
        self.base = base
        self.adapters = nn.ModuleDict()
        self.active_adapter: str | None = None
        self.sites = sites
        self.training = freeze(base, self)

    def set_adapter(self: Self, name: str | None) -> Self:
        """Activate the adapters of that name, and no others; ``None`` means the base alone.

        Parameters of adapters require gradients if they are active, and not otherwise.

        Returns:
            The same object.

        Raises:
            ConfigError: If there are none of that name.
        """
        if name is not None and name not in self.adapters:
            known = ", ".join(map(repr, self.adapters)) or "none"
            raise ConfigError(f"no adapter is named {name!r}; attached: {known}")
        self.active_adapter = name
        for key, parts in self.adapters.items():
            parts.requires_grad_(key == name)
        return self

    def use(self: Self, name: str | None) -> Self:
        """The former name of :meth:`set_adapter`; warns."""
        _warn_of_former_name("use(name)", "set_adapter(name)")
        return self.set_adapter(name)

    @property
    def in_use(self) -> str | None:
        """The former name of :attr:`active_adapter`; warns."""
        _warn_of_former_name("in_use", "active_adapter")
        return self.active_adapter

    @property
    def is_frozen(self) -> bool:
        """Whether no parameter of the base requires a gradient."""
        return not any(p.requires_grad for p in self.base.parameters())

    def parts(self) -> list[Adapter]:
        """The active adapters, in the order in which they were given."""
        return [] if self.active_adapter is None else self.named(self.active_adapter)

    def named(self, name: str) -> list[Adapter]:
        """The adapters of that name, in the order in which they were given."""
        return list(self.adapters[name].children())  # type: ignore[arg-type]

    def train(self: Self, mode: bool = True) -> Self:
        """Set the mode of the adapters; the base stays in eval mode."""
        super().train(mode)
        self.base.eval()
        return self

    def release_base(self) -> nn.Module:
        """The base; unless another adapted form freezes it, as it was before the first adapter."""
        release(self.base, self)
        return self.base

    def shareable(self) -> list[Any]:
        """What a copy that is trained beside this one may share: a base that is frozen."""
        return list(self.base.modules()) if self.is_frozen else []

    def print_trainable_parameters(self) -> None:
        """Print how many parameters are trained, in the format of PEFT."""
        trainable.print_trainable_parameters(self)

    def adapted_base(self, outputs: dict[str, Tensor] | None = None) -> nn.Module:
        """A view of the base in which calls of its modules go through the active adapters.

        Args:
            outputs: Where to store the outputs of embedding and blocks, by path; ``None`` for
                nowhere.
        """
        wraps: dict[str, list[Wrap]] = {}
        for part in self.parts():
            for path, wrap in part.wraps().items():
                wraps.setdefault(path, []).append(wrap)
        if outputs is not None:
            for site in self._layers():
                wraps.setdefault(site.path, []).append(partial(_store, outputs, site.path))
        return wrapped(self.base, wraps) if wraps else self.base

    def _encode(self, *inputs: Any, **options: Any) -> Tensor:
        changing = _changing_output(self.parts())
        outputs: dict[str, Tensor] = {}
        out = self.adapted_base(outputs if changing else None)(*inputs, **options)
        for part in changing:
            out = part.output(self._in_order(outputs), out)
        return out

    def _layers(self) -> Sequence[Site]:
        sites = self.sites
        return [*([] if sites.embed is None else [sites.embed]), *sites.blocks]

    def _in_order(self, outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The last outputs of embedding and blocks, in the order of the sites."""
        return [outputs[site.path] for site in self._layers()]


class AdaptedEncoder(Adapted, Encoder):
    """A frozen encoder with adapters: an encoder like any other.

    Args:
        base: The encoder; frozen in place until :func:`gtl.adapters.detach`.
        sites: Where adapters can act in it.
    """

    base: Encoder

    def __init__(self, base: Encoder, sites: Sites):
        super().__init__(base, sites)
        self._cache = VectorCache()

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""
        if not self._is_fixed():
            return self._encode(graph)
        layers, out = self._cache.get(graph, self.base, self._compute)
        for part in _changing_output(self.parts()):
            out = part.output(layers, out)
        return out

    def encode_once(self, graphs: PackedGraphs, items: Tensor) -> None:
        """Encode graphs of a set now, so that batches of :meth:`gtl.data.Dataset.batch` need not.

        Nothing happens where an adapter acts inside the encoder, or where the vectors would take
        more than a GiB; otherwise they take that memory until :meth:`forget`.

        Args:
            graphs: The set.
            items: Numbers of its graphs, int64 ``(k,)``, none of them twice.
        """
        if self._is_fixed():
            self._cache.fill(graphs, items, self.base, self._compute)

    def forget(self) -> None:
        """Free the memory of cached vectors."""
        self._cache.clear()

    def set_adapter(self, name: str | None) -> AdaptedEncoder:
        """Activate the adapters of that name, and no others; ``None`` means the base alone."""
        self.forget()
        return super().set_adapter(name)

    def shareable(self) -> list[Any]:
        """The base, if it is frozen, and the cache of its vectors."""
        shared = super().shareable()
        return [*shared, self._cache] if shared else []

    def _is_fixed(self) -> bool:
        """Whether nothing inside the encoder changes while adapters and heads are trained."""
        return self.is_frozen and not any(part.wraps() for part in self.parts())

    def _compute(self, graph: Graph) -> Vectors:
        """Outputs of embedding and blocks, if an active adapter reads them, and the output."""
        outputs: dict[str, Tensor] = {}
        changing = _changing_output(self.parts())
        with torch.inference_mode(False), torch.no_grad():
            out = self.adapted_base(outputs if changing else None)(graph)
        return self._in_order(outputs) if outputs else [], out

    def layers(self, graph: Graph) -> list[Tensor]:
        """Node vectors after the adapted embedding and after each adapted block."""
        return self.adapted_base().layers(graph)  # type: ignore[operator]

    def relations(self, graph: Graph) -> Tensor | None:
        """Vectors of relations that the base makes."""
        found: Tensor | None = self.base.relations(graph)
        return found

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
        """The input embedding, called through the active adapters."""
        return _Inner(self, "embed")

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The blocks, called through the active adapters."""
        return nn.ModuleList(_Inner(self, f"blocks.{i}") for i in range(len(self.base.blocks)))


class AdaptedModule(Adapted):
    """A frozen module that is no :class:`gtl.roles.Encoder`, with adapters; called like the module.

    Args:
        base: The module; frozen in place until :func:`gtl.adapters.detach`.
        sites: Where adapters can act in it.
    """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module returns, adapted."""
        return self._encode(*inputs, **options)


def frozen_names(model: nn.Module) -> set[str]:
    """Names in a model's state of what training leaves as it is.

    These are the bases of adapted encoders, unless some of their parameters require gradients, and
    adapters that are not active.
    """
    names: set[str] = set()
    for path, module in model.named_modules():
        if isinstance(module, Adapted):
            fixed = {f"adapters.{name}": part for name, part in module.adapters.items()}
            fixed.pop(f"adapters.{module.active_adapter}", None)
            if module.is_frozen:
                fixed["base"] = module.base
            for place, part in fixed.items():
                start = f"{path}.{place}." if path else f"{place}."
                names.update(start + name for name in part.state_dict())
    return names


class _Inner(nn.Module):
    """A module of the base, called as inside the adapted encoder."""

    def __init__(self, owner: Adapted, path: str):
        super().__init__()
        # Not registered as a module: the owner would contain itself.
        object.__setattr__(self, "owner", owner)
        self.path = path

    def forward(self, *inputs: Any) -> Tensor:
        return self.owner.adapted_base().get_submodule(self.path)(*inputs)  # type: ignore


def _changing_output(parts: Iterable[Adapter]) -> list[Adapter]:
    """The adapters that implement :meth:`gtl.roles.Adapter.output`."""
    return [part for part in parts if type(part).output is not Adapter.output]


def _store(outputs: dict[str, Tensor], path: str, call: Call, *inputs: Any) -> Tensor:
    outputs[path] = call(*inputs)
    return outputs[path]


def _warn_of_former_name(former: str, name: str) -> None:
    warnings.warn(f"`{former}` is now `{name}`", FutureWarning, stacklevel=3)
