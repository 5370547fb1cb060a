"""Every registered task obeys the laws, and each law catches a task that breaks it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gtl.catalog import TASKS
from gtl.encoders import GIN
from gtl.errors import ConfigError, GtlError, LawError
from gtl.roles import Task, View
from gtl.testing import MOLECULES, POINTS, TASK_LAWS, Example, check_task


def supervised(links=None, **example):
    options = {"kind": example["kind"], "outputs": example["outputs"], "links": links}
    return {"name": "supervised", **options}, [Example(**example)]


def knowledge(example, **options):
    part = {"name": "knowledge_consistency", "threshold": 0.95, **options}
    return lambda: other_source(part, example.schema), [example]


CLASSES = [Example(POINTS, level="node", kind="multiclass", outputs=3)]

# Tasks that cannot be built without options, or are worth trying with several.
CASES: dict[str, list[tuple[object, list[Example]]]] = {
    "attribute_masking": [
        ("attribute_masking", []),
        ({"name": "attribute_masking", "rate": 0.5, "columns": None}, []),
    ],
    "edge_prediction": [
        ("edge_prediction", []),
        ({"name": "edge_prediction", "rate": 1.0, "negatives": 3}, []),
    ],
    "context_prediction": [
        ("context_prediction", []),
        ({"name": "context_prediction", "hops": 2, "inner": 1, "outer": 3, "negatives": 2}, []),
    ],
    "descriptors": [
        ({"name": "descriptors", "columns": 5}, [Example(properties={"descriptors": 5})]),
        (
            {"name": "descriptors", "property": "mine", "columns": 3, "clip": 1.0},
            [Example(properties={"mine": 3})],
        ),
    ],
    "fingerprint": [
        ({"name": "fingerprint", "columns": 7}, [Example(properties={"morgan": 7})]),
    ],
    "random_quantizer": [
        ("random_quantizer", []),
        ({"name": "random_quantizer", "rate": 1.0, "codes": 5, "hops": [1, 1], "span": 2}, []),
    ],
    "knowledge_consistency": [
        knowledge(Example()),
        knowledge(CLASSES[0], prototypes=3, weak=(0.2, 0.2)),
        knowledge(CLASSES[0], distance="cosine"),
        knowledge(Example(), distance="kl", prototypes=4),
    ],
    "representation_consistency": [
        ({"name": "representation_consistency", "threshold": None, "least": 2}, []),
        ({"name": "representation_consistency", "threshold": 1.0, "least": 2}, CLASSES),
        (
            {
                "name": "representation_consistency",
                "threshold": 1.0,
                "capacity": 5,
                "least": 2,
                "width": 6.0,
                "biased": True,
                "weak": (0.2, 0.2),
            },
            [],
        ),
    ],
    "pseudo_label": [
        ({"name": "pseudo_label", "threshold": 0.3}, []),
        ({"name": "pseudo_label", "threshold": 0.34, "strong": (0.4, 0.4), "weak": (0.1, 0)}, []),
    ],
    "mean_teacher": [
        ("mean_teacher", []),
        ("mean_teacher", [Example(kind="regression", outputs=3)]),
    ],
    "supervised": [
        supervised(kind="binary", outputs=2),
        supervised(kind="regression", outputs=3),
        supervised(kind="multiclass", outputs=3),
        supervised(kind="multiclass", outputs=3, schema=POINTS, level="node"),
        supervised(kind="binary", outputs=5, schema=POINTS, level="node"),
        supervised(kind="binary", outputs=1, schema=POINTS, level="edge"),
        supervised(
            {"negatives": 2, "corrupt": "one", "features": "l2", "remove": False},
            kind="binary",
            outputs=1,
            level="edge",
        ),
    ],
}


def reversed_from_the_start(name, **options):
    return {"name": name, "alpha": None, **options}, []


# The first case has the schedule: no gradient is reversed at the start. Others have no schedule.
CASES |= {
    "dann": [("dann", []), reversed_from_the_start("dann", layers=2, warmup=3)],
    "cdan": [
        ("cdan", []),
        reversed_from_the_start("cdan"),
        reversed_from_the_start("cdan", entropy=True),
    ],
    "mdd": [("mdd", []), reversed_from_the_start("mdd", strength=1.0, margin=2.0)],
    "dsn": [
        reversed_from_the_start("dsn"),
        reversed_from_the_start("dsn", rows=3, reconstruction=1.0),
        ({"name": "dsn", "similarity": "mmd", "difference": 1.0}, []),
    ],
    "wdgrl": [("wdgrl", []), ({"name": "wdgrl", "steps": 2, "layers": 2, "penalty": 0.0}, [])],
    "adda": [
        ("adda", []),
        ({"name": "adda", "steps": 2}, [Example(kind="regression", outputs=3)]),
    ],
    "mcd": [("mcd", []), ({"name": "mcd", "num_k": 1, "layers": 0}, CLASSES)],
    "mk_mmd": [("mk_mmd", []), ({"name": "mk_mmd", "rows": 3, "biased": True}, [])],
    "target_entropy": [
        ("target_entropy", []),
        ({"name": "target_entropy", "rise": 0.0, "strength": 1.0}, []),
    ],
}


# Laws that cannot hold: a penalty of the weights reaches no vectors, and a distance to the encoder
# before training, or to a teacher that equals the model, is zero there. So is a factor that rises
# with the progress of the training.
SKIPPED = {
    "l2_sp": {"losses_reach_the_node_vectors"},
    "interpolation_consistency": {"ten_steps_lower_the_loss"},
    "delta": {"losses_reach_the_node_vectors", "ten_steps_lower_the_loss"},
    **{f"{name}-0": {"losses_reach_the_node_vectors"} for name in ("dann", "cdan", "mdd")},
    "target_entropy-0": {"losses_reach_the_node_vectors", "ten_steps_lower_the_loss"},
}


def other_source(name, schema):
    encoder = GIN(schema, width=6, depth=1, norm=None)
    return TASKS.build(name).against(encoder)


def cases():
    for name in TASKS.names():
        for i, (part, examples) in enumerate(CASES.get(name, [(name, [])])):
            skip = SKIPPED.get(f"{name}-{i}", SKIPPED.get(name, ()))
            yield pytest.param(part, examples, skip, id=f"{name}-{i}" if i else name)


@pytest.mark.parametrize(("part", "examples", "skip"), list(cases()))
def test_a_task_obeys_the_laws(part, examples, skip):
    task = part() if callable(part) else TASKS.build(part)
    check_task(task, examples, skip=skip) if examples else check_task(task, skip=skip)


# -- the laws themselves -------------------------------------------------------------------------


class Good(Task):
    """Squared error of a noisy copy of the first feature, and of a memory of the vectors."""

    def build(self, schema, width):
        self.map = nn.Linear(width, 1)
        self.register_buffer("memory", torch.zeros(width))

    def view(self, batch, rng):
        graph = batch.source
        x = graph.x[:, 0]
        noise = torch.randn(len(x), generator=rng, dtype=torch.float64).to(self.map.weight)
        return View(graph, {"values": torch.sin(x.to(noise)) + 0.1 * noise})

    def losses(self, nodes, view):
        losses = (self.map(nodes).squeeze(1) - view.targets["values"]).square()
        losses = losses + 1e-3 * (nodes @ self.memory.clone()).square()
        with torch.no_grad():
            self.memory.mul_(0.9).add_(nodes.sum(0) / max(len(nodes), 1))
        return losses


class MeanLoss(Good):
    def losses(self, nodes, view):
        return super().losses(nodes, view).mean()


class Detached(Good):
    def losses(self, nodes, view):
        return super().losses(nodes.detach(), view)


class WritesIntoTheGraph(Good):
    def view(self, batch, rng):
        batch.graph.x[0] = 0
        return super().view(batch, rng)


class PointsOutside(Good):
    def view(self, batch, rng):
        graph = batch.graph
        outside = graph.replace(dst=graph.dst + graph.num_nodes)
        return View(outside, super().view(batch, rng).targets)


class IgnoresTheSeed(Good):
    calls = itertools.count()

    def view(self, batch, rng):
        return super().view(batch, torch.Generator().manual_seed(next(self.calls)))


class DrawsGlobally(Good):
    def view(self, batch, rng):
        torch.rand(1)
        return super().view(batch, rng)


class DividesByTheEdges(Good):
    def losses(self, nodes, view):
        return super().losses(nodes, view) / view.graph.num_edges


class DividesByTheNorm(Good):
    def losses(self, nodes, view):
        length = nodes.norm(dim=1)
        return super().losses(nodes, view) * length / length


class StartsAfresh(Good):
    """Replaces the final `setup` behind the back of the role."""


StartsAfresh.setup = lambda self, schema, width: self.build(schema, width)


class RemembersInAnAttribute(Good):
    factor = 1.0

    def losses(self, nodes, view):
        self.factor += 0.1
        return super().losses(nodes, view) * self.factor


class Climbs(Good):
    def losses(self, nodes, view):
        losses = super().losses(nodes, view)
        return 2 * losses.detach() - losses


class WrongSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values**3

    @staticmethod
    def backward(ctx, grad):
        (values,) = ctx.saved_tensors
        return 3 * values.detach() ** 2 * grad


class Fused(Good):
    def losses(self, nodes, view):
        return super().losses(nodes, view) + WrongSecondDerivative.apply(nodes).sum(1)


class KeepsWeightsToItself(Good):
    def build(self, schema, width):
        super().build(schema, width)
        self.hidden = [nn.Parameter(torch.randn(width))]

    def losses(self, nodes, view):
        losses = super().losses(nodes, view)
        with torch.no_grad():
            self.hidden[0].add_(0.1)
        return losses + (nodes @ self.hidden[0].to(nodes)).square()


class KeepsItsScheduleToItself(Good):
    share = 0.0

    def losses(self, nodes, view):
        return (1 + self.share) * super().losses(nodes, view)

    def after_step(self, model, progress):
        self.share = progress


BROKEN = {
    "one_finite_loss_per_sample": MeanLoss,
    "losses_reach_the_node_vectors": Detached,
    "a_view_leaves_the_batch_as_it_was": WritesIntoTheGraph,
    "a_view_is_a_valid_graph": PointsOutside,
    "one_seed_gives_one_view": IgnoresTheSeed,
    "randomness_comes_from_the_generator": DrawsGlobally,
    "corner_graphs_are_accepted": DividesByTheEdges,
    "large_and_zero_vectors_stay_finite": DividesByTheNorm,
    "setup_twice_keeps_the_parameters": StartsAfresh,
    "a_replay_leaves_no_trace": RemembersInAnAttribute,
    "ten_steps_lower_the_loss": Climbs,
    "derivatives_are_true": Fused,
    "saving_and_loading_changes_nothing": KeepsWeightsToItself,
    "a_training_that_is_saved_goes_on_the_same": KeepsItsScheduleToItself,
}
NAMES = [law.__name__ for law in TASK_LAWS]


def test_a_task_that_does_everything_right_passes():
    check_task(Good())


def test_each_law_has_a_task_that_breaks_it():
    assert list(BROKEN) == NAMES


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_task_is_caught(law):
    with pytest.raises(LawError, match=f"{BROKEN[law].__name__}.*`{law}`"):
        check_task(BROKEN[law](), skip=set(NAMES) - {law})


class ForgetsTypes(Good):
    def view(self, batch, rng):
        bare = batch.graph.replace(node_type=None, edge_type=None)
        return View(bare, super().view(batch, rng).targets)


def test_a_view_that_loses_the_types_is_caught():
    with pytest.raises(LawError, match=r"`a_view_is_a_valid_graph`.*without `node_type`"):
        check_task(ForgetsTypes(), skip=set(NAMES) - {"a_view_is_a_valid_graph"})


class WritesIntoItsOwnData(Good):
    def view(self, batch, rng):
        if batch.own is not None:
            batch.own.x[0] = 0
        return super().view(batch, rng)


def test_a_view_that_changes_the_own_data_is_caught():
    law = "a_view_leaves_the_batch_as_it_was"
    with pytest.raises(LawError, match=f"`{law}`.*`x` of a graph of the batch changed"):
        check_task(WritesIntoItsOwnData(), skip=set(NAMES) - {law})


class KeepsASlowAverage(Good):
    """Keeps an average of the encoder's weights and a schedule, both in buffers."""

    def build(self, schema, width):
        super().build(schema, width)
        self.register_buffer("average", torch.zeros(width, width))
        self.register_buffer("share", torch.zeros(()))

    def after_step(self, model, progress):
        self.average.lerp_(model.encoder.own.weight.detach(), 0.1)
        self.share.fill_(progress)

    def losses(self, nodes, view):
        change = nodes @ self.average.clone() * self.share.clone()
        return super().losses(nodes, view) + change.square().sum(1)


def test_a_task_with_a_slow_average_and_a_schedule_obeys_the_laws():
    check_task(KeepsASlowAverage())


def test_the_task_that_is_checked_stays_as_it_was():
    task = Good()
    check_task(task)
    assert not hasattr(task, "map")


def test_checking_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    check_task(Good(), skip=set(NAMES[:-2]))
    assert torch.equal(before, torch.get_rng_state())


class OnlyMolecules(Good):
    def build(self, schema, width):
        if schema.edge is None:
            raise ConfigError("needs edge features")
        super().build(schema, width)


def test_a_task_may_refuse_one_kind_of_data():
    check_task(OnlyMolecules())


def test_a_task_may_not_refuse_everything():
    with pytest.raises(LawError, match=r"refuses every example.*needs edge features"):
        check_task(OnlyMolecules(), [Example(POINTS)])


def test_a_law_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(ConfigError, match="'gravity', which is no law"):
        check_task(Good(), [Example(MOLECULES)], skip={"gravity"})


def test_a_broken_law_is_an_error_of_ours_and_an_assertion():
    assert issubclass(LawError, GtlError) and issubclass(LawError, AssertionError)
