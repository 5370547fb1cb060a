"""Every registered weighting obeys the laws, and each law catches one that breaks it."""

from __future__ import annotations

import pytest
import torch

from gtl.catalog import WEIGHTINGS
from gtl.errors import ConfigError, LawError
from gtl.roles import Weighting
from gtl.testing import WEIGHTING_LAWS, check_weighting

# Weightings that cannot be built without options, or are worth trying with several.
CASES: dict[str, list[dict[str, object]]] = {
    "fixed": [{"weights": {}}],
    "dwa": [{}, {"window": 2}],
    "gradnorm": [{}, {"layer": "all", "alpha": 0.0}],
    "gcs": [{}, {"gate": "sign"}],
    "ol_aux": [{}, {"window": 2, "lr": 2.0, "start": 0.0}],
    "auto_lambda": [{}, {"lr": 0.1, "refresh": 2}],
    "selar": [{"hidden": 7}],
    "aux_ts": [
        {},
        {"refresh": 1, "normalize": "target"},
        {"consistency": "representation", "normalize": None, "activation": "softplus"},
        {"look_ahead": "unrolled", "refresh": 2, "consistency": None},
        {"look_ahead": "unrolled", "unroll_steps": 2},
        {"level": "task", "refresh": 1},
        {"network": False, "refresh": 2},
        {"network": False, "level": "task", "look_ahead": "unrolled"},
    ],
}


def cases():
    for name in WEIGHTINGS.names():
        for i, options in enumerate(CASES.get(name, [{}])):
            yield pytest.param(name, options, id=f"{name}-{i}" if i else name)


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_a_weighting_obeys_the_laws(name, options):
    check_weighting(WEIGHTINGS.build({"name": name, **options}))


# -- the laws themselves -------------------------------------------------------------------------


class Good(Weighting):
    """Weights that grow by a tenth each step, for the auxiliary tasks."""

    def __init__(self):
        super().__init__()
        self.register_buffer("age", torch.zeros((), dtype=torch.float64))

    def weights(self, step):
        return {
            name: 1.0 if name == step.target else 1.0 + 0.1 * float(self.age)
            for name in step.losses
        }

    def mean(self, losses):
        return losses.sum() / max(len(losses), 1)

    def backward(self, step):
        weights = self.weights(step)
        total = sum(weights[name] * self.mean(losses) for name, losses in step.losses.items())
        names = list(step.parameters)
        grads = torch.autograd.grad(
            total, [step.parameters[name] for name in names], allow_unused=True
        )
        for name, grad in zip(names, grads):
            step.parameters[name].grad = grad
        self.age += 1
        return weights


class SharedOnly(Good):
    def backward(self, step):
        weights = super().backward(step)
        for name in step.parameters:
            if name not in step.shared:
                step.parameters[name].grad = None
        return weights


class Accumulates(Good):
    def backward(self, step):
        before = {name: p.grad for name, p in step.parameters.items()}
        weights = super().backward(step)
        for name, parameter in step.parameters.items():
            if before[name] is not None and parameter.grad is not None:
                parameter.grad = parameter.grad + before[name]
        return weights


class EncodesAgain(Good):
    """Looks at other parameters without handing in copies of the buffers."""

    def backward(self, step):
        step.model(step.views)
        return super().backward(step)


class TensorWeights(Good):
    def backward(self, step):
        return {name: torch.tensor(weight) for name, weight in super().backward(step).items()}


class HalvesTheTarget(Good):
    def weights(self, step):
        return {**super().weights(step), step.target: 0.5}


class StumblesWithoutATarget(Good):
    def weights(self, step):
        return {name: float(name > step.target) for name in step.losses}


class WeighsByTheLoss(Good):
    def weights(self, step):
        return {name: float(losses.detach().mean()) for name, losses in step.losses.items()}


class FirstSampleOnly(Good):
    def mean(self, losses):
        return losses[:1].sum()


with pytest.warns(DeprecationWarning, match=r"StartsAfresh overrides `setup`.*`prepare`"):

    class StartsAfresh(Good):
        def setup(self, tasks, target):
            self.age.zero_()


class CountsInAnAttribute(Good):
    count = 0

    def weights(self, step):
        self.count += 1
        return {name: 1.0 if name == step.target else 1.0 / self.count for name in step.losses}


BROKEN = {
    "every_reached_parameter_gets_a_gradient": SharedOnly,
    "gradients_are_set_not_accumulated": Accumulates,
    "nothing_but_gradients_changes": EncodesAgain,
    "one_weight_per_task": TensorWeights,
    "without_auxiliary_tasks_it_is_plain_training": HalvesTheTarget,
    "pretraining_works_or_is_refused": StumblesWithoutATarget,
    "empty_losses_are_accepted": WeighsByTheLoss,
    "the_order_of_samples_does_not_matter": FirstSampleOnly,
    "setup_twice_keeps_the_state": StartsAfresh,
    "it_continues_from_its_state": CountsInAnAttribute,
}
NAMES = [law.__name__ for law in WEIGHTING_LAWS]


class NeedsATarget(Good):
    needs_target = True


with pytest.warns(DeprecationWarning, match="FormerContract overrides `setup`"):

    class FormerContract(Good):
        """As plug-ins were written before ``setup`` was final."""

        def setup(self, tasks, target):
            super().setup(tasks, target)
            if target is None:
                raise ConfigError("needs a target")


@pytest.mark.parametrize("weighting", [Good, NeedsATarget, FormerContract])
def test_a_weighting_that_does_everything_right_passes(weighting):
    check_weighting(weighting())


def test_each_law_has_a_weighting_that_breaks_it():
    assert list(BROKEN) == NAMES


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_weighting_is_caught(law):
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__}.*`{law}`"):
        check_weighting(BROKEN[law](), skip=set(NAMES) - {law})
