"""Attaching, detaching, merging and storing of adapters; the encoder is frozen and never changed.

Adapters beside frozen layers are those of Rebuffi et al. 2017 ("Learning multiple visual domains
with residual adapters") and Houlsby et al. 2019 ("Parameter-efficient transfer learning for NLP").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload
from weakref import WeakSet

import torch
from torch import Tensor, nn

from gtl import checkpoint
from gtl.adapters.adapted import Adapted, AdaptedEncoder, AdaptedModule
from gtl.adapters.sites import sites_of
from gtl.catalog import ADAPTERS
from gtl.errors import CheckpointError, ConfigError, ShapeError
from gtl.roles import Adapter, Encoder, Sites

DEFAULT = "default"
_attached: WeakSet[Adapter] = WeakSet()
_KIND = "gtl adapter"


@overload
def attach(
    encoder: Encoder,
    adapter: Any,
    name: str = ...,
    *,
    blocks: Sequence[str] | None = ...,
    example: Sequence[Any] | None = ...,
) -> AdaptedEncoder: ...


@overload
def attach(
    encoder: nn.Module,
    adapter: Any,
    name: str = ...,
    *,
    blocks: Sequence[str] | None = ...,
    example: Sequence[Any] | None = ...,
) -> AdaptedModule: ...


def attach(
    encoder: nn.Module,
    adapter: Any,
    name: str = DEFAULT,
    *,
    blocks: Sequence[str] | None = None,
    example: Sequence[Any] | None = None,
) -> Adapted:
    """Freeze an encoder and add an adapter to it.

    Args:
        encoder: An encoder, or one that has adapters already: the new one gets a name of its own
            and becomes the active one. Any other module, such as a stack of DGL's or PyG's layers,
            needs an ``example`` too.
        adapter: Name, mapping with options, instance, or a list of those: the first acts next to
            the encoder's own layers, each other one around those before it. An empty list freezes
            the encoder and adds nothing.
        name: Name of the adapter, for :meth:`gtl.adapters.Adapted.set_adapter`.
        blocks: Names of the modules that are layers; by default the blocks of an encoder and, of
            another module, every module of a class ``...Conv``.
        example: The inputs of one call, which shows the widths of layers. An encoder needs none.

    Returns:
        An :class:`gtl.adapters.AdaptedEncoder` for an encoder, and for any other module an
        :class:`gtl.adapters.AdaptedModule`, which is called like it. It is in the mode (train or
        eval) that the encoder was in. The encoder is frozen in place; nothing else of it changes.

    Raises:
        ConfigError: If the encoder has no blocks, the name is taken, or the adapter does not fit
            or was attached before.
        UnknownPartError: If no adapter has that name.
    """
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"`name` is {name!r}, expected a word without a dot")
    known = encoder if isinstance(encoder, Adapted) else None
    if known is not None and name in known.adapters:
        raise ConfigError(
            f"an adapter named {name!r} is attached already; give the new one another name, "
            "gtl.adapters.attach(encoder, adapter, name=...), or detach first"
        )
    if not isinstance(encoder, nn.Module):
        raise ConfigError(f"`encoder` is a {type(encoder).__name__}, expected a module")
    sites = known.sites if known else sites_of(encoder, blocks, example)
    parts = _built(adapter, sites, known.base if known else encoder)
    if known is None:
        if isinstance(encoder, Encoder):
            known = AdaptedEncoder(encoder, sites)
        else:
            known = AdaptedModule(encoder, sites)
    known.adapters[name] = nn.ModuleList(parts)
    return known.set_adapter(name).train(known.training)


@contextmanager
def attached(encoder: nn.Module, adapter: Any, name: str = DEFAULT) -> Iterator[Any]:
    """The result of :func:`attach`; the adapter is removed again if the block fails."""
    before = encoder.active_adapter if isinstance(encoder, Adapted) else None
    adapted = attach(encoder, adapter, name)
    try:
        yield adapted
    except BaseException:
        del adapted.adapters[name]
        adapted.set_adapter(before)
        if not adapted.adapters:
            detach(adapted)
        raise


@overload
def detach(encoder: AdaptedEncoder) -> Encoder: ...


@overload
def detach(encoder: Adapted) -> nn.Module: ...


def detach(encoder: Adapted) -> nn.Module:
    """Remove all adapters: returns the encoder as it was before, bit for bit, and unfrozen.

    Where it was attached to several times, it stays frozen until all of those are detached or
    deleted.

    Raises:
        ConfigError: If nothing is attached.
    """
    return _adapted(encoder).release_base()


@overload
def merge(encoder: AdaptedEncoder) -> Encoder: ...


@overload
def merge(encoder: Adapted) -> nn.Module: ...


def merge(encoder: Adapted) -> nn.Module:
    """Write the active adapter into the weights of the encoder and remove all adapters.

    Returns:
        The encoder, its weights changed: it computes what it did with the adapter.

    Raises:
        ConfigError: If nothing is attached, an adapter is not linear, or it changes a matrix that
            several layers share; nothing has changed then.
    """
    parts = _adapted(encoder).parts()
    for part in parts:
        if not part.mergeable:
            part.merge(encoder.sites)  # raises the error that gives the reason
    with torch.no_grad(), _shared_parameters_unchanged(encoder):
        for part in parts:
            part.merge(encoder.sites)
    return encoder.release_base()


@contextmanager
def _shared_parameters_unchanged(encoder: Adapted) -> Iterator[None]:
    """Undo and refuse a merge into parameters that several modules or blocks share.

    With the adapter attached, each of them has a change of its own, or none if it is outside of the
    blocks. One parameter cannot be several: all changes would be summed up in it.
    """
    shared = _shared_parameters(encoder)
    parameters = list(encoder.base.parameters()) if shared else []
    before = [parameter.detach().clone() for parameter in parameters]
    yield
    changed = {id(p) for p, old in zip(parameters, before) if not torch.equal(p, old)}
    for key, names in shared.items():
        if key in changed:
            for parameter, old in zip(parameters, before):
                parameter.copy_(old)
            raise ConfigError(
                f"{' and '.join(names)} are one parameter, and the adapter changes it for each "
                "layer by itself, so it cannot be merged; keep it attached, or give each layer a "
                "parameter of its own before you attach and train it"
            )


def _shared_parameters(encoder: Adapted) -> dict[int, list[str]]:
    """Names of the parameters that have several owners, or one owner in several places, by id.

    A module that is used several times inside one block is none: its change is the same each time.
    """
    names: dict[int, list[str]] = defaultdict(list)
    places: dict[int, set[tuple[int, str | None]]] = defaultdict(set)
    blocks = [site.path for site in encoder.sites.blocks]
    for path, module in encoder.base.named_modules(remove_duplicate=False):
        block = next((b for b in blocks if f"{path}.".startswith(f"{b}.")), None)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                names[id(parameter)].append(f"{path}.{name}")
                places[id(parameter)].add((id(module), block))
    return {key: names[key] for key, where in places.items() if len(where) > 1}


def adapter_state(encoder: Adapted) -> dict[str, Tensor]:
    """Copies of all tensors of the active adapter, by name: all that must be stored or sent.

    Raises:
        ConfigError: If nothing is attached.
    """
    return {name: value.detach().clone() for name, value in _state(encoder).items()}


def load_adapter_state(encoder: Adapted, state: Mapping[str, Tensor]) -> None:
    """Copy the tensors of another adapter of the same kind into the active one, all or none.

    Raises:
        ConfigError: If nothing is attached.
        ShapeError: If a tensor is missing, unknown or of another shape.
    """
    mine = _state(encoder)
    for key in {**mine, **state}:
        if key not in mine or key not in state:
            where = "the state has no" if key in mine else "the adapter has no"
            raise ShapeError(f"{where} {key!r}; it is the state of another kind of adapter")
        if mine[key].shape != state[key].shape:
            raise ShapeError(
                f"{key!r} has shape {tuple(state[key].shape)}, expected {tuple(mine[key].shape)}; "
                "use an adapter with the same options on an encoder of the same widths"
            )
    with torch.no_grad():
        for key, value in mine.items():
            value.copy_(state[key])


def save_adapter(encoder: Adapted, path: Path | str) -> None:
    """Write the active adapter, and nothing of the encoder, to a ``.safetensors`` file.

    Missing folders are made.

    Raises:
        ConfigError: If nothing is attached.
    """
    state = adapter_state(encoder)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    parts = [ADAPTERS.spec(part) for part in encoder.parts()]
    contents = {"kind": _KIND, "adapter": parts, "encoder": _class_of(encoder), "state": state}
    checkpoint.save(Path(path), contents)


def load_adapter(encoder: nn.Module, path: Path | str, name: str = DEFAULT) -> Any:
    """Attach an adapter from a file that :func:`save_adapter` wrote.

    Args:
        encoder: As for :func:`attach`: of the same class and options as the one that the adapter
            was trained on.
        path: The file.
        name: Name of the adapter.

    Raises:
        CheckpointError: If the file is no adapter, or of an encoder of another class.
        ConfigError: As :func:`attach` does.
        ShapeError: If it was trained on an encoder of other widths.
    """
    saved = read_adapter(path)
    trained_on = saved.get("encoder")  # files of earlier versions do not say
    if trained_on not in (None, _class_of(encoder)):
        raise CheckpointError(
            f"{path} was trained on an encoder of the class {trained_on}, this one is a "
            f"{_class_of(encoder)}; load it on the encoder that it was trained on"
        )
    with attached(encoder, saved["adapter"], name) as adapted:
        load_adapter_state(adapted, saved["state"])
    return adapted


def read_adapter(path: Path | str) -> dict[str, Any]:
    """The contents of a file of :func:`save_adapter`: ``adapter``, how to build it, and ``state``.

    ``encoder`` is the name of the class of the encoder that it was trained on.

    Raises:
        CheckpointError: If the file is no adapter.
    """
    saved = checkpoint.load(Path(path))
    if saved.get("kind") != _KIND:
        raise CheckpointError(f"{path} is no adapter; save one with gtl.adapters.save_adapter")
    return saved


def specs_of(encoder: Adapted) -> dict[str, list[dict[str, Any]]]:
    """Names and options by which :func:`attach` makes the adapters again, by adapter name.

    The active ones come last: attached in this order, they are the active ones again.
    """
    names = sorted(encoder.adapters, key=lambda name: name == encoder.active_adapter)
    return {name: [ADAPTERS.spec(part) for part in encoder.named(name)] for name in names}


def _built(adapter: Any, sites: Sites, base: nn.Module) -> list[Adapter]:
    several = isinstance(adapter, Iterable) and not isinstance(adapter, (str, Mapping))
    parts = [ADAPTERS.build(part) for part in (adapter if several else [adapter])]
    modules = dict(base.named_modules())
    like = next((p for p in base.parameters() if p.is_floating_point()), torch.empty(0))
    for part in parts:
        if not isinstance(part, Adapter):
            raise ConfigError(
                f"`adapter` is a {type(part).__name__}, expected a name, a mapping, a "
                "gtl.roles.Adapter or a list of those"
            )
        if part in _attached:
            raise ConfigError(
                f"this {type(part).__name__} instance was attached before, and its trained "
                "parameters would be replaced; give a new one, or its name"
            )
        part.setup(sites)
        part.to(like)
        _attached.add(part)
        for path in part.wraps():
            if path not in modules:
                raise ConfigError(
                    f"a {type(part).__name__} adapter wraps {path!r}, the encoder has no such "
                    "module"
                )
    _require_one_output(parts)
    return parts


def _require_one_output(parts: Sequence[Adapter]) -> None:
    """Refuse an adapter that replaces the output beside another one that changes it."""
    ends = [part for part in parts if type(part).output is not Adapter.output]
    if len(ends) > 1 and any(part.width is not None for part in ends):
        names = " and ".join(ADAPTERS.name_of(part) for part in ends)
        raise ConfigError(
            f"one of the adapters {names} gives an output of its own columns in the place of the "
            "encoder's, on which the other does not act; give one of them, or residual=True for "
            "each"
        )


def _class_of(encoder: nn.Module) -> str:
    return type(encoder.base if isinstance(encoder, Adapted) else encoder).__name__


def _adapted(encoder: Any) -> Adapted:
    if not isinstance(encoder, Adapted):
        raise ConfigError(
            f"a {type(encoder).__name__} has no adapters; attach one: gtl.adapters.attach(...)"
        )
    return encoder


def _state(encoder: Adapted) -> dict[str, Tensor]:
    name = _adapted(encoder).active_adapter
    if name is None:
        raise ConfigError("no adapter is active; choose one: encoder.set_adapter(name)")
    return encoder.adapters[name].state_dict()
