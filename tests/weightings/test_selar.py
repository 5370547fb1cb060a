from __future__ import annotations

import pytest
import torch

from gtl.catalog import WEIGHTINGS
from gtl.errors import ConfigError
from gtl.weightings import SELAR, AuxTS


def test_it_is_aux_ts_without_cosines_and_normalized_by_the_target(problem):
    found = []
    same = {"hidden": 7, "lr": 0.01, "refresh": 1}
    bare = {"normalize": "target", "consistency": None, "permutation_test": False}
    for kind in (SELAR(**same), AuxTS(**same, **bare)):
        setting = problem("noisy")
        optimizer = torch.optim.Adam(setting.model.parameters(), lr=1e-2)
        torch.manual_seed(3)
        kind.setup(list(setting.model.tasks), "target")
        found.append([])
        for turn in range(4):
            torch.manual_seed(turn)
            found[-1].append(kind.backward(setting.step(optimizer)))
            optimizer.step()
    assert found[0] == found[1]
    assert found[0][-1]["target"] == pytest.approx(1.0)
    assert kind.consistency == {}


def test_noise_falls_below_a_useful_task(useful_and_noise):
    torch.manual_seed(9)
    weighting = SELAR(hidden=100, lr=1e-2)
    seen = [weighting.backward(step) for step in useful_and_noise(60, seed=1)]
    useful, noise = (sum(w[name] for w in seen[-20:]) / 20 for name in ("useful", "noise"))
    assert noise < 0.5 * useful


def test_its_name_and_options_are_its_own():
    part = SELAR(hidden=50)
    assert WEIGHTINGS.spec(part) == {"name": "selar", "hidden": 50}
    with pytest.raises(ConfigError, match="hidden"):
        SELAR(hidden=0)
