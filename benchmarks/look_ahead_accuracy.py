"""How accurate is the look-ahead of first order? Hyper-gradients against an exact reference.

A model with a target and four auxiliary tasks, each with a view of its own, is trained for some
steps with Adam in single precision. Then the derivative of the meta loss after the next step is
computed for the weight of every sample: by several ways in single precision, and, as reference, by
differentiation through the step (`unrolled`) in double precision, from the same parameters, moments
and views. The ways:

- `forward mode`: the derivative in the direction of the look-ahead is carried through one forward
  pass. What gtl uses;
- `difference R`: central difference of the losses at two points at a distance R. What gtl uses
  where an operation has no forward mode, and used everywhere before;
- `two radii R`: differences at R and R / 2, extrapolated (Richardson);
- `difference in float64`: the two passes in double precision, at a distance of 1e-6;
- `two backward passes`: the gradient by the weights of the gradient by the parameters.

Errors are relative: of the sum over the samples of a task (what a weight of the task would see),
the largest of all tasks, and of all samples, by their Euclidean norm. Times are those of the
derivative alone, in multiples of the forward pass of the step.

    OMP_NUM_THREADS=1 python benchmarks/look_ahead_accuracy.py --root path/to/data
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from _measure import write_results
from torch import Tensor, nn

import gtl
from gtl.encoders import GAT, GCN, GIN
from gtl.roles import View
from gtl.tasks import AttributeMasking, ContextPrediction, EdgePrediction, Infomax, Supervised
from gtl.train.step import Step, TaskModel
from gtl.weightings.gradients import gradients
from gtl.weightings.look_ahead.hypergradient import (
    central_difference,
    forward_mode,
    meta_gradient,
)
from gtl.weightings.look_ahead.optimizer_step import optimizer_step
from gtl.weightings.look_ahead.unrolled import unrolled
from gtl.weightings.look_ahead.weighted_step import mean_shares, weighted_terms, without

MOLECULES, WARM, LR, TIMED = 32, 20, 1e-3, 2
RADII = (1e-2, 1e-3, 3e-4, 1e-4, 3e-5)
CASES: dict[str, Callable[..., nn.Module]] = {
    "molbace, GIN 2 x 32": lambda schema: GIN(schema, 32, 2, dropout=0.0),
    "molbace, GIN 5 x 300": lambda schema: GIN(schema, 300, 5, dropout=0.0),
    "molbace, GAT 2 x 64": lambda schema: GAT(schema, 64, 2, dropout=0.0),
    "cora, GCN 2 x 64": lambda schema: GCN(schema, 64, 2, dropout=0.0),
}
BUDGET = 1e-3
Slopes = dict[str, Tensor]


class Setting:
    """A warm model, the views of one step, and the same in double precision."""

    def __init__(self, case: str, seed: int, root: str):
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        name = case.partition(",")[0]
        molecules = name == "molbace"
        data = gtl.load("ogb:ogbg-molbace" if molecules else "planetoid:cora", root=root)
        train = data.split["train"]
        encoder = CASES[case](data.schema)
        auxiliary = [AttributeMasking(), EdgePrediction(), Infomax()]
        auxiliary.append(ContextPrediction() if molecules else AttributeMasking(rate=0.3))
        tasks = {"target": Supervised(kind=data.kind, outputs=data.num_outputs)}
        tasks.update({type(task).__name__ + str(i): task for i, task in enumerate(auxiliary)})
        for task in tasks.values():
            task.setup(data.schema, encoder.width)
        self.model = TaskModel(encoder, tasks)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR)
        for turn in range(WARM + 1):
            index = train[torch.randperm(len(train), generator=rng)[:MOLECULES]]
            graph = data.batch(index) if molecules else data.batch(train)
            # A copy of the graph for each task: a view of its own.
            views = {n: task.view(gtl.Batch(graph.replace()), rng) for n, task in tasks.items()}
            step = Step(self.model, views, self.optimizer, "target", seed=seed)
            if turn < WARM:
                self.optimizer.zero_grad()
                torch.stack([v.mean() for v in step.losses.values()]).sum().backward()
                self.optimizer.step()
        self.views, self.seed = views, seed

    def step(self) -> Step:
        model, optimizer = self._copy()
        return Step(model, self.views, optimizer, "target", seed=self.seed)

    def double_step(self) -> Step:
        model, optimizer = self._copy()
        model.double()
        optimizer.load_state_dict(optimizer.state_dict())  # moments follow the parameters
        views = {name: as_double(view) for name, view in self.views.items()}
        return Step(model, views, optimizer, "target", seed=self.seed)

    def _copy(self) -> tuple[TaskModel, torch.optim.Adam]:
        model = copy.deepcopy(self.model)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return model, optimizer


def as_double(view: View) -> View:
    return View(
        view.graph.to(dtype=torch.float64),
        {
            name: value.double()
            if isinstance(value, Tensor) and value.is_floating_point()
            else value
            for name, value in view.targets.items()
        },
    )


# -- ways ----------------------------------------------------------------------------------------


def weights_of(step: Step) -> Slopes:
    return {
        n: torch.full_like(v.detach(), float(n == "target") or 0.3) for n, v in step.losses.items()
    }


def shares_of(step: Step, held: Tensor | None) -> Slopes:
    shares = mean_shares(step.losses)
    return {**shares, "target": without(shares["target"], held)}


def direction_of(step: Step) -> tuple[Slopes, float]:
    """Direction of the look-ahead, of length 1, and its length."""
    held = step.hold_back(0)
    terms = weighted_terms(step.losses, weights_of(step), shares_of(step, held))
    ahead = gradients(torch.stack(terms).sum(), step.parameters)
    values, jacobian = optimizer_step(step.optimizer, step.parameters, ahead)
    meta = meta_gradient(step, values, held)
    w = {name: jacobian[name] * g for name, g in meta.items()}
    length = float(torch.stack([v.norm() for v in w.values()]).norm())
    return {name: v / length for name, v in w.items()}, length


def two_radii(step: Step, w: Slopes, radius: float) -> Slopes:
    far, near = central_difference(step, w, radius), central_difference(step, w, radius / 2)
    return {name: (4 * near[name] - far[name]) / 3 for name in near}


def two_backward_passes(step: Step, w: Slopes) -> Slopes:
    ones = {n: torch.ones_like(v.detach()).requires_grad_() for n, v in step.losses.items()}
    total = torch.stack([(ones[n] * v).sum() for n, v in step.losses.items()]).sum()
    found = torch.autograd.grad(total, [step.parameters[n] for n in w], create_graph=True)
    along = torch.stack([(g * v).sum() for g, v in zip(found, w.values())]).sum()
    return dict(zip(ones, torch.autograd.grad(along, list(ones.values()))))


def ways(setting: Setting, double: Step) -> dict[str, Callable[[Step, Slopes], Slopes]]:
    def in_float64(step: Step, w: Slopes) -> Slopes:
        return central_difference(double, {n: v.double() for n, v in w.items()}, 1e-6)

    return {
        "forward mode": forward_mode,
        **{f"difference {r:g}": lambda s, w, r=r: central_difference(s, w, r) for r in RADII},
        **{f"two radii {r:g}": lambda s, w, r=r: two_radii(s, w, r) for r in RADII[:-2]},
        "difference in float64": in_float64,
        "two backward passes": two_backward_passes,
    }


# -- measuring -----------------------------------------------------------------------------------


def errors(came: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Any]:
    """Relative errors of each task's sum and of all samples."""
    by_task = {}
    for name in expected:
        total = expected[name].sum()
        by_task[name] = float((came[name].double().sum() - total).abs() / total.abs())
    a = torch.cat([came[name].double() for name in expected])
    b = torch.cat([expected[name] for name in expected])
    return {"tasks": by_task, "samples": float((a - b).norm() / b.norm())}


