"""A strategy of Flower between two checks: replies that cannot be used never reach it.

Flower's strategies do the sampling and the averaging, and its loop the rounds. What is added here
is what they leave open: replies of another form, with numbers that are not finite or without any
are named and left out; arrays are compressed on their way; factors of low rank are averaged as
products; statistics of classes are added up; and bytes are counted.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gtl.errors import DataError
from gtl.heads.class_statistics import ClassStatistics
from gtl.train.federated.federation import (
    STATISTICS,
    Federation,
    seed_of,
    statistics_from,
    statistics_to,
    sum_of,
)
from gtl.train.federated.flower import arrays_of, bytes_of, flower, record_of
from gtl.train.federated.low_rank import factors_of, mean_of_products
from gtl.train.federated.plan import CLASSES, STEPPING
from gtl.train.federated.replies import (
    ARRAYS,
    CLIENT,
    CONFIG,
    ERROR,
    EXAMPLES,
    HEAD_STATISTICS,
    LOSS,
    METRICS,
    VALUE,
    drop_unknown,
    examples_of,
    fault_of_arrays,
    fault_of_evaluation,
    fault_of_metrics,
    fault_of_number,
)
from gtl.train.federated.rounds import Round
from gtl.train.federated.travel import MEAN, VARIANCE, VECTOR, factor_pairs, head_of

log = logging.getLogger(__name__)
MOMENTS = ("m_t", "v_t")  # of FedAdam; FedAvgM has a list, `momentum_vector`


class Guard:
    """A strategy for Flower's loop of rounds, around one of Flower's own.

    Args:
        federation: Model and plan.
        done: Rounds that an earlier process has done.
        clients: Number of the client at each node, where that is known before the first reply.

    Attributes:
        inner: Flower's strategy.
        round: The present round.
        statistics: Of all clients' classes, where the head has a closed form.
    """

    def __init__(
        self, federation: Federation, done: int = 0, clients: Mapping[int, int] | None = None
    ):
        self.federation, self.done = federation, done
        self.plan, self.codec = federation.plan, federation.codec
        self.inner = strategy_of(federation)
        self.round = Round(done)
        self.statistics: ClassStatistics | None = None
        self._measured: np.ndarray | None = None  # parameters that the statistics are complete for
        self._pairs = factor_pairs(federation.model)
        self._clients = dict(clients or {})
        self._vector, self._sent = federation.start, federation.start
        self._sizes: dict[int, int] = {}
        self._asked: list[int] = []

    def start(self, grid: Any, vector: np.ndarray, after: Callable[[np.ndarray], None]) -> None:
        """Run the rounds that are left, by the loop of Flower's strategies.

        Args:
            grid: Reaches the clients.
            vector: The global parameters ``(p,)`` so far.
            after: Called with them after each round.
        """
        kit, rounds = flower(), self.plan.rounds - self.done

        def each(turn: int, arrays: Any) -> None:
            if turn:
                after(arrays_of(arrays)[VECTOR])

        # The loop uses of a strategy what this class has; to inherit from a class of Flower would
        # need Flower whenever this module is read.
        kit.strategy.Strategy.start(
            self, grid, record_of({VECTOR: vector}), num_rounds=rounds, evaluate_fn=each
        )

    def summary(self) -> None:
        """What Flower logs at the start."""
        self.inner.summary()

    def configure_train(self, turn: int, arrays: Any, config: Any, grid: Any) -> list[Any]:
        """The messages that start a round; statistics of classes are asked for before the first."""
        self.round = Round(self.done + turn)
        self._vector = arrays_of(arrays)[VECTOR]
        if self.plan.share_head == "statistics" and self.statistics is None:
            self._ask_for_statistics(grid)
        with _sampling(self.plan.seed, self.round.number):
            messages = self.inner.configure_train(self.round.number, arrays, config, grid)
        if self.plan.compress:
            self.round.compression["down"] = self.codec.error(self._vector)
        return self._outgoing(messages, "down")

    def aggregate_train(self, turn: int, replies: Iterable[Any]) -> tuple[Any, Any]:
        """The next global parameters, of the replies that can be used; none if they are too few."""
        usable = self._usable(replies, self._fault_of_training, "up")
        trained = [reply for reply in usable if examples_of(reply) > 0]
        self.round.used = [self._client(reply) for reply in trained]
        if len(trained) < self.plan.minimum:
            log.warning(
                "round %d: %d usable replies, %d are needed; the model stays as it was",
                self.round.number,
                len(trained),
                self.plan.minimum,
            )
            return None, None
        self._decode(trained)
        self._average_products(trained)
        self._follow(self._vector)
        found, metrics = self.inner.aggregate_train(self.round.number, trained)
        self.round.loss = None if metrics is None else float(metrics[LOSS])
        # FedAdam's step is in float64, whatever the arrays were.
        vector = arrays_of(found)[VECTOR].astype(self._vector.dtype)
        self._average_statistics(vector, trained)
        self._vector = vector
        return record_of({VECTOR: vector}), metrics

    def configure_evaluate(self, turn: int, arrays: Any, config: Any, grid: Any) -> list[Any]:
        """The messages that ask for validation, after statistics of classes were brought up."""
        self._vector = arrays_of(arrays)[VECTOR]
        if self.plan.share_head == "statistics" and not self._is_measured():
            self._ask_for_statistics(grid)
        with _sampling(self.plan.seed, self.round.number):
            messages = self.inner.configure_evaluate(self.round.number, arrays, config, grid)
        return self._outgoing(messages, "evaluation")

    def aggregate_evaluate(self, turn: int, replies: Iterable[Any]) -> Any:
        """The validation metric of each client, and its mean weighted by items."""
        found = self._usable(replies, fault_of_evaluation, "evaluation")
        for reply in found:
            metrics = reply.content[METRICS]
            if metrics[EXAMPLES] > 0:
                self.round.values[self._client(reply)] = metrics[VALUE], int(metrics[EXAMPLES])
        return None if self.round.valid is None else self.inner.aggregate_evaluate(turn, found)

    def state(self) -> dict[str, Any]:
        """What Flower's strategy remembers from round to round, as tensors."""
        kept: dict[str, Any] = {}
        for name in MOMENTS:
            value = getattr(self.inner, name, None)
            if value:
                kept[name] = {key: torch.tensor(array) for key, array in value.items()}
        momentum = getattr(self.inner, "momentum_vector", None)
        if momentum is not None:
            kept["momentum_vector"] = [torch.tensor(array) for array in momentum]
        if self.statistics is not None:
            kept["statistics"] = {n: getattr(self.statistics, n) for n in STATISTICS}
        if self._measured is not None:
            kept["measured"] = torch.tensor(self._measured)
        return kept

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        for name in MOMENTS:
            if name in state:
                moments = {key: tensor.numpy().copy() for key, tensor in state[name].items()}
                setattr(self.inner, name, moments)
        if "momentum_vector" in state:
            self.inner.momentum_vector = [t.numpy().copy() for t in state["momentum_vector"]]
        if "statistics" in state:
            self.statistics = ClassStatistics(*(state["statistics"][n] for n in STATISTICS))
        if "measured" in state:
            self._measured = state["measured"].numpy().copy()

    # -- messages --------------------------------------------------------------------------------

    def _outgoing(self, messages: Iterable[Any], counted: str) -> list[Any]:
        """Messages as they are sent: arrays encoded, statistics of the head beside them."""
        messages = list(messages)
        self._asked = [message.metadata.dst_node_id for message in messages]
        if not messages:
            return []
        encoded = self.codec.encode(self._vector)
        self._sent = self.codec.decode(encoded)
        records = {ARRAYS: record_of(encoded)}
        # They are read in training, if there is anything to train, and in validation.
        if self.statistics is not None and (counted == "evaluation" or self.federation.trains):
            records[HEAD_STATISTICS] = record_of(statistics_to(self.statistics))
        for message in messages:  # in Flower's strategies all share one content
            for name, record in records.items():
                message.content[name] = record
        self._count(counted, bytes_of(messages[0]) * len(messages))
        return messages

    def _usable(
        self, replies: Iterable[Any], fault: Callable[[Any], str | None], counted: str
    ) -> list[Any]:
        """Replies without a fault, in the order of the clients; the others are named and logged."""
        found, missing = [], dict.fromkeys(self._asked)
        for reply in replies:
            node = reply.metadata.src_node_id
            missing.pop(node, None)
            self._count(counted, bytes_of(reply))
            problem = f"failed: {reply.error.reason}" if reply.has_error() else fault(reply)
            if problem is None:
                self._clients[node] = int(reply.content[METRICS][CLIENT])
                drop_unknown(reply)
                found.append(reply)
            else:
                self._fail(node, problem)
        for node in missing:
            self._fail(node, "did not reply")
        return sorted(found, key=self._client)

    def _fail(self, node: int, problem: str) -> None:
        name = str(self._clients.get(node, f"node {node}"))
        self.round.failures[name] = problem.strip().splitlines()[-1]
        log.warning("round %d: client %s %s; it is left out", self.round.number, name, problem)

    def _client(self, reply: Any) -> int:
        return self._clients[reply.metadata.src_node_id]

    def _count(self, what: str, size: int) -> None:
        setattr(self.round, what, getattr(self.round, what) + size)

    def _fault_of_training(self, reply: Any) -> str | None:
        content = reply.content
        if list(content.array_records) != [ARRAYS]:
            return f"sent the arrays {list(content.array_records)}, expected {[ARRAYS]}"
        expected = self.codec.encode(self._sent)
        problem = fault_of_arrays(content[ARRAYS], expected) or fault_of_metrics(reply)
        return problem or fault_of_number(content[METRICS], LOSS)

    # -- arrays ----------------------------------------------------------------------------------

    def _decode(self, replies: list[Any]) -> None:
        """Write each client's parameters into its reply.

        With compression it sent what it changed, which is added to the exact global parameters and
        not to those that it was sent: rounding would hold back changes that are smaller than it.
        """
        if self.plan.compress is None:
            return
        for reply in replies:
            vector = self._vector + self.codec.decode(arrays_of(reply.content[ARRAYS]))
            variances = self.federation.layout.places(VARIANCE)
            vector[variances] = vector[variances].clip(min=0)  # which a rounded change may miss
            reply.content[ARRAYS] = record_of({VECTOR: vector})
        errors = [reply.content[METRICS][ERROR] for reply in replies]
        self.round.compression["up"] = float(np.mean(errors))

    def _average_products(self, replies: list[Any]) -> None:
        """Give all replies the factors of the averaged products, whose mean they are."""
        if self.plan.low_rank != "product" or not self._pairs:
            return
        layout, weights = self.federation.layout, [examples_of(reply) for reply in replies]
        states = [layout.unpack(arrays_of(r.content[ARRAYS])[VECTOR]) for r in replies]
        lost = []
        for up, down in self._pairs:
            ups, downs = (torch.stack([state[name] for state in states]) for name in (up, down))
            product = mean_of_products(ups, downs, weights)
            left, right, share = factors_of(product, ups.shape[-1])
            lost.append(share)
            for state in states:
                state[up], state[down] = left.to(ups), right.to(downs)
        self.round.low_rank = max(lost)
        for reply, state in zip(replies, states):
            reply.content[ARRAYS] = record_of({VECTOR: layout.pack(state)})

    def _average_statistics(self, vector: np.ndarray, replies: list[Any]) -> None:
        """Let running statistics of batch norms be the means of the replies.

        A step with momentum passes by the mean, and no variance is negative.
        """
        places = self.federation.layout.places(MEAN, VARIANCE)
        if self.plan.strategy["name"] in STEPPING and places.any():
            found = np.stack(
                [arrays_of(reply.content[ARRAYS])[VECTOR][places] for reply in replies]
            )
            vector[places] = np.average(found, 0, [examples_of(reply) for reply in replies])

    def _follow(self, vector: np.ndarray) -> None:
        """Let Flower's strategy step from these global parameters.

        FedAvgM remembers those of its own last step, which are not there in a resumed run.
        """
        if hasattr(self.inner, "momentum_vector"):
            self.inner.current_arrays = record_of({VECTOR: vector})

    def _ask_for_statistics(self, grid: Any) -> None:
        """Add up the statistics of the classes of all clients, with the present parameters."""
        kit = flower()
        content = kit.RecordDict({ARRAYS: record_of({}), CONFIG: kit.ConfigRecord()})
        nodes = list(grid.get_node_ids())
        messages = [
            kit.Message(content=content, dst_node_id=node, message_type="query") for node in nodes
        ]
        before, self.statistics = self.statistics, None
        replies = grid.send_and_receive(self._outgoing(messages, "down"))
        usable = self._usable(replies, self._fault_of_statistics, "up")
        found = [statistics_from(arrays_of(reply.content[HEAD_STATISTICS])) for reply in usable]
        total = sum_of(found) if found else None
        missing = [] if total is None else (total.counts == 0).nonzero().flatten().tolist()
        if total is not None and not missing:
            self.statistics = total
            self._measured = self._vector.copy() if len(found) == len(nodes) else None
            return
        what = f"has samples of the classes {missing}" if missing else "sent statistics"
        if before is None:
            raise DataError(
                f"no client that replied {what}; a head with a closed form needs each class: wait "
                "for more clients, or use head='linear'"
            )
        log.warning(
            "round %d: no client that replied %s; the head keeps its former statistics",
            self.round.number,
            what,
        )
        self.statistics = before

    def _is_measured(self) -> bool:
        """Whether all clients have sent their statistics for the present parameters."""
        return self._measured is not None and np.array_equal(self._measured, self._vector)

    def _fault_of_statistics(self, reply: Any) -> str | None:
        if list(reply.content.array_records) != [HEAD_STATISTICS]:
            return f"sent the arrays {list(reply.content.array_records)}, expected statistics"
        expected = statistics_to(head_of(self.federation.model).statistics)
        problem = fault_of_arrays(reply.content[HEAD_STATISTICS], expected)
        return problem or fault_of_metrics(reply)


def strategy_of(federation: Federation) -> Any:
    """Flower's strategy of a plan."""
    plan = federation.plan
    options = {key: value for key, value in plan.strategy.items() if key != "name"}
    has_valid = any(len(part.split.get("valid", ())) for part in federation.parts.datasets)
    # Flower rounds a share of the clients down; the minimum is what it takes at least.
    return getattr(flower().strategy, CLASSES[plan.strategy["name"]])(
        fraction_train=plan.fraction,
        fraction_evaluate=1.0 if has_valid else 0.0,
        min_train_nodes=plan.sampled,
        min_evaluate_nodes=1,
        min_available_nodes=plan.clients,
        **options,
    )


@contextmanager
def _sampling(seed: int, number: int) -> Iterator[None]:
    """Seed what Flower samples clients with, Python's own generator, and restore it."""
    before = random.getstate()
    random.seed(seed_of(seed, number, 1 << 31))
    try:
        yield
    finally:
        random.setstate(before)
