"""What every weighting inherits: a final setup, the check of the target, and renamed options."""

from __future__ import annotations

import inspect
import warnings

import pytest

import gtl
from gtl.catalog import WEIGHTINGS
from gtl.errors import ConfigError
from gtl.roles import Weighting
from gtl.weightings import AuxTS

NEED_A_TARGET = {"metabalance", "gcs", "ol_aux", "auto_lambda", "selar", "slgrad", "aux_ts"}


class Counting(Weighting):
    """Counts how often it is prepared."""

    def __init__(self):
        super().__init__()
        self.prepared = []

    def prepare(self, tasks, target):
        self.prepared.append((list(tasks), target))

    def backward(self, step):
        return dict.fromkeys(step.losses, 1.0)


def test_no_weighting_of_gtl_overrides_setup():
    for name in WEIGHTINGS.names():
        assert WEIGHTINGS.get(name).setup is Weighting.setup, name


def test_the_weightings_that_need_a_target_refuse_to_be_set_up_without_one():
    refused = set()
    for name in WEIGHTINGS.names():
        weighting = WEIGHTINGS.build({"name": name, **({"weights": {}} if name == "fixed" else {})})
        try:
            weighting.setup(["one", "two"], None)
        except ConfigError as error:
            refused.add(name)
            kind = type(weighting).__name__
            assert f"`target` is None, expected the name of a task: the weighting {kind}" in str(
                error
            )
            assert "weighting='equal'" in str(error)
    assert refused == NEED_A_TARGET


@pytest.mark.parametrize("name", sorted(NEED_A_TARGET))
def test_a_step_without_a_target_is_refused_too(by_hand, name):
    step = by_hand({"target": [1.0], "other": [2.0]}, target=None)
    weighting = WEIGHTINGS.build(name)
    with pytest.raises(ConfigError, match="`target` is None"):
        weighting.backward(step)
    weighting.setup(["target", "other"], "target")
    with pytest.raises(ConfigError, match=r"`step.target` is None"):
        weighting.backward(step)


def test_setup_prepares_once_for_the_same_tasks():
    weighting = Counting()
    for tasks, target in ((["a", "b"], "a"), (("a", "b"), "a"), (["a", "b"], None), (["a"], None)):
        weighting.setup(tasks, target)
    assert weighting.prepared == [(["a", "b"], "a"), (["a", "b"], None), (["a"], None)]
    assert weighting.tasks == ("a",)


def test_a_preparation_that_failed_is_tried_again():
    weighting = gtl.weightings.Fixed({"b": 1.0})
    for _ in range(2):
        with pytest.raises(ConfigError, match="'b'"):
            weighting.setup(["a"], "a")
    weighting.setup(["a", "b"], "a")
    assert weighting.tasks == ("a", "b")


def test_a_weighting_of_the_former_contract_warns_where_it_is_defined_and_trains(shapes):
    with pytest.warns(DeprecationWarning, match="Halved overrides `setup`") as seen:

        class Halved(Weighting):
            def setup(self, tasks, target):
                self.half = {name: 1.0 if name == target else 0.5 for name in tasks}

            def backward(self, step):
                sum(self.half[n] * losses.mean() for n, losses in step.losses.items()).backward()
                return dict(self.half)

    assert seen[0].filename == __file__
    model = gtl.finetune(
        {"name": "gin", "width": 8, "depth": 2},
        shapes,
        auxiliary=["infomax"],
        weighting=Halved(),
        guard=False,
        epochs=1,
    )
    assert model.history[0]["weights"]["infomax"] == 0.5


# -- mass -> auxiliary_weight ----------------------------------------------------------------------


def test_the_former_name_of_the_auxiliary_weight_warns_and_does_the_same():
    with pytest.warns(DeprecationWarning, match="`mass` of AuxTS is now called `auxiliary_weight`"):
        weighting = AuxTS(mass=[0.1, 2.0], refresh=2)
    assert weighting.arguments == {"auxiliary_weight": [0.1, 2.0], "refresh": 2}
    assert [choice.auxiliary_weight for choice in weighting.choices] == [0.1, 2.0]
    assert WEIGHTINGS.spec(weighting) == {
        "name": "aux_ts",
        "auxiliary_weight": [0.1, 2.0],
        "refresh": 2,
    }


def test_a_config_with_the_former_name_is_built():
    with pytest.warns(DeprecationWarning, match="`mass` of weighting 'aux_ts'") as seen:
        weighting = WEIGHTINGS.build({"name": "aux_ts", "mass": 0.7})
    assert len(seen) == 1
    assert weighting.auxiliary_weight == 0.7
    assert WEIGHTINGS.spec(weighting) == {"name": "aux_ts", "auxiliary_weight": 0.7}


def test_the_former_name_is_in_no_signature_and_no_help():
    assert "mass" not in inspect.signature(AuxTS).parameters
    assert "mass" not in (AuxTS.__doc__ or "")
    with warnings.catch_warnings(), pytest.raises(ConfigError) as error:
        warnings.simplefilter("error")
        WEIGHTINGS.build({"name": "aux_ts", "moss": 0.7})
    assert "auxiliary_weight" in str(error.value) and "mass" not in str(error.value)


def test_both_names_at_once_are_refused():
    for build in (
        lambda: AuxTS(mass=0.1, auxiliary_weight=0.2),
        lambda: WEIGHTINGS.build({"name": "aux_ts", "auxiliary_weight": 0.2, "mass": 0.1}),
    ):
        with (
            warnings.catch_warnings(),
            pytest.raises(ConfigError, match="give `auxiliary_weight` alone"),
        ):
            warnings.simplefilter("ignore", DeprecationWarning)
            build()


def test_usual_weights_do_not_change_between_look_aheads(parabolas):
    """The mean of single-precision copies of a weight is not exactly that weight."""
    weighting = AuxTS(network=False, refresh=3, auxiliary_weight=0.1)
    step = {"target": [1.0], "one": [3.0, 5.0, 7.0], "two": [6.0]}
    weighting.backward(parabolas(step, lr=0.01))
    usual = dict(weighting.usual)
    assert usual["one"] != usual["two"]
    for _ in range(2):
        turn = parabolas({**step, "two": [60.0]}, lr=0.01)
        turn.losses = {name: losses.float() for name, losses in turn.losses.items()}
        weighting.backward(turn)
        assert weighting.usual == usual


def test_choices_of_a_derived_class_are_of_that_class():
    class Same(AuxTS):
        pass

    class Other(AuxTS):
        def __init__(self, boost):
            super().__init__(hidden=7)
            self.boost = boost

    same = Same(hidden=9, auxiliary_weight=[0.1, 2.0])
    found = [(type(one), one.hidden, one.auxiliary_weight) for one in same.choices]
    assert found == [(Same, 9, 0.1), (Same, 9, 2.0)]
    assert not Other(boost=3.0).choices
