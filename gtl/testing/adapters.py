"""The laws of adapters: the frozen encoder stays as it is, and the adapter alone is trained."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from gtl import adapters
from gtl.adapters import AdaptedEncoder
from gtl.encoders import GCN, GIN, HGT
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Adapter, Encoder
from gtl.testing.encoders import (
    EncoderTrial,
    a_batch_equals_its_graphs_one_by_one,
    nodes_without_edges_are_welcome,
    one_layer_per_block,
    one_vector_per_node,
    renumbering_nodes_renumbers_rows,
    the_graph_stays_as_it_was,
)
from gtl.testing.examples import MOLECULES, POINTS, TYPED, Example
from gtl.testing.laws import (
    copied,
    generator,
    loosened,
    obey,
    require,
    require_close,
    require_finite,
    require_true_derivatives,
    same,
    values_at,
)


def _encoders() -> list[Encoder]:
    """Small encoders that differ in their sites."""
    return [
        GIN(MOLECULES, width=6, depth=2, dropout=0.3),
        GCN(POINTS, width=4, depth=2, norm="layer", jk="concat", residual=True),
        HGT(TYPED, width=4, depth=2, heads=2),
    ]


def check_adapter(
    adapter: Callable[[], Adapter],
    encoders: Sequence[Encoder] | None = None,
    skip: Collection[str] = (),
) -> None:
    """Check that an adapter obeys the laws of its role.

    Args:
        adapter: The class, or a function that makes an adapter that was never attached.
        encoders: Encoders to try it on, copied, never changed; by default a GIN with batch norm
            and dropout, a GCN with layer norm and all layers in its output, and an HGT.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        known = _encoders() if encoders is None else encoders
    for encoder in known:
        obey(adapter, AdapterTrial(adapter, encoder), ADAPTER_LAWS, skip)


@dataclass(frozen=True)
class AdapterTrial:
    """A way to make adapters, and an encoder; every law starts from an untouched copy of it."""

    build: Callable[[], Adapter] = field(repr=False)
    encoder: Encoder = field(repr=False)

    def __str__(self) -> str:
        return f"{type(self.encoder).__name__}"

    def base(self) -> Encoder:
        """The encoder in float64; its batch norms have seen graphs."""
        torch.manual_seed(6)  # dropout decides what batch norms see
        base = copy.deepcopy(self.encoder).double().train()
        loosened(base)
        base(self.graph())
        return base

    def adapted(self, base: Encoder | None = None) -> AdaptedEncoder:
        """An encoder with a fresh adapter."""
        torch.manual_seed(7)
        return adapters.attach(self.base() if base is None else base, self.build())

    def trained(self, base: Encoder | None = None) -> AdaptedEncoder:
        """An encoder with an adapter whose parameters were changed."""
        adapted = self.adapted(base)
        loosened(adapted.adapters)
        return adapted

    def graph(self, sizes: Sequence[int] = (5, 0, 7, 1)) -> Graph:
        """A batch of graphs, float64."""
        return Example(self.encoder.schema).graph(sizes).replace(y=None).to(dtype=torch.float64)


# -- laws ----------------------------------------------------------------------------------------


def untrained_it_changes_nothing(trial: AdapterTrial) -> None:
    """A new adapter gives the frozen encoder's output exactly, in train mode too."""
    base, graph = trial.base().eval(), trial.graph()
    before = base(graph)
    for mode in (False, True):
        adapted = trial.adapted(copy.deepcopy(base)).train(mode)
        after = adapted(graph)
        require(
            after.shape == before.shape,
            f"shape {tuple(after.shape)}",
            f"that of the encoder, {tuple(before.shape)}",
        )
        off = float((after - before).detach().abs().max())
        require(same(after, before), f"vectors that are off by {off:.2g}", "the encoder's")


def the_adapter_alone_may_move(trial: AdapterTrial) -> None:
    """Every parameter of the adapter requires a gradient, and none of the encoder does."""
    adapted = trial.adapted()
    free = [name for name, p in adapted.named_parameters() if p.requires_grad]
    mine = [f"adapters.{name}" for name, _ in adapted.adapters.named_parameters()]
    require(bool(mine), "no parameters", "at least one")
    require(free == mine, f"trainable {free}", f"{mine}")


def training_leaves_the_encoder_alone(trial: AdapterTrial) -> None:
    """Steps in train mode change no parameter, buffer or attribute of the encoder."""
    base = trial.base()
    before = copied(base.state_dict())
    adapted = trial.adapted(base)
    attributes = {name: set(vars(module)) for name, module in base.named_modules()}
    _train(adapted, trial.graph())
    require(same(before, base.state_dict()), "a changed encoder", "no change, buffers included")
    for name, module in base.named_modules():
        more = set(vars(module)) ^ attributes[name]
        require(not more, f"{sorted(more)} on `{name}` after a forward pass", "nothing left behind")


def detaching_gives_the_encoder_back(trial: AdapterTrial) -> None:
    """After training and detaching, outputs, state, mode and gradients are exactly as before."""
    base, graph = trial.base(), trial.graph()
    next(base.parameters()).requires_grad_(False)
    before, free = copied(base.state_dict()), [p.requires_grad for p in base.parameters()]
    expected = copy.deepcopy(base).eval()(graph)
    adapted = trial.adapted(base)
    _train(adapted, graph)
    back = adapters.detach(adapted)
    require(back is base, "another object", "the encoder itself")
    require(same(before, back.state_dict()), "a changed state", "the same, bit for bit")
    require(back.training, "an encoder in eval mode", "the mode it was in")
    came = [p.requires_grad for p in back.parameters()]
    require(came == free, "other parameters that require gradients", "what they were before")
    require(same(back.eval()(graph), expected), "other vectors", "the encoder's")


