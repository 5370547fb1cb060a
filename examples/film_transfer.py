"""Small personal updates: FiLM and episodes on a frozen encoder (FiT, Shysheya et al. 2023).

An encoder is pre-trained without labels. Many users have a few labels each: a task is some classes
with a few samples. Prints the mean accuracy over such tasks with its spread, the paired difference
to the first row, and the bytes of one user's update in addition to the shared encoder; class means
can be computed again from the user's own samples and are counted separately.

    python examples/film_transfer.py --data planetoid:cora --root DIR --labels 5 --tasks 10
"""

from __future__ import annotations

import argparse
import copy

import torch

import gtl
from gtl.report.compare import paired, spread
from gtl.train.episodes import update_bytes

PRETEXT = ["attribute_masking", "infomax"]
QDA = {"name": "gaussian", "kind": "qda", "task": "within"}
LDA = {"name": "gaussian", "kind": "lda", "task": "within"}
METHODS = {
    "frozen, prototype": {"head": "prototype", "episodes": 0},
    "FiLM, prototype": {"head": "prototype"},
    "frozen, LDA": {"head": LDA, "episodes": 0},
    "FiLM, LDA": {"head": LDA},
    "FiLM, QDA": {"head": QDA},
}


def main() -> None:
    """Parse the options, pre-train once, personalize, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", help="labeled nodes of one graph; one is made if this is left out"
    )
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--tasks", type=int, default=5, help="users")
    parser.add_argument("--labels", type=int, default=5, help="labeled samples of each class")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=50, help="of pre-training")
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    data = gtl.load(options.data, root=options.root) if options.data else communities()
    encoder = {"name": "gcn", "width": options.width, "depth": 2}
    shared = gtl.pretrain(encoder, data, PRETEXT, epochs=options.epochs, lr=0.01).encoder
    whole = sum(p.numel() * p.element_size() for p in shared.parameters())
    print(f"shared encoder: {whole:,} bytes, pre-trained without labels")
    first: dict[int, float] = {}
    for title, how in METHODS.items():
        scores = {}
        for task in range(options.tasks):
            model = gtl.finetune_by_episodes(
                copy.deepcopy(shared),
                data,
                items=some(data, options.labels, task),
                seed=task,
                **{"episodes": options.episodes, **how},
            )
            scores[task] = model.results["test"]
        sizes = update_bytes(model)
        sent = sizes["adapter"] if how.get("episodes") != 0 else 0
        first = first or scores
        gain = "" if scores is first else paired(scores, first).text()
        print(
            f"{title:18}  test {data.metric} {spread(scores.values()).text()}  "
            f"adapter {sent:6,} bytes, head {sizes['head']:7,}  {gain}".rstrip(),
            flush=True,
        )


def some(data: gtl.Dataset, each: int, seed: int) -> torch.Tensor:
    """``each`` labeled items of every class, from outside the test split."""
    rng = torch.Generator().manual_seed(seed)
    taken = torch.ones(len(data.labels), dtype=torch.bool)
    taken[data.split["test"]] = False
    taken[data.split.get("valid", torch.empty(0, dtype=torch.int64))] = False
    found = []
    for number in range(data.num_outputs):
        own = ((data.labels == number) & taken).nonzero().flatten()
        found.append(own[torch.randperm(len(own), generator=rng)][:each])
    return torch.cat(found)


def communities(n: int = 600, classes: int = 6, seed: int = 0) -> gtl.Dataset:
    """A graph of some communities whose nodes' features are mostly noise; needs no file."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    same = labels[:, None] == labels
    joined = torch.rand(n, n, generator=rng) < torch.where(same, 0.05, 0.01)
    upper = joined.triu(1).nonzero()
    src, dst = torch.cat([upper, upper.flip(1)]).T
    centers = torch.randn(classes, 32, generator=rng)
    x = 0.5 * centers[labels] + torch.randn(n, 32, generator=rng)
    order = torch.randperm(n, generator=rng)
    split = {"train": order[: n // 2], "test": order[n // 2 :]}
    graph = gtl.Graph(src.contiguous(), dst.contiguous(), n, x)
    return gtl.Dataset("communities", graph=graph, labels=labels, split=split, level="node")


if __name__ == "__main__":
    main()
