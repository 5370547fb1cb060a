"""Attaching and detaching: the frozen encoder stays what it was, the adapter is all that is new.

Adapters beside frozen layers are those of Rebuffi et al. 2017 ("Learning multiple visual domains
with residual adapters") and Houlsby et al. 2019 ("Parameter-efficient transfer learning for NLP").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from gtl import checkpoint
from gtl.adapters.adapted import Adapted, AdaptedEncoder, AdaptedModule
from gtl.adapters.sites import anatomy_of
from gtl.catalog import ADAPTERS
from gtl.errors import CheckpointError, ConfigError, ShapeError
from gtl.roles import Adapter, Anatomy, Encoder

DEFAULT = "default"
_attached: WeakSet[Adapter] = WeakSet()
_KIND = "gtl adapter"


def attach(
    encoder: nn.Module,
    adapter: Any,
    name: str = DEFAULT,
    *,
    blocks: Sequence[str] | None = None,
    example: Sequence[Any] | None = None,
) -> Any:
    """Freeze an encoder and put an adapter on it.

    Args:
        encoder: An encoder, or one that has adapters already: the new one gets a name of its own
            and is in use from now on. Any other module, such as a stack of DGL's or PyG's layers,
            needs an ``example`` too.
        adapter: Name, mapping with options, instance, or a list of those: the first acts next to
            the encoder's own layers, each other one around those before it. An empty list freezes
            the encoder and adds nothing.
        name: What to call it; see :meth:`gtl.adapters.Adapted.use`.
        blocks: Names of the modules that are layers; by default the blocks of an encoder and,
            elsewhere, every module of a class ``...Conv``.
        example: The inputs of one call, by which the widths of layers are told. An encoder does
            without.

    Returns:
        An :class:`gtl.roles.Encoder` around an encoder, and a module that is called as before
        around any other. The encoder itself is frozen in place, and nothing else of it changes.

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
    anatomy = known.anatomy if known else anatomy_of(encoder, blocks, example)
    parts = _built(adapter, anatomy, known.base if known else encoder)
    if known is None:
        if isinstance(encoder, Encoder):
            known = AdaptedEncoder(encoder, anatomy)
        else:
            known = AdaptedModule(encoder, anatomy)
    known.adapters[name] = nn.ModuleList(parts)
    return known.use(name).train(known.training)


@contextmanager
def attached(encoder: nn.Module, adapter: Any, name: str = DEFAULT) -> Iterator[Any]:
    """What :func:`attach` returns; the adapter is taken off again if the block fails."""
    before = encoder.in_use if isinstance(encoder, Adapted) else None
    adapted = attach(encoder, adapter, name)
    try:
        yield adapted
    except BaseException:
        del adapted.adapters[name]
        adapted.use(before)
        if not adapted.adapters:
            detach(adapted)
        raise


def detach(encoder: Adapted) -> nn.Module:
    """Take all adapters off: the encoder as it was before, bit for bit, and free as before.

    Where it was attached to several times, it is free once all of those are detached or gone.

    Raises:
        ConfigError: If nothing is attached.
    """
    return _adapted(encoder).restored()


def merge(encoder: Adapted) -> nn.Module:
    """Write the adapter in use into the weights of the encoder and take all adapters off.

    Returns:
        The encoder, its weights changed: it answers as it did with the adapter.

    Raises:
        ConfigError: If nothing is attached, or an adapter is not linear; nothing has changed then.
    """
    parts = _adapted(encoder).parts()
    for part in parts:
        if not part.mergeable:
            part.merge(encoder.anatomy)  # says why not
    with torch.no_grad():
        for part in parts:
            part.merge(encoder.anatomy)
    return encoder.restored()


def adapter_state(encoder: Adapted) -> dict[str, Tensor]:
    """Copies of all tensors of the adapter in use, by name: all that must be stored or sent.

    Raises:
        ConfigError: If nothing is attached.
    """
    return {name: value.detach().clone() for name, value in _state(encoder).items()}


def load_adapter_state(encoder: Adapted, state: Mapping[str, Tensor]) -> None:
    """Give the adapter in use the tensors of another of its kind, all or none.

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
    """Write the adapter in use, and nothing of the encoder, to a ``.safetensors`` file.

    Folders that are missing are made.

    Raises:
        ConfigError: If nothing is attached.
    """
    state = adapter_state(encoder)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    parts = [ADAPTERS.spec(part) for part in encoder.parts()]
    checkpoint.save(Path(path), {"kind": _KIND, "adapter": parts, "state": state})


def load_adapter(encoder: nn.Module, path: Path | str, name: str = DEFAULT) -> Any:
    """Attach what :func:`save_adapter` wrote.

    Args:
        encoder: As for :func:`attach`: of the same build as the one that it was trained on.
        path: The file.
        name: What to call it.

    Raises:
        CheckpointError: If the file is no adapter.
        ConfigError: As :func:`attach` does.
        ShapeError: If it was trained on an encoder of another build.
    """
    saved = read_adapter(path)
    with attached(encoder, saved["adapter"], name) as adapted:
        load_adapter_state(adapted, saved["state"])
    return adapted


def read_adapter(path: Path | str) -> dict[str, Any]:
    """What :func:`save_adapter` wrote: ``adapter``, how to build it, and its ``state``.

    Raises:
        CheckpointError: If the file is no adapter.
    """
    saved = checkpoint.load(Path(path))
    if saved.get("kind") != _KIND:
        raise CheckpointError(f"{path} is no adapter; save one with gtl.adapters.save_adapter")
    return saved


def specs_of(encoder: Adapted) -> dict[str, list[dict[str, Any]]]:
    """What :func:`attach` needs to make the adapters again, by name; those in use come last."""
    names = sorted(encoder.adapters, key=lambda name: name == encoder.in_use)
    return {name: [ADAPTERS.spec(part) for part in encoder.named(name)] for name in names}


def _built(adapter: Any, anatomy: Anatomy, base: nn.Module) -> list[Adapter]:
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
                f"this {type(part).__name__} instance was attached before, and would lose what it "
                "learned; give a new one, or its name"
            )
        part.setup(anatomy)
        part.to(like)
        _attached.add(part)
        for path in part.wraps():
            if path not in modules:
                raise ConfigError(
                    f"a {type(part).__name__} adapter wraps {path!r}, the encoder has no such "
                    "module"
                )
    return parts


def _adapted(encoder: Any) -> Adapted:
    if not isinstance(encoder, Adapted):
        raise ConfigError(
            f"a {type(encoder).__name__} has no adapters; attach one: gtl.adapters.attach(...)"
        )
    return encoder


def _state(encoder: Adapted) -> dict[str, Tensor]:
    name = _adapted(encoder).in_use
    if name is None:
        raise ConfigError("no adapter is in use; say which: encoder.use(name)")
    return encoder.adapters[name].state_dict()
