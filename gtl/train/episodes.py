"""Episodic fine-tuning: without it, few labels would train a head that remembers them.

FiT (Shysheya et al. 2023): the encoder is frozen but for an adapter (FiLM). In each episode a head
with a closed form is fitted to one half of the labels and judged on the other, so what is trained
is how well a few samples tell classes apart. In the end the head is fitted to all labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from gtl.adapters import Adapted, attach
from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, GtlError
from gtl.heads.closed_form import ClosedForm
from gtl.registry import HEADS
from gtl.train import loop
from gtl.train.evaluate import evaluate
from gtl.train.model import Model, build_target
from gtl.train.parts import as_dataset, as_encoder, check_positive
from gtl.train.seed import reseed, seeded

LEAST_WAY, MOST_WAY = 5, 100
CENTERS = "classes.centers"  # trained where a head is not fitted; here it always is


def finetune_by_episodes(
    encoder: Any,
    dataset: Dataset,
    *,
    head: Any = "gaussian",
    adapter: Any = "film",
    readout: Any = "mean",
    episodes: int = 400,
    lr: float = 3.5e-3,
    support: int = 100,
    queries: int = 2000,
    items: Tensor | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Model:
    """Train an adapter and a head's few numbers on episodes, then fit the head to all labels.

    An episode draws at least 5 classes (all, if there are fewer) and at most 100, ``support``
    samples in all to fit the head to, at least one of each class, and up to ``queries`` others to
    judge it. Half of each class can be drawn for the one, half for the other; the odd one supports.
    A class with one sample is never asked about. Where every class has one, nothing is trained.

    At node level the whole graph is encoded once an episode, at graph level the drawn graphs are.

    Args:
        encoder: As for :func:`gtl.finetune`; an instance is frozen and adapted in place.
        dataset: Labeled data with one class an item.
        head: A head with a closed form: ``"prototype"``, ``"gaussian"`` (LDA), or
            ``{"name": "gaussian", "kind": "qda"}``; instances cannot be used.
        adapter: What may move in the encoder; ``None`` leaves all of it free.
        readout: Node vectors to graph vectors, for graph-level data.
        episodes: Steps; 0 fits the head to features of the encoder as it is.
        lr: Learning rate (Adam).
        support: Samples that a head is fitted to in an episode.
        queries: Samples that are asked in an episode, at most.
        items: Labeled items to learn from, int64 ``(k,)``; the training split by default.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.

    Returns:
        The fitted model. ``results`` holds the metric on validation and test data, where those
        splits are, and the footprint; ``history`` the loss of each episode.

    Raises:
        GtlError: On any unusable argument.
    """
    check_positive(lr=lr, support=support, queries=queries)
    if episodes < 0:
        raise ConfigError(f"`episodes` is {episodes}, expected 0 or more")
    dataset = as_dataset(dataset)
    items = _labeled(dataset, items)
    with seeded(seed) as rng:
        model = _model(encoder, dataset, head, adapter, readout, rng)
        model.to(device or loop.module_device(model))
        halves = _halves(dataset, items, rng)
        source = _Features(model, dataset)
        drawer = _Drawer(halves, dataset.num_outputs, support, queries, rng)
        model.train()  # an adapted encoder stays in eval mode but for its adapter
        if drawer.asked:
            model.history = _train(model, source, drawer, episodes, lr)
        model.eval()
        with torch.no_grad():
            labels = _labels(dataset, items).to(loop.module_device(model))
            _head(model).fit(source(items), labels)
    model.results = {
        "metric": dataset.metric,
        **{part: _value(model, dataset, part) for part in ("valid", "test")},
        "seed": seed,
        "footprint": loop.footprint(model, 0.0),
    }
    return model


class _Features:
    """Vectors of items: the frozen encoder, its adapter, and the readout."""

    def __init__(self, model: Model, data: Dataset):
        self.model, self.data = model, data

    def __call__(self, items: Tensor) -> Tensor:
        graph = self.data.batch(items, loop.module_device(self.model))
        return self.model.embed(graph)


class _Drawer:
    """Draws episodes: items of the support, items that are asked, and their classes."""

    def __init__(
        self,
        halves: tuple[Mapping[int, Tensor], Mapping[int, Tensor]],
        classes: int,
        support: int,
        queries: int,
        rng: torch.Generator,
    ):
        self.known, self.asked = halves
        self.support, self.queries, self.rng = support, queries, rng

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Support items, their classes from 0 on, queries, theirs; classes are renumbered."""
        most = min(len(self.known), MOST_WAY)
        least = min(LEAST_WAY, most)
        way = int(torch.randint(least, most + 1, (), generator=self.rng))
        numbers = self._classes(way)
        shots, asked = max(round(self.support / way), 1), max(self.queries // way, 1)
        parts: list[list[Tensor]] = [[], [], [], []]
        for place, number in enumerate(numbers):
            for first, pool, size in ((0, self.known, shots), (2, self.asked, asked)):
                own = pool.get(number, torch.empty(0, dtype=torch.int64))
                own = own[torch.randperm(len(own), generator=self.rng)][:size]
                parts[first].append(own)
                parts[first + 1].append(torch.full((len(own),), place))
        support, labels, queries, truth = (torch.cat(part) for part in parts)
        return support, labels, queries, truth

    def _classes(self, way: int) -> list[int]:
        """Classes of an episode, one or more of which can be asked about."""
        every = list(self.known)
        order = torch.randperm(len(every), generator=self.rng)
        numbers = [every[i] for i in order.tolist()]
        first = next(i for i, number in enumerate(numbers) if number in self.asked)
        return [numbers[first], *numbers[:first], *numbers[first + 1 :]][:way]


def _train(
    model: Model, source: _Features, drawer: _Drawer, episodes: int, lr: float
) -> list[dict[str, Any]]:
    head = _head(model)
    trained = [p for n, p in model.named_parameters() if p.requires_grad and CENTERS not in n]
    if not trained or not episodes:
        return []
    optimizer = torch.optim.Adam(trained, lr=lr)
    history = []
    for number in tqdm(range(episodes), "episodes", unit="episode", disable=None, leave=False):
        support, labels, queries, truth = drawer.draw()
        features = source(torch.cat([support, queries]))
        known, asked = features.split([len(support), len(queries)])
        small = _like(head, int(labels.max()) + 1).fit(known, labels.to(features.device))
        loss = cross_entropy(small(asked), truth.to(features.device))
        if not torch.isfinite(loss):
            raise GtlError(f"the loss is {float(loss)} in episode {number}; lower `lr`")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        history.append({"epoch": number, "losses": {"supervised": float(loss.detach())}})
    return history


def _like(head: ClosedForm, classes: int) -> ClosedForm:
    """A head of other classes with the same trained numbers, not copies of them."""
    small = HEADS.build(HEADS.spec(head), head.classes.centers.shape[1], classes)
    small.to(head.classes.centers)
    for name, parameter in head.named_parameters():
        if name != CENTERS:
            path, _, last = name.rpartition(".")
            setattr(small.get_submodule(path), last, parameter)
    return small


def _model(
    encoder: Any, data: Dataset, head: Any, adapter: Any, readout: Any, rng: torch.Generator
) -> Model:
    built, _ = as_encoder(encoder, data.schema)
    reseed(rng)
    if adapter is not None:
        built = attach(built, adapter)
    shape = {"kind": "multiclass", "outputs": data.num_outputs, "level": data.level}
    if isinstance(head, nn.Module):
        raise ConfigError("`head` is an instance; give a name or a mapping: episodes need others")
    target = build_target(built, shape, head, readout)
    model = Model(built, target, data.level)
    if not isinstance(_head(model), ClosedForm):
        raise ConfigError(
            f"the head {HEADS.name_of(_head(model))!r} has no closed form to be fitted by; take "
            "'prototype' or 'gaussian'"
        )
    target.setup(data.schema, built.width)
    return model


def _head(model: Model) -> Any:
    return model.predictor.head


def _labeled(data: Dataset, items: Tensor | None) -> Tensor:
    if data.labels is None or data.kind != "multiclass" or data.level == "edge":
        raise DataError(
            f"{data.spec} has no classes of nodes or graphs; episodes need one class an item"
        )
    items = data.items("train") if items is None else items
    known = items[data.labels[items] >= 0]
    missing = set(range(data.num_outputs)) - set(data.labels[known].tolist())
    if missing:
        raise DataError(
            f"no labeled item of class {min(missing)} to learn from ({len(missing)} of "
            f"{data.num_outputs} classes); give each class one or more"
        )
    return known


def _labels(data: Dataset, items: Tensor) -> Tensor:
    assert data.labels is not None
    return data.labels[items]


def _halves(
    data: Dataset, items: Tensor, rng: torch.Generator
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Items of each class to fit to and to ask about; classes with one are not asked about."""
    labels = _labels(data, items)
    known, asked = {}, {}
    for number in labels.unique().tolist():
        own = items[labels == number]
        own = own[torch.randperm(len(own), generator=rng)]
        half = (len(own) + 1) // 2
        known[number] = own[:half]
        if half < len(own):
            asked[number] = own[half:]
    return known, asked


def _value(model: Model, data: Dataset, part: str) -> float | None:
    if not len(data.split.get(part, ())):
        return None
    return evaluate(model, data, part)[data.metric]


def update_bytes(model: Model) -> dict[str, int]:
    """What must be stored or sent beside the shared encoder, in bytes.

    Returns:
        ``adapter``: its tensors; ``head``: numbers that the head was trained to, and its
        statistics of classes, which can be made again from the labeled items.
    """
    adapter = model.encoder.adapters if isinstance(model.encoder, Adapted) else nn.Module()
    return {"adapter": _bytes(adapter), "head": _bytes(_head(model))}


def _bytes(module: nn.Module) -> int:
    kept = {n: t for n, t in module.state_dict().items() if not n.endswith(CENTERS)}
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
