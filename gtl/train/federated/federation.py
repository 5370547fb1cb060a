"""A federation: the model that everybody starts from, and what a client does with it.

All clients of one process share one model. A client writes what it received into it, trains,
and reads what it sends; nothing is left behind but what it keeps for itself by choice. What it
draws depends on the seed, the round and its number alone, so that rounds can be repeated, in
another process too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.catalog import WEIGHTINGS
from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.heads.class_statistics import ClassStatistics
from gtl.roles import Weighting
from gtl.train.device import module_device
from gtl.train.encoder_mode import EncoderMode
from gtl.train.evaluate import evaluate
from gtl.train.federated.division import Parts, labeled_items
from gtl.train.federated.plan import Plan
from gtl.train.federated.proximal import Proximal
from gtl.train.federated.statistics_head import class_numbers
from gtl.train.federated.travel import CENTERS, Codec, Layout, head_of, prepare, travelling
from gtl.train.job import Job
from gtl.train.labels import LabelNames
from gtl.train.loop import train_on_batches
from gtl.train.model import TARGET, Model
from gtl.train.seed import seeded
from gtl.train.settings import Settings
from gtl.train.step import TaskModel

STATISTICS = ("counts", "means", "scatter")
_CHUNK = 1024  # graphs at a time when statistics are measured


@dataclass
class Federation:
    """What server and clients have in common.

    Attributes:
        model: Encoder and target, as everybody starts; its parameters are those of the client that
            trains at the moment.
        parts: The data of each client.
        plan: Who takes part and what travels.
        settings: Of the training at a client; ``epochs`` are those of a round.
        labels: What the outputs stand for.
        layout: Of what travels.
        kept: Of what each client keeps for itself.
    """

    model: TaskModel
    parts: Parts
    plan: Plan
    settings: Settings
    labels: LabelNames
    layout: Layout = field(init=False)
    kept: Layout = field(init=False)

    def __post_init__(self) -> None:
        prepare(self.model, self.plan)
        names, own = travelling(self.model, self.plan)
        state = self.model.state_dict()
        self.layout = Layout.of({name: state[name] for name in names})
        self.kept = Layout.of({name: state[name] for name in own})
        self._start = {name: state[name].clone() for name in self._moving(state)}

    @property
    def codec(self) -> Codec:
        """How what travels is written."""
        return Codec(self.plan.compress, self.layout)

    @property
    def start(self) -> np.ndarray:
        """What travels first, ``(p,)``."""
        return self.layout.pack(self._start)

    @property
    def trains(self) -> bool:
        """Whether clients have parameters to train."""
        return any(parameter.requires_grad for parameter in self.model.parameters())

    def of_parts(self, parts: Parts, **changes: Any) -> Federation:
        """The same start with other data and another plan."""
        with self.at(self.start):
            return replace(self, parts=parts, plan=replace(self.plan, **changes))

    @contextmanager
    def at(
        self,
        vector: np.ndarray,
        own: np.ndarray | None = None,
        statistics: ClassStatistics | None = None,
    ) -> Iterator[Model]:
        """The model with what travelled and what a client keeps; as everybody starts elsewhere.

        Args:
            vector: What travelled, ``(p,)``.
            own: What the client keeps; its start by default.
            statistics: What a head with a closed form is fitted to; as it was by default.
        """
        state = dict(self._start)
        state |= self.layout.unpack(vector)
        state |= {} if own is None else self.kept.unpack(own)
        self.model.load_state_dict(state, strict=False)
        if statistics is not None:
            # A copy: what the head is given becomes its buffers, which are written to next time.
            given = [value.clone() for value in _fields(statistics)]
            head_of(self.model).use(ClassStatistics(*given))
        encoder, target = self.model.encoder, self.model.tasks[TARGET]
        yield Model(encoder, target, self.labels, self.settings.fan_out)  # type: ignore[arg-type]

    def _moving(self, state: Mapping[str, Tensor]) -> list[str]:
        """Names of all that a training may change: parameters that may move, and all buffers."""
        buffers = dict(self.model.named_buffers())
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        centers = {name for name in state if name.endswith(CENTERS)}
        return [name for name in state if name in trained | set(buffers) | centers]


@dataclass(frozen=True)
class Client:
    """What one client does.

    Attributes:
        federation: What it has in common with all.
        number: Which one it is.
        data: Its data.
    """

    federation: Federation
    number: int
    data: Dataset

    @staticmethod
    def of(federation: Federation, number: int) -> Client:
        """A client with its part of the data."""
        return Client(federation, number, federation.parts.datasets[number])

    def train(
        self,
        vector: np.ndarray,
        turn: int,
        mu: float = 0.0,
        own: np.ndarray | None = None,
        statistics: ClassStatistics | None = None,
    ) -> tuple[np.ndarray, np.ndarray, float | None]:
        """Train for the epochs of a round.

        Args:
            vector: The global parameters, ``(p,)``.
            turn: Number of the round, from 1 on.
            mu: Factor of the proximal term.
            own: What it kept of the round before.
            statistics: Of the global head, where it has a closed form.

        Returns:
            What it has now ``(p,)``, what it keeps, and its mean loss in the last epoch; ``None``
            where there is nothing to train, or nothing to train on.
        """
        shared, items = self.federation, labeled_items(self.data)
        with (
            shared.at(vector, own, statistics),
            seeded(seed_of(shared.plan.seed, turn, self.number)) as rng,
        ):
            model, loss = shared.model, None
            if len(items) and shared.trains:
                job = self._job(items, rng, mu)
                for epoch in range(shared.settings.epochs):
                    with job.mode.epoch(model, epoch):
                        loss = train_on_batches(job, epoch, None)["losses"][TARGET]
            state = model.state_dict()
            return shared.layout.pack(state), shared.kept.pack(state), loss

    def value(
        self,
        vector: np.ndarray,
        part: str,
        own: np.ndarray | None = None,
        statistics: ClassStatistics | None = None,
    ) -> tuple[float | None, int]:
        """The metric on a part of its data, and its number of items; ``None`` if undefined."""
        items = len(self.data.split.get(part, ()))
        if not items or self.data.labels is None:
            return None, 0
        with self.federation.at(vector, own, statistics) as model:
            try:
                found = float(evaluate(model, self.data, part)[self.data.metric])
            except DataError:  # of one class alone, say; `results_of` counts such clients
                return None, 0
        return found, items

    def measure(self, vector: np.ndarray) -> ClassStatistics:
        """Statistics of the classes of its training items, with the global parameters."""
        items, data = labeled_items(self.data), self.data
        with self.federation.at(vector) as model, torch.no_grad():
            head, device = head_of(self.federation.model), module_device(model)
            model.eval()
            total = ClassStatistics(*(torch.zeros_like(x) for x in _fields(head.statistics)))
            for chunk in items.split(len(items) if data.graph is not None else _CHUNK):
                if len(chunk):
                    graph = data.batch(chunk, device)
                    assert graph.y is not None
                    total = total + head.measure(model.embed(graph), class_numbers(graph.y))
        return total

    def _job(self, items: Tensor, rng: torch.Generator, mu: float) -> Job:
        shared = self.federation
        model, settings = shared.model, shared.settings
        how: Weighting = WEIGHTINGS.build("equal")
        if mu:
            start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
            how = Proximal(how, mu, {n: p for n, p in start.items() if n in shared.layout.shapes})
        how.setup([TARGET], TARGET)
        frozen = shared.plan.batch_norm == "frozen"
        return Job(
            model,
            how,
            settings.optimizer_of(model),
            self.data,
            items,
            settings.epochs,
            self.data.contents.step_size(settings.batch_size, settings.fan_out),
            rng,
            target=TARGET,
            fan_out=settings.fan_out,
            mode=EncoderMode(0, "frozen" if frozen else "train"),
        )


def sum_of(found: Sequence[ClassStatistics]) -> ClassStatistics:
    """Statistics of all clients together, one or more."""
    total = found[0]
    for one in found[1:]:
        total = total + one
    return total


def statistics_to(statistics: ClassStatistics) -> dict[str, np.ndarray]:
    """Arrays to send; scatter as upper triangles ``(k, h (h + 1) / 2)``: it is symmetric."""
    found = {name: getattr(statistics, name).detach().cpu() for name in STATISTICS}
    rows, columns = _triangle(found["means"].shape[1])
    found["scatter"] = found["scatter"][:, rows, columns]
    return {name: value.numpy() for name, value in found.items()}


def statistics_from(arrays: Mapping[str, np.ndarray]) -> ClassStatistics:
    """What was sent."""
    counts, means, sent = (torch.tensor(arrays[name]) for name in STATISTICS)
    width = means.shape[1]
    rows, columns = _triangle(width)
    scatter = sent.new_empty(len(sent), width, width)
    scatter[:, rows, columns] = scatter[:, columns, rows] = sent
    return ClassStatistics(counts, means, scatter)


def _triangle(width: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the upper triangle of a square matrix."""
    rows, columns = torch.triu_indices(width, width)
    return rows, columns


def _fields(statistics: ClassStatistics) -> list[Tensor]:
    return [getattr(statistics, name) for name in STATISTICS]


def seed_of(seed: int, turn: int, client: int) -> int:
    """A seed for each round and client, the same in every process."""
    draws = np.random.SeedSequence([abs(seed), turn, client]).generate_state(1)
    return int(draws[0])
