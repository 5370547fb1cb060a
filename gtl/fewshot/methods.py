"""Few-shot methods that fit or train a head on frozen features.

Those of :mod:`gtl.fewshot.adaptive` change the encoder too. A new method derives from
:class:`gtl.roles.FewShotMethod` and is a line in :data:`gtl.catalog.FEW_SHOT_METHODS`, or is
registered with ``@gtl.register_few_shot_method("my_method")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gtl.catalog import FEW_SHOT_METHODS
from gtl.errors import ConfigError
from gtl.fewshot.class_graphs import graph_for
from gtl.fewshot.kgtn_episodes import train_by_episodes
from gtl.fewshot.problem import Problem, head_for, imprint, train_head
from gtl.roles import FewShotMethod, Scorer

TRAININGS = ("episodes", "joint")


class Linear(FewShotMethod):
    """The head ``linear``, trained on the frozen features.

    Args:
        decay: Weight of the squared length of its matrix.
        steps: Steps of L-BFGS at most.
    """

    def __init__(self, decay: float = 1e-3, steps: int = 100):
        self.decay, self.steps = decay, steps

    def fit(self, problem: Problem) -> Scorer:
        """Minimize weighted cross-entropy."""
        head = head_for(problem, "linear")
        return train_head(head, problem, lambda: self.decay * _squares(head.map.weight), self.steps)


class Cosine(FewShotMethod):
    """The head ``cosine``: weights imprinted (Qi et al. 2018), then trained.

    Args:
        scale: What cosines are multiplied with to begin with.
        decay: Weight of the squared scale, which few samples would let grow without bound.
        steps: Steps of L-BFGS at most; 0 leaves the weights as they were imprinted.
    """

    def __init__(self, scale: float = 10.0, decay: float = 1e-4, steps: int = 100):
        self.scale, self.decay, self.steps = scale, decay, steps

    def fit(self, problem: Problem) -> Scorer:
        """Imprint, then minimize weighted cross-entropy."""
        head = head_for(problem, {"name": "cosine", "scale": self.scale})
        imprint(head.weight, problem)
        return train_head(head, problem, lambda: self.decay * _squares(head.scale), self.steps)


class Prototype(FewShotMethod):
    """The head ``prototype``, fitted: nearness to class means (Snell et al. 2017).

    Args:
        similarity: ``"euclidean"`` or ``"cosine"``.
        scale: Of cosines.
    """

    def __init__(self, similarity: str = "euclidean", scale: float = 10.0):
        self.options = {"similarity": similarity, "scale": scale}

    def fit(self, problem: Problem) -> Scorer:
        """Take the mean of each class."""
        return head_for(problem, {"name": "prototype", **self.options}).fit(*problem.samples)


class Gaussian(FewShotMethod):
    """The head ``gaussian``, fitted: the heads of FiT without training (Shysheya et al. 2023).

    Args:
        kind: ``"lda"``, ``"qda"`` or ``"proto"``.
        task: What the shared covariance is about, ``"total"`` or ``"within"``.
        prior: ``"uniform"`` or ``"empirical"``.
        shrinkage: Weights of the covariances; the head's own by default.
    """

    def __init__(
        self,
        kind: str = "lda",
        task: str = "total",
        prior: str = "uniform",
        shrinkage: list[float] | None = None,
    ):
        self.options = {"kind": kind, "task": task, "prior": prior, "shrinkage": shrinkage}

    def fit(self, problem: Problem) -> Scorer:
        """Take means and covariances."""
        return head_for(problem, {"name": "gaussian", **self.options}).fit(*problem.samples)


class Shrinkage(FewShotMethod):
    """The head ``shrinkage``, fitted: class means that borrow from related classes.

    Args:
        graph: The graph of classes, as for ``kgtn``.
        strength: Share of the spread of classes that follows the graph; the likeliest by default.
        metric: ``"within"`` or ``"plain"``.
    """

    def __init__(self, graph: Any = "given", strength: float | None = None, metric: str = "within"):
        self.graph = graph
        self.options = {"strength": strength, "metric": metric}

    def fit(self, problem: Problem) -> Scorer:
        """Posterior means of the classes."""
        graphs = graph_for(self.graph, problem).graph()
        head = head_for(problem, {"name": "shrinkage", "graphs": graphs, **self.options})
        return head.fit(*problem.samples)


class KGTN(FewShotMethod):
    """The head ``kgtn``, trained on pseudo-novel base classes, or as published.

    Args:
        graph: The graph that weights travel along: ``"given"``, a control (``"identity"``,
            ``"uniform"``, or ``"random"`` with as many edges as the given one), ``"prototypes"``
            (each class receives messages from the 10 whose training samples have the nearest
            means), or a :class:`gtl.data.CategoryGraph`.
        training: ``"episodes"`` (:func:`gtl.fewshot.kgtn_episodes.train_by_episodes`) or
            ``"joint"``: base and novel classes together, as published.
        self_weight: Weight of the messages of a class to itself, 2 in the paper; ``None`` leaves
            the graph as it is.
        episodes: Steps of training by episodes.
        decay: Weight of the head's regularizer in joint training, 0.001 in the paper.
        steps: Steps of L-BFGS at most in joint training.
        head: Options of the head in joint training, such as ``{"classifier": "cosine"}``.
    """

    def __init__(
        self,
        graph: Any = "given",
        training: str = "episodes",
        self_weight: float | None = None,
        episodes: int = 20,
        decay: float = 1e-3,
        steps: int = 50,
        head: Mapping[str, Any] | None = None,
    ):
        if training not in TRAININGS:
            known = ", ".join(TRAININGS)
            raise ConfigError(f"`training` is {training!r}, expected one of: {known}")
        self.graph, self.training, self.self_weight = graph, training, self_weight
        self.episodes, self.head = episodes, dict(head or {})
        self.decay, self.steps = decay, steps

    def fit(self, problem: Problem) -> Scorer:
        """Start at the closed form and learn from episodes, or minimize the joint loss."""
        graph = graph_for(self.graph, problem)
        if self.self_weight is not None:
            graph = graph.with_self_weight(self.self_weight)
        if self.training == "joint":
            head = head_for(problem, {"name": "kgtn", "graphs": graph.graph(), **self.head})
            return train_head(head, problem, lambda: self.decay * head.regularizer(), self.steps)
        how = {"name": "kgtn", "classifier": "cosine", "metric": True}
        head = head_for(problem, {**how, "graphs": graph.normalized().graph()})
        closed = head_for(problem, {"name": "shrinkage", "graphs": graph.graph()})
        few, rng = problem.novel, problem.rng
        return train_by_episodes(head, closed, *problem.samples, few, rng, episodes=self.episodes)


def as_methods(methods: Any) -> dict[str, FewShotMethod]:
    """Methods by title: the title given, or the name and the options, if there are any.

    Args:
        methods: Names, mappings with options, or instances; or a mapping of titles to such.

    Raises:
        UnknownPartError: If a name is not registered.
        ConfigError: If there are none, one is no method, or two have the same title.
    """
    if isinstance(methods, Mapping) and "name" not in methods:
        named = [(str(title), FEW_SHOT_METHODS.build(part)) for title, part in methods.items()]
    else:
        one = isinstance(methods, (str, Mapping, FewShotMethod))
        parts = [FEW_SHOT_METHODS.build(part) for part in ([methods] if one else methods)]
        named = [(_title(method), method) for method in parts]
    if not named:
        raise ConfigError(f"`methods` is empty; known: {', '.join(FEW_SHOT_METHODS.names())}")
    for title, method in named:
        if not isinstance(method, FewShotMethod):
            raise ConfigError(
                f"the method {title!r} is a {type(method).__name__}, expected a name, a mapping or "
                "a gtl.fewshot.methods.FewShotMethod"
            )
    built = dict(named)
    if len(built) < len(named):
        twice = next(title for title, method in named if built[title] is not method)
        raise ConfigError(
            f"the method {twice!r} is there twice; give each once, or as a mapping of titles"
        )
    return built


def _title(method: Any) -> str:
    options = {key: value for key, value in FEW_SHOT_METHODS.spec(method).items() if key != "name"}
    words = [
        value if isinstance(value, str) else f"{key}={value}" for key, value in options.items()
    ]
    return ", ".join([FEW_SHOT_METHODS.name_of(method), *words])


def _squares(x: Tensor) -> Tensor:
    return x.square().sum()
