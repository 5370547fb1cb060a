"""AUX-TS: sample weights from a network that learns from the target's loss after the next step.

Han et al. 2021, "Adaptive Transfer Learning on Graph Neural Networks" (KDD). This is the method of
the paper; the published code computes something else (see :mod:`gtl.weightings.random_fixed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.renamed import renamed
from gtl.roles import Step, Weighting
from gtl.weightings.consistency import gradient_consistency, shift_consistency
from gtl.weightings.gradients import gradients, set_gradients, sound_losses, weighted_backward
from gtl.weightings.learned import require_known, require_same_tasks
from gtl.weightings.look_ahead.learning import NetworkLearner
from gtl.weightings.look_ahead.network import WeightNetwork, sample_features
from gtl.weightings.look_ahead.normalization import by_target, over_auxiliary, positive
from gtl.weightings.look_ahead.optimizer_step import require_supported
from gtl.weightings.look_ahead.weighted_step import (
    hypergradient,
    mean_shares,
    weighted_step,
    weighted_terms,
    without,
)
from gtl.weightings.permutation_test import PermutationTest
from gtl.weightings.slgrad import useful_weights
from gtl.weightings.task_gradients import require_shared

NORMALIZERS = ("auxiliary", "target", None)
ENGINES = ("directional", "unrolled")
CONSISTENCIES = ("parameters", "representation", None)
LEVELS = ("sample", "task")
AUXILIARY_WEIGHTS = (0.3, 1.0)


class AuxTS(Weighting):
    """Sample weights from a small network that is trained by a look-ahead.

    In each step the network turns a sample's loss, its task and the tasks' gradient consistency
    into a weight, and the model is trained on the weighted losses. Every ``refresh`` steps the
    consistency is measured anew and the network learns: a part of the target's samples is held
    back, the optimizer's next step is computed on all other samples, and the network's Adam takes
    a step against the gradient of the held-back samples' loss after that step, with respect to
    the weights (the hyper-gradient).

    Departure from the paper: the network learns *after* the gradient of the step is taken, so
    that the look-ahead uses the same weights as the step and one backward pass serves both. The
    paper's order, network first, needs a second pass over every task and two graphs in memory.

    Addition to the paper: a permutation test weighs down tasks whose losses do not depend on the
    node vectors. One look-ahead says little about such a task, since the mean effect of its
    gradient is zero, and soon nothing, when the target's samples are memorized.

    Args:
        hidden: Width of the weighting network.
        lr: Learning rate of the network's own Adam.
        auxiliary_weight: Mean weight of an auxiliary task, relative to a weight of 1 of the
            target, under ``normalize="auxiliary"``. A look-ahead of one step shows which tasks
            help, but not how large their weight should be over a whole training: it undervalues
            tasks that help later. Several values are choices for a loop with validation data,
            which trains all of them; without such a loop the first is used, and in a derived
            class whose constructor is its own, unless that sets ``choices``.
        normalize: ``"auxiliary"``: target samples have weight 1, auxiliary weights are divided by
            their mean and multiplied by ``auxiliary_weight``, so that the network decides how a
            given total is shared. ``"target"``: all weights are divided by the target's mean
            weight (Hwang et al. 2020, SELAR), but at least by a thousandth of any other task's.
            ``None``: the network's outputs.
        refresh: Steps from one look-ahead to the next.
        look_ahead: ``"directional"``, first order, or ``"unrolled"``, through ``higher``.
        unroll_steps: Inner steps of the unrolled look-ahead.
        consistency: Which cosines are inputs of the network: of gradients with respect to a shift
            of the node vectors, ``"representation"``, at almost no cost; of gradients with respect
            to the shared ``"parameters"``, as in the paper, at one backward pass a task; or none,
            ``None``.
        activation: Of the network's output, ``"sigmoid"`` or ``"softplus"``.
        network: ``False`` is an ablation: a sample's weight is its negative hyper-gradient, zero
            where that is negative, normalized. Between look-aheads each task keeps its mean
            weight of the latest one.
        level: ``"sample"``, or ``"task"`` for the ablation in which all samples of a task have
            one weight and the network's input is their mean loss.
        permutation_test: Whether weights of auxiliary tasks are multiplied by the factors of
            :class:`~gtl.weightings.permutation_test.PermutationTest`, measured in every
            look-ahead. A task with a small factor counts as little in the mean of
            ``auxiliary_weight``.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    needs_target = True
    network: WeightNetwork

    @renamed(mass="auxiliary_weight")
    def __init__(
        self,
        hidden: int = 100,
        lr: float = 1e-2,
        auxiliary_weight: float | Sequence[float] = AUXILIARY_WEIGHTS,
        normalize: str | None = "auxiliary",
        refresh: int = 4,
        look_ahead: str = "directional",
        unroll_steps: int = 1,
        consistency: str | None = "representation",
        activation: str = "sigmoid",
        network: bool = True,
        level: str = "sample",
        permutation_test: bool = True,
    ):
        super().__init__()
        _require_one_of("normalize", normalize, NORMALIZERS)
        _require_one_of("look_ahead", look_ahead, ENGINES)
        _require_one_of("consistency", consistency, CONSISTENCIES)
        _require_one_of("level", level, LEVELS)
        _require_counts(hidden=hidden, refresh=refresh, unroll_steps=unroll_steps)
        totals = _as_list(auxiliary_weight)
        if not lr > 0 or not totals or not all(total >= 0 for total in totals):
            raise ConfigError(
                f"`lr` is {lr} and `auxiliary_weight` is {auxiliary_weight}; expected lr > 0 and "
                "one or more auxiliary weights, zero or larger"
            )
        if unroll_steps > 1 and look_ahead != "unrolled":
            raise ConfigError(
                f"`unroll_steps` is {unroll_steps}, expected 1 with look_ahead={look_ahead!r}; "
                "more steps need look_ahead='unrolled'"
            )
        if not network and normalize != "auxiliary":
            raise ConfigError(
                f"`normalize` is {normalize!r} and `network` is False; hyper-gradients have no "
                "unit and only their ratios are used: give normalize='auxiliary'"
            )
        self.hidden, self.lr, self.activation = hidden, lr, activation
        self.auxiliary_weight = totals[0]
        # A derived class with a constructor of its own may take other arguments.
        inherits = type(self).__init__ is AuxTS.__init__
        if len(totals) > 1 and normalize == "auxiliary" and inherits:
            options = [{**self.arguments, "auxiliary_weight": one} for one in totals]
            self.choices = [type(self)(**given) for given in options]
        self.normalize, self.refresh = normalize, refresh
        self.unroll_steps = unroll_steps if look_ahead == "unrolled" else 0
        self.differentiates_twice = self.unroll_steps > 0
        self.measure = consistency if network else None
        self.direct, self.level = not network, level
        self.tested = permutation_test
        self.steps = self.look_aheads = 0

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Make the network; its initial weights are drawn from torch's global generator."""
        self.steps = self.look_aheads = 0
        auxiliary = [name for name in tasks if name != target]
        self.consistency = dict.fromkeys(auxiliary, 0.0) if self.measure else {}
        # Without a network: mean weight of each task in the latest look-ahead.
        self.usual = {str(target): 1.0, **dict.fromkeys(auxiliary, self.auxiliary_weight)}
        self.test = PermutationTest(auxiliary if self.tested else ())
        if not self.direct:
            inputs = 1 + len(tasks) + len(self.consistency)
            self.network = WeightNetwork(inputs, self.hidden, self.activation)
            self.learner = NetworkLearner(self.network, self.lr)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted losses, and learn every ``refresh`` steps.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, the optimizer is
                not supported in a look-ahead, or no shared parameter is trained.
            GtlError: If a loss is not finite, in this step or after the look-ahead.
        """
        target = require_known(self, step)
        losses = sound_losses(step.losses)
        if not losses.keys() - {target}:
            return weighted_backward(step, {name: float(name == target) for name in step.losses})
        refreshes = self.steps % self.refresh == 0 and target in losses
        self.steps += 1
        if refreshes:
            require_supported(step.optimizer)
            require_shared(step)
            self._measure_consistency(step, losses)
            if self.tested:
                self.test.add(losses, step.permuted_losses(self.look_aheads))
        if self.direct:
            weights = self._direct_step(step, losses, target, refreshes)
        else:
            weights = self._network_step(step, losses, target, refreshes)
        return {**dict.fromkeys(step.losses, 0.0), **_means(weights)}

    def _network_step(
        self, step: Step, losses: Mapping[str, Tensor], target: str, refreshes: bool
    ) -> dict[str, Tensor]:
        self.learner.match(losses)
        cosines = list(self.consistency.values())
        features = sample_features(self._inputs(losses), self.tasks, cosines)
        outputs = self.learner.outputs(features)

        def normalized(outputs: Tensor) -> dict[str, Tensor]:
            return self._normalized(self._by_task(outputs, losses), target)

        weights = normalized(outputs)
        if refreshes:
            slopes = weighted_step(step, losses, weights, self.look_aheads, self.unroll_steps)
            self.look_aheads += 1
            self.learner.learn(features, outputs, normalized, slopes)
        else:
            set_gradients(step, weighted_terms(losses, weights, mean_shares(losses)))
        return weights

    def _direct_step(
        self, step: Step, losses: Mapping[str, Tensor], target: str, refreshes: bool
    ) -> dict[str, Tensor]:
        """Without a network: a look-ahead with the usual weights, then weights from its slopes."""
        weights = {n: torch.full_like(v.detach(), self.usual[n]) for n, v in losses.items()}
        if refreshes:
            held = step.hold_back(self.look_aheads)
            self.look_aheads += 1
            shares = mean_shares(losses)
            shares[target] = without(shares[target], held)
            total = torch.stack(weighted_terms(losses, weights, shares)).sum()
            ahead = gradients(total, step.parameters)
            slopes = hypergradient(step, ahead, weights, shares, held, self.unroll_steps)
            if self.level == "task":
                worth = {n: -slope.sum().expand_as(slope) for n, slope in slopes.items()}
            else:
                worth = {n: -slope / positive(shares[n]) for n, slope in slopes.items()}
            weights = self._normalized(useful_weights(losses, worth, target, held), target)
            self.usual.update(_means(weights))
        set_gradients(step, weighted_terms(losses, weights, mean_shares(losses)))
        return weights

    def _inputs(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses that the network sees: of each sample, or one mean a task."""
        if self.level == "task":
            return {name: values.mean().reshape(1) for name, values in losses.items()}
        return dict(losses)

    def _by_task(self, outputs: Tensor, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs ``(b_k,)`` by task, of those of all samples ``(b,)`` or of all tasks ``(t,)``."""
        if self.level == "task":
            pieces = [output.expand(len(v)) for output, v in zip(outputs, losses.values())]
        else:
            pieces = list(outputs.split([len(values) for values in losses.values()]))
        return dict(zip(losses, pieces))

    def _normalized(self, weights: dict[str, Tensor], target: str) -> dict[str, Tensor]:
        factors = self.test.factors
        if self.normalize == "auxiliary":
            return over_auxiliary(weights, target, self.auxiliary_weight, factors)
        if self.normalize == "target":
            weights = by_target(weights, target)
        return {name: factors.get(name, 1.0) * weight for name, weight in weights.items()}

    def _measure_consistency(self, step: Step, losses: Mapping[str, Tensor]) -> None:
        if self.measure is None:
            return
        auxiliary = [name for name in losses if name != step.target]
        means = [losses[name].mean() for name in auxiliary]
        own = losses[str(step.target)].mean()
        if self.measure == "parameters":
            shared = [step.parameters[name] for name in step.shared]
            cosines = gradient_consistency(own, means, shared)
        else:
            nodes = [step.representations[name] for name in (str(step.target), *auxiliary)]
            cosines = shift_consistency(own, means, nodes, step.total)
        self.consistency.update(zip(auxiliary, cosines.tolist()))

    def get_extra_state(self) -> dict[str, Any]:
        """Counters, cosines, usual weights and the state of Adam, as plain nested values."""
        state: dict[str, Any] = {"steps": self.steps, "look_aheads": self.look_aheads}
        if self.tasks:
            state.update(usual=dict(self.usual), consistency=dict(self.consistency))
            state.update(permutation_test=self.test.state())
        if self.tasks and not self.direct:
            state.update(self.learner.state())
        return state

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        require_same_tasks(state.get("usual", {}), self.tasks)
        self.steps, self.look_aheads = int(state["steps"]), int(state["look_aheads"])
        if self.tasks:
            self.usual.update(state["usual"])
            self.test.load(state.get("permutation_test", {}))
            if self.measure:
                self.consistency.update(state["consistency"])
        if self.tasks and not self.direct:
            self.learner.load(state)


def _means(weights: Mapping[str, Tensor]) -> dict[str, float]:
    return dict(zip(weights, torch.stack([w.mean() for w in weights.values()]).tolist()))


def _as_list(numbers: float | Sequence[float]) -> list[float]:
    return list(numbers) if isinstance(numbers, Sequence) else [numbers]


def _require_one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise ConfigError(f"`{name}` is {value!r}, expected one of {known}")


def _require_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"`{name}` is {count}, expected 1 or more")
