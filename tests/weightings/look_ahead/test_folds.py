"""Look-aheads go through the folds of the target's samples, one after the other."""

from __future__ import annotations

import pytest

from gtl.weightings import SELAR, AutoLambda, AuxTS, SLGrad

KINDS = {
    "aux_ts": lambda: AuxTS(hidden=2, refresh=2, consistency="parameters"),
    "aux_ts without a network": lambda: AuxTS(network=False, refresh=2),
    "selar": lambda: SELAR(hidden=2, refresh=2),
    "auto_lambda": lambda: AutoLambda(refresh=2),
    "slgrad": SLGrad,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_look_ahead_holds_back_the_next_fold(parabolas, kind):
    folds = []

    class Watched(parabolas):
        def hold_back(self, fold):
            folds.append(fold)
            return super().hold_back(fold)

    weighting, turns = KINDS[kind](), 6
    for _ in range(turns):
        weighting.backward(Watched({"target": [1.0, 2.0], "one": [3.0], "two": [5.0]}))
    assert folds == list(range(turns if kind == "slgrad" else turns // 2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_weighting_goes_on_with_the_next_fold(parabolas, kind):
    folds = []

    class Watched(parabolas):
        def hold_back(self, fold):
            folds.append(fold)
            return super().hold_back(fold)

    def step():
        return Watched({"target": [1.0, 2.0], "one": [3.0], "two": [5.0]})

    first, second = KINDS[kind](), KINDS[kind]()
    for weighting in (first, second):
        weighting.setup(["target", "one", "two"], "target")
    for _ in range(2):
        first.backward(step())
    second.load_state_dict(first.state_dict())
    seen = len(folds)
    second.backward(step())
    assert folds[seen:] == [seen]
