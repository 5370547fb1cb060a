"""Where an encoder can be taken hold of: without it, adapters would be written for each encoder.

One forward pass over a graph of two nodes shows how many columns go in and out of every part, so an
encoder need not tell, and neither need one from another library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Anatomy, Encoder, Place


def anatomy_of(
    encoder: nn.Module, blocks: Sequence[str] | None, example: Sequence[Any] | None
) -> Anatomy:
    """The places of an encoder, with their widths.

    Args:
        encoder: An :class:`gtl.roles.Encoder`, or any module.
        blocks: Names of the modules that are its layers, in order; by default the blocks of an
            encoder and, elsewhere, every convolution (a class ``...Conv``).
        example: Inputs of one call; by default, for an encoder, a graph of two nodes.

    Raises:
        ConfigError: If there are no layers to be found, or no way to see their widths.
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
    inside = [name for names in norms for name in names]
    inputs = _specimen(encoder) if example is None else tuple(example)
    seen, width = _widths(encoder, modules, [*entry, *paths, *inside], inputs)

    def place(path: str) -> Place:
        return Place(path, modules[path], *seen[path])

    missed = [path for path in (*entry, *paths) if path not in seen]
    if missed:
        raise ConfigError(
            f"the encoder does not use {', '.join(missed)} or gets no node vectors from it; name "
            "other `blocks`"
        )
    return Anatomy(
        place("embed") if entry else None,
        tuple(place(path) for path in paths),
        tuple(tuple(place(name) for name in names if name in seen) for names in norms),
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
    """Everything in eval mode, and afterwards each part in the mode that it was in."""
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


def _widths(
    encoder: nn.Module, modules: dict[str, nn.Module], paths: Sequence[str], inputs: Sequence[Any]
) -> tuple[dict[str, tuple[int, int]], int]:
    seen: dict[str, tuple[int, int]] = {}

    def note(path: str, module: nn.Module, given: tuple, out: Any) -> None:
        if isinstance(out, Tensor):
            vectors = vectors_of(given)
            seen[path] = (0 if vectors is None else vectors.shape[-1], out.shape[-1])

    handles = [modules[path].register_forward_hook(partial(note, path)) for path in paths]
    try:
        with in_eval_mode(encoder), torch.no_grad(), torch.random.fork_rng(devices=[]):
            out = encoder(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen, int(out.shape[-1]) if isinstance(out, Tensor) else 0


def _specimen(encoder: nn.Module) -> tuple[Any, ...]:
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
