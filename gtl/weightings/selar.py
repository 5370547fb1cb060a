"""SELAR: sample weights from a network, relative to the target's, learned from a look-ahead.

Hwang et al. 2020, "Self-supervised Auxiliary Learning with Meta-paths for Heterogeneous Graphs"
(NeurIPS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.gradients import set_gradients, sound_losses, weighted_backward
from gtl.weightings.learned import require_known, require_same_tasks
from gtl.weightings.look_ahead.learning import NetworkLearner
from gtl.weightings.look_ahead.network import WeightNetwork, sample_features
from gtl.weightings.look_ahead.normalization import by_target
from gtl.weightings.look_ahead.optimizer_step import require_supported
from gtl.weightings.look_ahead.weighted_step import mean_shares, weighted_step, weighted_terms
from gtl.weightings.task_gradients import require_shared


class SELAR(Weighting):
    """Sample weights from a network, divided by the target's mean weight.

    The network's inputs are a sample's loss and its task. With this normalization auxiliary
    weights tend to fall, since the target's own gradient lowers its loss most in a single step.

    Departures from the published code: a sample's label, which only the target has, is no input
    of the network; the look-ahead goes through the optimizer in use, not through SGD; there is no
    second network for hints; one step serves as look-ahead and as training step, as in
    :class:`gtl.weightings.aux_ts.AuxTS`.

    Args:
        hidden: Width of the weighting network.
        lr: Learning rate of the network's own Adam.
        refresh: Steps from one look-ahead to the next; 1 in the paper.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    needs_target = True
    network: WeightNetwork

    def __init__(self, hidden: int = 1000, lr: float = 5e-3, refresh: int = 1):
        super().__init__()
        if hidden < 1 or not lr > 0 or refresh < 1:
            raise ConfigError(
                f"`hidden` is {hidden}, `lr` {lr} and `refresh` {refresh}; expected hidden >= 1, "
                "lr > 0 and refresh >= 1"
            )
        self.hidden, self.lr, self.refresh = hidden, lr, refresh
        self.steps = self.look_aheads = 0

    def prepare(self, tasks: Sequence[str], target: str | None) -> None:
        """Make the network; its initial weights are drawn from torch's global generator."""
        self.steps = self.look_aheads = 0
        self.network = WeightNetwork(1 + len(tasks), self.hidden)
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
        self.learner.match(losses)
        features = sample_features(losses, self.tasks, ())
        outputs = self.learner.outputs(features)

        def normalized(outputs: Tensor) -> dict[str, Tensor]:
            pieces = outputs.split([len(values) for values in losses.values()])
            return by_target(dict(zip(losses, pieces)), target)

        weights = normalized(outputs)
        if refreshes:
            require_supported(step.optimizer)
            require_shared(step)
            slopes = weighted_step(step, losses, weights, self.look_aheads)
            self.look_aheads += 1
            self.learner.learn(features, outputs, normalized, slopes)
        else:
            set_gradients(step, weighted_terms(losses, weights, mean_shares(losses)))
        means = {name: float(weight.mean()) for name, weight in weights.items()}
        return {**dict.fromkeys(step.losses, 0.0), **means}

    def get_extra_state(self) -> dict[str, Any]:
        """Tasks, counters and the state of Adam, as plain nested values."""
        state: dict[str, Any] = {"steps": self.steps, "look_aheads": self.look_aheads}
        if self.tasks:
            state.update(tasks=list(self.tasks), **self.learner.state())
        return state

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        # States of gtl 0.1 have the tasks as keys of "usual".
        require_same_tasks(state.get("tasks", state.get("usual", ())), self.tasks)
        self.steps, self.look_aheads = int(state["steps"]), int(state["look_aheads"])
        if self.tasks:
            self.learner.load(state)