def measure(case: str, seed: int, root: str) -> dict[str, Any]:
    setting = Setting(case, seed, root)
    double = setting.double_step()
    held = double.hold_back(0)
    reference = unrolled(double, weights_of(double), shares_of(double, held), held)
    step = setting.step()
    w, length = direction_of(step)
    shares = shares_of(step, step.hold_back(0))
    here = {name: p.detach() for name, p in step.parameters.items()}
    forward = seconds(lambda: step.replay(here))
    found: dict[str, Any] = {}
    for name, way in ways(setting, double).items():
        times = []
        for _ in range(1 + TIMED):  # the first is for warming up
            one = setting.step() if name == "two backward passes" else step
            start = time.perf_counter()
            slopes = way(one, w)
            times.append(time.perf_counter() - start)
        taken = statistics.median(times[1:])
        pulls = {n: -shares[n] * length * slopes[n] for n in slopes}
        found[name] = {**errors(pulls, reference), "passes": taken / forward}
    return found


@torch.no_grad()
def seconds(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median over seeds of the largest error of a task and of the error over all samples."""
    table = {}
    for way in runs[0]:
        worst = [max(run[way]["tasks"].values()) for run in runs]
        samples = [run[way]["samples"] for run in runs]
        table[way] = {
            "worst task": short(statistics.median(worst)),
            "worst task, worst seed": short(max(worst)),
            "samples": short(statistics.median(samples)),
            "samples, worst seed": short(max(samples)),
            "passes": short(statistics.median(run[way]["passes"] for run in runs)),
        }
    return table


def short(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only these cases")
    parser.add_argument("--no-write", action="store_true", help="print, write no results")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = {}
    for case in options.case or CASES:
        runs = [measure(case, seed, options.root) for seed in range(options.seeds)]
        results[case] = summary(runs)
        print(case, flush=True)
        for way, row in results[case].items():
            print(f"  {way:<24}" + "  ".join(f"{k} {v:8.1e}" for k, v in row.items()), flush=True)
    if not options.no_write:
        payload = {
            "what": "relative error of hyper-gradients in float32 against float64 unrolled, Adam "
            f"after {WARM} steps, {MOLECULES} molecules, four auxiliary tasks",
            "seeds": options.seeds,
            "budget": BUDGET,
            "within_budget": {
                case: table["forward mode"]["worst task, worst seed"] <= BUDGET
                for case, table in results.items()
            },
            "results": results,
        }
        write_results("look_ahead_accuracy", payload)


if __name__ == "__main__":
    main()
