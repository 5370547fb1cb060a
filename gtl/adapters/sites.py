"""The sites of an encoder: its embedding, blocks and normalizations, with their widths.

One forward pass over a graph of two nodes shows how many columns each of them reads and returns, so
that no encoder has to declare it, and adapters are written once for all encoders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.module_views import Call, wrapped
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Encoder, Site, Sites


def sites_of(
    encoder: nn.Module, blocks: Sequence[str] | None, example: Sequence[Any] | None
) -> Sites:
    """The sites of an encoder, with their widths.

    Args:
        encoder: An :class:`gtl.roles.Encoder`, or any module.
        blocks: Names of the modules that are its layers, in order; by default the blocks of an
            encoder and, of another module, every convolution (a class ``...Conv``).
        example: Inputs of one call; by default, for an encoder, a graph of two nodes.

    Raises:
        ConfigError: If no layers are found, several are one module, or their widths cannot be seen.
    """
    paths = _block_paths(encoder) if blocks is None else list(blocks)
    modules = dict(encoder.named_modules())
    for path in paths:
        if blocks is None and path not in modules:
            raise ConfigError(
                f"{path} is the same module as an earlier block; adapters need one for each layer"
            )
        if path not in modules:
            raise ConfigError(
                f"`blocks` names {path!r}, the encoder has no such module; it has: "
                f"{', '.join(name for name in modules if name)}"
            )
    if not paths:
        raise ConfigError(
            f"{type(encoder).__name__} has no blocks that an adapter could attach to; derive it "
            "from gtl.roles.Encoder, or name its layers: blocks=['conv1', 'conv2']"
        )
    entry = ["embed"] if isinstance(encoder, Encoder) else []
    norms = [[f"{path}.{name}" for name in _norms_in(modules[path])] for path in paths]
    _require_own_norms(norms, modules)
    inside = [name for names in norms for name in names]
    inputs = _two_node_input(encoder) if example is None else tuple(example)
    widths, width = _widths(encoder, [*entry, *paths, *inside], inputs)

    def site(path: str) -> Site:
        return Site(path, modules[path], *widths[path])

    missed = [path for path in (*entry, *paths) if path not in widths]
    if missed:
        raise ConfigError(
            f"the encoder does not use {', '.join(missed)} or gets no node vectors from it; name "
            "other `blocks`"
        )
    return Sites(
        site("embed") if entry else None,
        tuple(site(path) for path in paths),
        tuple(tuple(site(name) for name in names if name in widths) for names in norms),
        width,
        getattr(encoder, "schema", None) if isinstance(encoder, Encoder) else None,
    )


def vectors_of(inputs: Sequence[Any]) -> Tensor | None:
    """The node vectors among the inputs of a layer: the first floating tensor."""
    for value in inputs:
        if isinstance(value, (list, tuple)):  # a pair of senders and receivers, as in DGL
            value = value[-1] if value else None
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode of a module and all inside; afterwards each is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _block_paths(encoder: nn.Module) -> list[str]:
    if isinstance(encoder, Encoder):
        count = len(getattr(encoder, "blocks", ()))
        return [f"blocks.{i}" for i in range(count)]
    return _outermost(encoder, lambda part: type(part).__name__.endswith("Conv"))


def _norms_in(block: nn.Module) -> list[str]:
    return _outermost(block, lambda part: "Norm" in type(part).__name__)


def _outermost(module: nn.Module, is_wanted: Any) -> list[str]:
    """Names of the wanted modules inside, without those inside of other wanted ones."""
    found: list[str] = []
    for name, part in module.named_modules():
        within = any(name.startswith(f"{outer}.") for outer in found)
        if name and not within and is_wanted(part):
            found.append(name)
    return found


def _require_own_norms(norms: Sequence[Sequence[str]], modules: dict[str, nn.Module]) -> None:
    for path in (name for names in norms for name in names):
        if path not in modules:  # named_modules lists a shared module once, at its first place
            raise ConfigError(
                f"{path} is the same module as that of an earlier block; adapters need a "
                "normalization for each layer"
            )


def _widths(
    encoder: nn.Module, paths: Sequence[str], inputs: Sequence[Any]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Columns that each module reads and returns, by path, and those of the output.

    The encoder is called as an adapted one is: a module that it does not reach by its path is
    missing here, instead of being left out silently once an adapter wraps it.
    """
    widths: dict[str, tuple[int, int]] = {}

    def note(path: str, call: Call, *given: Any) -> Any:
        out: Any = call(*given)
        if isinstance(out, Tensor):
            vectors = vectors_of(given)
            widths[path] = (0 if vectors is None else vectors.shape[-1], out.shape[-1])
        return out

    with in_eval_mode(encoder), torch.no_grad(), torch.random.fork_rng(devices=[]):
        out = wrapped(encoder, {path: [partial(note, path)] for path in paths})(*inputs)
    return widths, int(out.shape[-1]) if isinstance(out, Tensor) else 0


def _two_node_input(encoder: nn.Module) -> tuple[Any, ...]:
    if not isinstance(encoder, Encoder):
        raise ConfigError(
            f"{type(encoder).__name__} is no gtl.roles.Encoder: give the inputs of one call, "
            "example=(graph, features), so that the widths of its layers can be seen"
        )
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    return (_two_nodes(encoder.schema).to(device),)


def _two_nodes(schema: Schema) -> Graph:
    """Two nodes joined both ways, all features and types 0."""
    types = torch.zeros(2, dtype=torch.int64)
    return Graph(
        src=torch.tensor([0, 1]),
        dst=torch.tensor([1, 0]),
        num_nodes=2,
        x=_zeros(schema.node),
        e=_zeros(schema.edge),
        node_type=types if schema.node_types else None,
        edge_type=types if schema.edge_types else None,
    )


def _zeros(columns: Columns | None) -> Tensor | None:
    if columns is None:
        return None
    integers = columns.categories is not None
    return torch.zeros(2, columns.width, dtype=torch.int64 if integers else None)
