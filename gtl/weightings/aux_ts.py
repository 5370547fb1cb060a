"""AUX-TS: learn how much each sample of each task counts by looking one step ahead.

Han et al. 2021, "Adaptive Transfer Learning on Graph Neural Networks" (KDD). The method of the
paper, which its published code does not run: there the look-ahead is cut off from the network
(see :mod:`gtl.weightings.random_fixed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step, Weighting
from gtl.weightings.consistency import gradient_consistency, shift_consistency
from gtl.weightings.gradients import (
    gradients,
    require_target,
    set_gradients,
    sound_losses,
    weighted_backward,
)
from gtl.weightings.learned import load_optimizer_state, require_known, require_same_tasks
from gtl.weightings.look_ahead.network import WeightNetwork, sample_features
from gtl.weightings.look_ahead.optimizer_step import require_supported
from gtl.weightings.look_ahead.weighted_step import (
    hypergradient,
    mean_shares,
    weighted_step,
    weighted_terms,
    without,
)
from gtl.weightings.slgrad import useful_weights
from gtl.weightings.task_gradients import require_shared

NORMALIZERS = ("auxiliary", "target", None)
ENGINES = ("directional", "unrolled")
CONSISTENCIES = ("parameters", "representation", None)
LEVELS = ("sample", "task")
MASSES = (0.3, 1.0)
_ROWS = 1 << 16
_LARGEST = 1e3


class AuxTS(Weighting):
    """A small network weighs every sample; a look at the target's loss one step ahead trains it.

    In each step the network turns a sample's loss, its task and the tasks' gradient consistency
    into a weight, and the model follows the gradient of the weighted losses. Every ``refresh``
    steps the consistency is measured anew and the network learns: part of the target's samples
    sit out a look-ahead through the optimizer's real state and judge where it led.

    The network learns *after* the step's gradient is taken, so the look-ahead judges the very
    weights that the step uses, and one backward pass serves both. (The paper's order, network
    first, costs a second pass over every task and keeps two graphs in memory.)

    Args:
        hidden: Width of the weighting network.
        lr: Learning rate of the network's own Adam.
        mass: Mean weight of an auxiliary task where the target's is 1, under
            ``normalize="auxiliary"``. One look-ahead sees which tasks help, but not how much of
            them a whole training needs: it undervalues everything that pays later. Several masses
            are choices for a loop that can compare whole trainings; a single one uses the first.
        normalize: ``"auxiliary"``: target samples count once, auxiliary weights are divided by
            their mean and multiplied by ``mass``, so that the network decides how a given total
            is shared. ``"target"``: all weights are divided by the target's mean weight (Hwang et
            al. 2020, SELAR), but at least by a thousandth of another task's: a look-ahead that
            wants no target at all would make the others grow without end. ``None``: as the
            network says.
        refresh: Steps from one look-ahead to the next.
        look_ahead: ``"directional"``, first order, or ``"unrolled"``, through ``higher``.
        unroll_steps: Inner steps of the unrolled look-ahead.
        consistency: What the cosines compare: those of a shift of the node vectors,
            ``"representation"``, at almost nothing; gradients of the shared ``"parameters"``, as
            in the paper, at one backward pass a task; or ``None``, no cosines.
        activation: Of the network's output, ``"sigmoid"`` or ``"softplus"``.
        network: ``False`` is the ablation without one: a sample weighs what the look-ahead says
            it is worth, nothing where that is negative. Between look-aheads each task keeps the
            mean weight it had in the last one.
        level: ``"sample"``, or ``"task"`` for the ablation in which all samples of a task weigh
            alike and the network is told their mean loss.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    name = "aux_ts"
    network: WeightNetwork

    def __init__(
        self,
        hidden: int = 100,
        lr: float = 1e-2,
        mass: float | Sequence[float] = MASSES,
        normalize: str | None = "auxiliary",
        refresh: int = 4,
        look_ahead: str = "directional",
        unroll_steps: int = 1,
        consistency: str | None = "representation",
        activation: str = "sigmoid",
        network: bool = True,
        level: str = "sample",
    ):
        super().__init__()
        _require_one_of("normalize", normalize, NORMALIZERS)
        _require_one_of("look_ahead", look_ahead, ENGINES)
        _require_one_of("consistency", consistency, CONSISTENCIES)
        _require_one_of("level", level, LEVELS)
        for name, count in (
            ("hidden", hidden),
            ("refresh", refresh),
            ("unroll_steps", unroll_steps),
        ):
            if count < 1:
                raise ConfigError(f"`{name}` is {count}, expected 1 or more")
        if unroll_steps > 1 and look_ahead != "unrolled":
            raise ConfigError(f"`unroll_steps` is {unroll_steps}; that needs look_ahead='unrolled'")
        if not network and normalize != "auxiliary":
            raise ConfigError(
                f"`normalize` is {normalize!r} and `network` is False; what a look-ahead says is "
                "worth nothing as a number, only its shares are: use normalize='auxiliary'"
            )
        masses = list(mass) if isinstance(mass, Sequence) else [mass]
        if not lr > 0 or not masses or not all(m >= 0 for m in masses):
            raise ConfigError(
                f"`lr` is {lr} and `mass` is {mass}; expected lr > 0 and one or more masses >= 0"
            )
        self.hidden, self.lr, self.mass, self.activation = hidden, lr, masses[0], activation
        if len(masses) > 1 and normalize == "auxiliary":
            self.choices = [AuxTS(**{**self.arguments, "mass": one}) for one in masses]
        self.normalize, self.refresh = normalize, refresh
        self.look_ahead, self.unroll_steps = look_ahead, unroll_steps
        self.measure = consistency if network else None
        self.direct, self.level = not network, level
        self.tasks: tuple[str, ...] = ()
        self.steps = self.look_aheads = 0

    def setup(self, tasks: Sequence[str], target: str | None) -> None:
        """Make the network, its first weights drawn from torch's global generator.

        The same tasks again keep a network that was trained.

        Raises:
            ConfigError: If there is no target.
        """
        require_target(target, self.name)
        if self.tasks == tuple(tasks):
            return
        self.tasks = tuple(tasks)
        self.steps = self.look_aheads = 0
        self.consistency = {name: 0.0 for name in tasks if name != target}
        self.usual = {name: 1.0 if name == target else self.mass for name in tasks}
        if self.direct:
            return
        cosines = len(self.consistency) if self.measure else 0
        self.network = WeightNetwork(1 + len(tasks) + cosines, self.hidden, self.activation)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)

    def backward(self, step: Step) -> dict[str, float]:
        """Set the gradient of the weighted losses, and learn every ``refresh`` steps.

        Raises:
            ConfigError: If there is no target, a task was not there at setup, the optimizer
                cannot be looked through, or nothing that tasks have in common may move.
            GtlError: If a loss is not finite, here or one step ahead.
        """
        target = require_target(step.target, self.name)
        losses = sound_losses(step.losses)
        if not losses.keys() - {target}:
            return weighted_backward(step, {name: float(name == target) for name in step.losses})
        self._prepare(step)
        looks = self.steps % self.refresh == 0 and target in losses
        self.steps += 1
        if looks:
            require_supported(step.optimizer)
            require_shared(step)
            self._measure_consistency(step, losses)
        if self.direct:
            weights = self._step_directly(step, losses, target, looks)
        else:
            weights = self._step_and_learn(step, losses, target, looks)
        means = torch.stack([weight.mean() for weight in weights.values()]).tolist()
        if looks:
            self.usual.update(zip(weights, means))
        return {**dict.fromkeys(step.losses, 0.0), **dict(zip(weights, means))}

    # -- the step and the look-ahead -----------------------------------------------------------

    def _step_and_learn(
        self, step: Step, losses: Mapping[str, Tensor], target: str, looks: bool
    ) -> dict[str, Tensor]:
        features = sample_features(self._seen(losses), self.tasks, self._told())
        with torch.no_grad():
            weights = self._weights(self._raw(features), losses, target)
        if looks:
            pulls = weighted_step(step, losses, weights, self.look_aheads, self._unroll())
            self.look_aheads += 1
            self._learn(features, losses, pulls, target)
        else:
            set_gradients(step, weighted_terms(losses, weights, mean_shares(losses)))
        return weights

    def _step_directly(
        self, step: Step, losses: Mapping[str, Tensor], target: str, looks: bool
    ) -> dict[str, Tensor]:
        """Without a network: look ahead from the usual weights, then weigh by what that says."""
        weights = {n: torch.full_like(v.detach(), self.usual[n]) for n, v in losses.items()}
        if looks:
            held = step.hold_back(self.look_aheads)
            self.look_aheads += 1
            shares = mean_shares(losses)
            shares[target] = without(shares[target], held)
            total = torch.stack(weighted_terms(losses, weights, shares)).sum()
            ahead = gradients(total, step.parameters)
            pulls = hypergradient(step, ahead, weights, shares, held, self._unroll())
            if self.level == "task":
                slopes = {n: -pull.sum().expand_as(pull) for n, pull in pulls.items()}
            else:
                slopes = {n: -pull / _positive(shares[n]) for n, pull in pulls.items()}
            weights = self._normalized(useful_weights(losses, slopes, target, held), target)
        set_gradients(step, weighted_terms(losses, weights, mean_shares(losses)))
        return weights

    def _unroll(self) -> int:
        return self.unroll_steps if self.look_ahead == "unrolled" else 0

    def _learn(
        self,
        features: Tensor,
        losses: Mapping[str, Tensor],
        pulls: Mapping[str, Tensor],
        target: str,
    ) -> None:
        """One step of the network down ``sum_ki dL_meta/dv_ki v_ki(phi)``."""
        raw = self._raw(features).requires_grad_()
        with torch.enable_grad():
            weights = self._weights(raw, losses, target)
            outlook = torch.stack([(pulls[name] * weights[name]).sum() for name in weights]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        if not outlook.requires_grad:
            return
        (pull,) = torch.autograd.grad(outlook, [raw])
        for rows, part in zip(features.split(_ROWS), pull.split(_ROWS)):
            with torch.enable_grad():
                self.network(rows).backward(part)
        # The size of the hyper-gradient says more about the optimizer's state than about the
        # tasks: next to nothing in Adam's first steps.
        found = [p.grad for p in self.network.parameters() if p.grad is not None]
        length = torch.linalg.vector_norm(torch.stack([g.norm() for g in found]))
        if float(length) > 0:
            for gradient in found:
                gradient /= length
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    # -- weights -------------------------------------------------------------------------------

    @torch.no_grad()
    def _raw(self, features: Tensor) -> Tensor:
        """The network's answer ``(b,)``, piece by piece: hidden layers of all samples are large."""
        return torch.cat([self.network(rows) for rows in features.split(_ROWS)])

    def _seen(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses that the network is told of: of each sample, or one mean a task."""
        if self.level == "task":
            return {name: values.mean().reshape(1) for name, values in losses.items()}
        return dict(losses)

    def _weights(self, raw: Tensor, losses: Mapping[str, Tensor], target: str) -> dict[str, Tensor]:
        """Normalized weights ``(b_k,)`` by task, of the network's answers ``(b,)`` or ``(t,)``."""
        if self.level == "task":
            pieces = [answer.expand(len(v)) for answer, v in zip(raw, losses.values())]
        else:
            pieces = list(raw.split([len(values) for values in losses.values()]))
        return self._normalized(dict(zip(losses, pieces)), target)

    def _normalized(self, weights: dict[str, Tensor], target: str) -> dict[str, Tensor]:
        if self.normalize == "target" and target in weights:
            means = torch.stack([weight.mean() for weight in weights.values()])
            mean = torch.maximum(weights[target].mean(), means.max().detach() / _LARGEST)
            return {name: weight / _positive(mean) for name, weight in weights.items()}
        if self.normalize == "auxiliary":
            means = torch.stack([w.mean() for name, w in weights.items() if name != target])
            scale = self.mass / _positive(means.mean())
            return {
                name: torch.ones_like(weight) if name == target else weight * scale
                for name, weight in weights.items()
            }
        return weights

    def _told(self) -> list[float]:
        return list(self.consistency.values()) if self.measure else []

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
            cosines = shift_consistency(own, means, nodes)
        self.consistency.update(zip(auxiliary, cosines.tolist()))

    # -- state ---------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        """Counters, cosines, last weights and the state of Adam, as plain nested values."""
        state: dict[str, Any] = {"steps": self.steps, "look_aheads": self.look_aheads}
        if self.tasks:
            state.update(consistency=dict(self.consistency), usual=dict(self.usual))
        if self.tasks and not self.direct:
            state["dtype"] = str(self.network.hidden.weight.dtype).removeprefix("torch.")
            state["adam"] = self.optimizer.state_dict()["state"]
        return state

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`get_extra_state`; :meth:`setup` comes first.

        Raises:
            ConfigError: If the state belongs to other tasks.
        """
        stored = state.get("consistency", {})
        require_same_tasks(stored, self.consistency)
        self.steps, self.look_aheads = int(state["steps"]), int(state["look_aheads"])
        if self.tasks:
            self.consistency.update(stored)
            self.usual.update(state["usual"])
        if self.tasks and not self.direct:
            self._move_to(self.network.hidden.weight.device, getattr(torch, state["dtype"]))
            load_optimizer_state(self.optimizer, state["adam"])

    def _prepare(self, step: Step) -> None:
        require_known(self, step, self.tasks)
        if not self.direct:
            example = next(iter(step.losses.values()))
            self._move_to(example.device, torch.promote_types(example.dtype, torch.float32))

    def _move_to(self, device: torch.device, dtype: torch.dtype) -> None:
        weight = self.network.hidden.weight
        if (weight.device, weight.dtype) != (device, dtype):
            self.network.to(device, dtype)
            # Loading casts the moments to where the parameters are now.
            self.optimizer.load_state_dict(self.optimizer.state_dict())


def _positive(mean: Tensor) -> Tensor:
    """The mean weight, safe to divide by when the network says zero to everything."""
    return mean.clamp(min=torch.finfo(mean.dtype).tiny)


def _require_one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise ConfigError(f"`{name}` is {value!r}, expected one of {known}")
