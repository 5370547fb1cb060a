"""What the tasks of this folder share: unlabeled items, the target's predictions, and gates."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError, GtlWarning
from gtl.graph import Columns, Graph, Schema
from gtl.graph.augment import augment
from gtl.roles import Batch, Task
from gtl.tasks.slow_average import constant_outputs
from gtl.tasks.supervised import Supervised


class OnUnlabeled(Task):
    """A task on the predictions for unlabeled items, beside a labeled target.

    Unlabeled items are those of the task's own data (:meth:`gtl.roles.Task.on`), or at node level
    the nodes of the step's graph that are no labeled ones. Their labels are never read.

    The encoder and the target's head are those of the model that :meth:`after_step` is shown
    first; the head is trained by this task too.
    """

    needs_target = True
    level: Tensor

    def __init__(self, warmup: float = 0.0):
        super().__init__()
        if not 0 <= warmup < 1:
            raise ConfigError(f"`warmup` is {warmup}, expected a share of the training in [0, 1)")
        self.warmup = warmup
        self.columns: Columns | None = None
        # In a tuple, so that the model is no part of this module.
        self._model: tuple[nn.Module, ...] = ()
        self.register_buffer("level", torch.tensor(1.0 if warmup == 0 else 0.0))

    def build(self, schema: Schema, width: int) -> None:
        """Keep the columns of the features, which augmentations need."""
        self.columns = schema.node

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Remember the model; raise the factor of the losses during the warm-up."""
        self._model = (model,)
        if self.warmup:
            self.level.fill_(min(1.0, progress / self.warmup))

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is trained."""
        return self._part("encoder")

    @property
    def target(self) -> Supervised:
        """The labeled target that is trained beside this task.

        Raises:
            ConfigError: If there is none, or it is a regression.
        """
        tasks = self._part("tasks")
        assert isinstance(tasks, nn.ModuleDict)
        for task in tasks.values():
            if isinstance(task, Supervised) and task is not self:
                if task.kind == "regression":
                    raise ConfigError(
                        f"{type(self).__name__} needs probabilities, and the target is a "
                        "regression; use `knowledge_consistency`"
                    )
                return task
        raise ConfigError(
            f"{type(self).__name__} needs a labeled target; use it as an auxiliary task of "
            "gtl.finetune"
        )

    def unlabeled(self, batch: Batch) -> Graph:
        """The unlabeled items of a step: several graphs, or a graph whose seeds they are.

        Raises:
            ConfigError: If there are none, or no target.
        """
        assert self.target is not None
        if batch.own is not None:
            return batch.own.replace(y=None)
        graph = batch.graph
        if graph.seeds is not None and graph.pairs is None:
            others = torch.ones(graph.num_nodes, dtype=torch.bool, device=graph.device)
            others[graph.seeds] = False
            if bool(others.any()):
                return graph.replace(y=None, seeds=others.nonzero().flatten())
        raise ConfigError(
            f"{type(self).__name__} has no unlabeled items; leave labels of training items empty, "
            "or give items of their own by `task.on(dataset)`"
        )

    def augmented(self, graph: Graph, rate: float, rng: torch.Generator) -> Graph:
        """A copy without a share of the edges and features; it keeps its items."""
        if not rate:
            return graph
        copy = augment("drop_edges", graph, rate, rng)
        return augment("mask_features", copy, rate, rng, self.columns)

    def probabilities(self, graph: Graph, nodes: Tensor) -> Tensor:
        """The target's probabilities of the items ``(b, c)``; of columns if it is binary."""
        return self.as_probabilities(self.target.predict(graph, nodes))

    def as_probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities ``(b, c)`` of logits."""
        binary = self.target.kind == "binary"
        return logits.sigmoid() if binary else logits.softmax(1)

    def now(self, graph: Graph) -> Tensor:
        """Probabilities that the model has at present, without dropout and gradient, ``(b, c)``."""
        nodes = constant_outputs(self.encoder, {}, graph)
        return self.as_probabilities(constant_outputs(Predictions(self.target), {}, graph, nodes))

    def _part(self, name: str) -> nn.Module:
        if not self._model:
            raise ConfigError(
                f"{type(self).__name__} does not know the model yet; call "
                "`task.after_step(model, 0.0)` before the first step"
            )
        part: nn.Module = getattr(self._model[0], name)
        return part


class Predictions(nn.Module):
    """The predictions of a target as a module's ``forward``."""

    def __init__(self, target: Supervised):
        super().__init__()
        self.target = target

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Logits ``(b, c)``."""
        return self.target.predict(graph, nodes)


class Gate(nn.Module):
    """Lets items through whose prediction is certain, and counts them.

    Args:
        threshold: Largest entropy, as a share of that of equal probabilities.
    """

    opened: Tensor
    seen: Tensor
    least: Tensor

    def __init__(self, threshold: float):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ConfigError(f"`threshold` is {threshold}, expected a share in (0, 1]")
        self.threshold = threshold
        for name, start in (("opened", 0.0), ("seen", 0.0), ("least", math.inf)):
            self.register_buffer(name, torch.tensor(start))

    def forward(self, probabilities: Tensor, binary: bool) -> Tensor:
        """Which items pass, boolean ``(b,)``.

        Args:
            probabilities: ``(b, c)``.
            binary: Whether each column is a label of its own; entropies are then averaged.
        """
        entropy = relative_entropy(probabilities.detach(), binary)
        passed = entropy <= self.threshold
        self.opened += passed.sum()
        self.seen += len(passed)
        if len(entropy):
            self.least.copy_(torch.minimum(self.least, entropy.min().to(self.least)))
        return passed

    def share(self) -> float:
        """Share of the items that passed since the last call; 0 without items."""
        found = float(self.opened / self.seen.clamp(min=1))
        self.opened.zero_(), self.seen.zero_()
        return found

    def warn_if_never_open(self, what: str) -> None:
        """Say so if no item ever passed.

        Args:
            what: Which gate, for the message.

        Warns:
            GtlWarning: With the threshold and the smallest entropy seen.
        """
        least = float(self.least)
        if self.threshold < least < math.inf:
            warnings.warn(
                f"{what} let no item through in the whole training: its threshold is "
                f"{self.threshold} of the largest entropy, the smallest seen is {least:.2f}; give "
                "a higher `threshold`",
                GtlWarning,
                stacklevel=2,
            )


def relative_entropy(probabilities: Tensor, binary: bool) -> Tensor:
    """Entropy of each row ``(b,)`` as a share of that of equal probabilities.

    Args:
        probabilities: ``(b, c)``.
        binary: Whether each column is a label of its own; entropies are then averaged.
    """
    if binary:
        both = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
        return both.mean(1) / math.log(2)
    count = max(probabilities.shape[1], 2)
    return torch.special.entr(probabilities).sum(1) / math.log(count)


def certain_losses(logits: Tensor, labels: Tensor, certain: Tensor) -> Tensor:
    """Cross-entropy of each item ``(b,)``, 0 where it is not certain.

    Args:
        logits: ``(b, c)``.
        labels: Classes ``(b,)``, or binary labels ``(b, c)``; of those the sum over the certain
            columns, divided by ``c``.
        certain: Boolean, as ``labels``.
    """
    if labels.dim() == 2:
        truth = labels.to(logits.dtype)
        each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (each * certain).mean(1)
    return F.cross_entropy(logits, labels, reduction="none") * certain