def it_learns(trial: AdapterTrial) -> None:
    """Ten steps of training bring the output closer to other vectors."""
    losses = _train(trial.adapted(), trial.graph(), steps=10)
    require(
        losses[-1] < losses[0],
        f"a loss of {losses[0]:.4g} before and {losses[-1]:.4g} after ten steps",
        "less after than before",
    )


def gradients_reach_every_parameter(trial: AdapterTrial) -> None:
    """With changed parameters, every parameter of the adapter gets a finite gradient."""
    adapted, graph = trial.trained(), trial.graph()
    rng = generator(1)
    weight = torch.randn(adapted.width, generator=rng, dtype=torch.float64)
    (adapted(graph) @ weight).sin().sum().backward()
    for name, tensor in adapted.adapters.named_parameters():
        require(tensor.grad is not None, f"no gradient at `{name}`", "one at every parameter")
        assert tensor.grad is not None
        require_finite(f"the gradient of `{name}`", tensor.grad)


def derivatives_are_true(trial: AdapterTrial) -> None:
    """First and second derivatives by the adapter's parameters agree with differences."""
    adapted, graph = trial.trained(), trial.graph((5, 1, 3))
    weight = torch.randn(adapted.width, generator=generator(1), dtype=torch.float64)

    def value(point: dict[str, Tensor]) -> Tensor:
        return torch.sin(values_at(adapted, point, graph) @ weight).sum()

    point = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    require_true_derivatives(value, point)


def its_state_is_all_that_it_knows(trial: AdapterTrial) -> None:
    """A new adapter with the state or the file of another gives the same vectors."""
    adapted, graph = trial.trained(), trial.graph()
    _train(adapted, graph)
    expected = adapted.eval()(graph)
    fresh = trial.adapted()
    adapters.load_adapter_state(fresh, adapters.adapter_state(adapted))
    require(same(fresh.eval()(graph), expected), "other vectors after loading", "the same")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        adapters.save_adapter(adapted, path)
        fresh = adapters.attach(trial.base(), trial.build())
        adapters.load_adapter_state(fresh, adapters.read_adapter(path)["state"])
    require(same(fresh.eval()(graph), expected), "other vectors from the file", "the same")


def it_is_repeatable(trial: AdapterTrial) -> None:
    """The same seed makes the same adapter, and in eval mode the same graph the same vectors."""
    one, two, graph = trial.adapted(), trial.adapted(), trial.graph()
    same_state = same(adapters.adapter_state(one), adapters.adapter_state(two))
    require(same_state, "two states from one seed", "one")
    adapted = trial.trained().eval()
    before = copied(adapted.state_dict())
    first = adapted(graph)
    torch.manual_seed(99)
    require(same(first, adapted(graph)), "two results in eval mode", "one")
    require(same(before, adapted.state_dict()), "the state changed in eval mode", "no change")


def merging_keeps_every_answer(trial: AdapterTrial) -> None:
    """The merged encoder gives the same vectors; what is not mergeable is refused, unchanged."""
    base, graph = trial.base(), trial.graph()
    before = copied(base.state_dict())
    adapted = trial.trained(base)
    expected = adapted.eval()(graph)
    if all(part.mergeable for part in adapted.parts()):
        merged = adapters.merge(adapted)
        require(merged is base, "another object", "the encoder itself")
        require_close("a merged encoder's vector", merged.eval()(graph), expected)
        return
    refused = False
    try:
        adapters.merge(adapted)
    except ConfigError:
        refused = True
    require(refused, "a merge, although `mergeable` is false", "a ConfigError")
    require(same(before, base.state_dict()), "a changed encoder", "no change")


def adapted_it_is_an_encoder(trial: AdapterTrial) -> None:
    """With the adapter attached, the encoder obeys the laws of encoders."""
    adapted = trial.trained()
    for law in _OF_ENCODERS:
        law(EncoderTrial(adapted, adapted.schema))


def a_copy_is_a_copy(trial: AdapterTrial) -> None:
    """A deep copy gives the same vectors, and training it does not change the original."""
    adapted, graph = trial.trained(), trial.graph()
    expected, other = adapted.eval()(graph), copy.deepcopy(adapted)
    require(same(other(graph), expected), "other vectors of the copy", "the same")
    _train(other, graph)
    require(same(adapted.eval()(graph), expected), "a changed original", "no change")


_OF_ENCODERS = (
    one_vector_per_node,
    one_layer_per_block,
    renumbering_nodes_renumbers_rows,
    a_batch_equals_its_graphs_one_by_one,
    nodes_without_edges_are_welcome,
    the_graph_stays_as_it_was,
)
ADAPTER_LAWS = (
    untrained_it_changes_nothing,
    the_adapter_alone_may_move,
    training_leaves_the_encoder_alone,
    detaching_gives_the_encoder_back,
    it_learns,
    gradients_reach_every_parameter,
    derivatives_are_true,
    its_state_is_all_that_it_knows,
    it_is_repeatable,
    merging_keeps_every_answer,
    adapted_it_is_an_encoder,
    a_copy_is_a_copy,
)


def _train(adapted: AdaptedEncoder, graph: Graph, steps: int = 3) -> list[float]:
    """Bring the output closer to random vectors; returns the losses before each step and after."""
    adapted.train()
    goal = torch.randn(graph.num_nodes, adapted.width, generator=generator(4), dtype=torch.float64)
    moving = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(moving, lr=0.01)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(adapted(graph), goal)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses.append(float(nn.functional.mse_loss(adapted(graph), goal)))
    return losses
