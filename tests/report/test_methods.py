"""Methods are told apart by their settings, and their titles say no more than is needed."""

from __future__ import annotations

import pytest

from gtl.report.methods import all_settings, differing, is_target_only, titles

CONFIG = {
    "command": "finetune",
    "data": "demo:shapes",
    "data_options": {"seed": 0},
    "data_checksum": "abc",
    "seed": 0,
    "versions": {"gtl": "1"},
    "encoder": {"name": "gin", "width": 8},
    "pretrained": None,
    "tasks": {},
    "weighting": {"name": "equal"},
    "lr": 0.01,
}


def _named(*changes, **more):
    """Titles of methods of one data set, each given by what it changes."""
    found = all_settings([{**CONFIG, **change} for change in changes])
    return titles([found], **more)[0]


def _tasks(*names):
    return {"tasks": {name: {"name": name} for name in names}}


def _aux(weighting="aux_ts", names=("infomax",), **options):
    return {**_tasks(*names), "weighting": {"name": weighting, **options}}


def test_data_seeds_versions_and_an_unused_weighting_make_no_method():
    other = {"data": "x", "seed": 3, "data_checksum": "d", "versions": {}, "data_options": {}}
    other |= {"data_root": "/elsewhere", "labels": {"kind": "binary", "label_names": ["a"]}}
    one, two = all_settings([CONFIG, {**CONFIG, **other, "weighting": {"name": "aux_ts"}}])
    assert one == two
    assert is_target_only(one)


def test_titles_of_the_usual_comparison():
    assert _named(
        {},
        _aux("equal"),
        _aux(),
        _aux(auxiliary_weight=1.0),
        {"pretrained": "drugs"},
        {**_aux(), "pretrained": "drugs"},
    ) == [
        "target only",
        "equal",
        "aux_ts",
        "aux_ts (auxiliary_weight=1)",
        "pre-trained",
        "pre-trained + aux_ts",
    ]


def test_a_setting_that_all_methods_share_is_not_told():
    assert _named(_aux(auxiliary_weight=1.0), {}) == ["aux_ts", "target only"]
    assert _named({"lr": 0.5}, _aux() | {"lr": 0.5}) == ["target only", "aux_ts"]


def test_the_value_of_most_methods_goes_without_saying():
    assert _named({}, _aux("equal"), _aux() | {"lr": 0.5}) == [
        "target only",
        "equal",
        "aux_ts (lr=0.5)",
    ]


def test_without_a_majority_every_value_is_told():
    wide = {"encoder": {"name": "gin", "width": 16}}
    assert _named({}, wide) == ["target only (width=8)", "target only (width=16)"]
    gcn = {"encoder": {"name": "gcn", "width": 8}}
    assert _named({}, gcn, {**gcn, "lr": 1.0}, {"lr": 1.0}) == [
        "target only (gin, lr=0.01)",
        "target only (gcn, lr=0.01)",
        "target only (gcn, lr=1)",
        "target only (gin, lr=1)",
    ]


def test_options_of_different_parts_are_not_compared():
    assert _named(_aux("gradnorm", alpha=1.5), _aux("dwa", temperature=2.0)) == ["gradnorm", "dwa"]


def test_an_option_that_is_called_like_another_is_told_with_its_part():
    assert _named(_aux(), _aux(lr=0.5)) == ["aux_ts", "aux_ts (weighting.lr=0.5)"]
    warm = {"tasks": {"infomax": {"name": "infomax", "heat": 2.0}}, "weighting": {"name": "aux_ts"}}
    assert _named(_aux(), warm) == ["aux_ts", "aux_ts (heat=2)"]


def test_sets_of_tasks_are_told_by_the_shorter_side():
    names = ("a", "b", "c", "d", "e")
    assert _named(
        _aux(names=names), _aux(names=("a",)), _aux(names=("a", "b")), _aux(names="abce")
    ) == [
        "aux_ts (all 5 tasks)",
        "aux_ts (a)",
        "aux_ts (a + b)",
        "aux_ts (all but d)",
    ]
    assert _named(_aux(names="ab"), _aux("equal", names="ab"), _aux(names="ba")) == [
        "aux_ts",
        "equal",
        "aux_ts",
    ]


def test_the_seed_in_the_name_of_a_pre_training_run_is_not_its_method():
    each = all_settings([{**CONFIG, "seed": s, "pretrained": f"drugs-{s}"} for s in (0, 1, 12)])
    assert {method["pretrained"] for method in each} == {"drugs"}
    bare = all_settings([{**CONFIG, "seed": s, "pretrained": f"seed-{s}"} for s in (0, 1, 12)])
    assert len({method["pretrained"] for method in bare}) == 1
    one = all_settings([{**CONFIG, "seed": s, "pretrained": "drugs-1"} for s in (0, 1, 12)])
    assert {method["pretrained"] for method in one} == {"drugs-1"}
    sizes = all_settings([{**CONFIG, "seed": 1, "pretrained": f"drugs-{n}"} for n in (10, 100)])
    assert [method["pretrained"] for method in sizes] == ["drugs-10", "drugs-100"]


def test_pre_training_runs_are_named_where_there_are_several():
    assert _named({"pretrained": "drugs"}, {"pretrained": "papers"} | _aux(), {}) == [
        "pre-trained (drugs)",
        "pre-trained (papers) + aux_ts",
        "target only",
    ]


def test_a_part_with_the_seed_of_its_run_is_one_method():
    draws = [{**CONFIG, "seed": s, **_aux("random_fixed", seed=s)} for s in (1, 2)]
    one, two = all_settings(draws)
    assert one == two


def test_a_method_is_called_the_same_on_every_data_set():
    default, heavier, longer = all_settings(
        [
            {**CONFIG, **_aux()},
            {**CONFIG, **_aux(auxiliary_weight=1.0)},
            {**CONFIG, **_aux(), "epochs": 90},
        ]
    )
    assert titles([[default, heavier], [heavier]]) == [
        ["aux_ts", "aux_ts (auxiliary_weight=1)"],
        ["aux_ts (auxiliary_weight=1)"],
    ]
    assert titles([[default], [longer]]) == [["aux_ts"], ["aux_ts"]]
    assert differing({"aux_ts": [default, longer]}) == ["epochs"]


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "true"), (None, "none"), ([1, 2], "[1, 2]"), (1e-5, "1e-05")]
)
def test_values_of_any_kind_are_told(value, shown):
    assert _named(_aux(), _aux(gate=value)) == ["aux_ts", f"aux_ts (gate={shown})"]


FORECAST = {
    **{key: CONFIG[key] for key in ("data", "data_options", "seed", "encoder", "lr")},
    "command": "forecast",
    "adapter": None,
    "memory": None,
    "frozen": False,
    "history": 12,
    "horizons": [1, 3],
    "head": {"name": "linear"},
}
LAST_VALUE = {**FORECAST, "baseline": "last_value", "frozen": None, "head": None, "lr": None}
LAST_VALUE["encoder"] = None


def _forecasts(*changes):
    return titles([all_settings([{**FORECAST, **change} for change in changes])])[0]


def test_forecasts_are_named_by_encoder_adapter_and_memory_or_baseline():
    adapted = {"adapter": [{"name": "spatio_temporal", "history": 12}], "frozen": True}
    gru = {"memory": "gru", "frozen": True, "adapter": []}
    assert _forecasts(LAST_VALUE, {}, adapted, gru, {**gru, **adapted}) == [
        "last_value",
        "gin",
        "gin + spatio_temporal",
        "gin + gru",
        "gin + spatio_temporal + gru",
    ]


def test_other_settings_of_forecasts_follow_in_brackets_where_they_differ():
    slow, whole = {"lr": 0.5}, {"memory": "gru", "frozen": False}
    wide = {"encoder": {"name": "gcn", "width": 16}}
    assert _forecasts(LAST_VALUE, {}, {"history": 3}, {**LAST_VALUE, "history": 3}) == [
        "last_value (history=12)",
        "gin (history=12)",
        "gin (history=3)",
        "last_value (history=3)",
    ]
    assert _forecasts(LAST_VALUE, {}, {}, slow) == ["last_value", "gin", "gin", "gin (lr=0.5)"]
    assert _forecasts({}, whole, wide) == ["gin", "gin + gru (frozen=false)", "gcn"]
    frozen = {"adapter": [], "frozen": True}
    assert _forecasts({}, {}, frozen) == ["gin", "gin", "gin (frozen=true)"]


def test_a_forecast_is_no_target_only_run():
    assert is_target_only(*all_settings([CONFIG]))
    assert not is_target_only(*all_settings([FORECAST]))
    assert not is_target_only(*all_settings([LAST_VALUE]))


def test_adapters_are_named_and_their_options_where_they_differ():
    small, large = ({"adapter": [{"name": "lora", "rank": rank}]} for rank in (2, 8))
    both = {"adapter": {"old": [{"name": "film"}], "new": [{"name": "film"}, {"name": "prompt"}]}}
    assert _named({"adapter": None}, {"adapter": []}, small, large, both) == [
        "target only",
        "target only (head alone)",
        "target only (lora, rank=2)",
        "target only (lora, rank=8)",
        "target only (film + prompt)",
    ]


def test_settings_of_federated_runs_and_of_others_are_not_compared():
    plain = {"tasks": (), "epochs": 3, "patience": 0}
    federated = {"tasks": (), "local_epochs": 1, "rounds": 5}
    longer = {**federated, "rounds": 9}
    assert titles([[plain, federated]]) == [["target only", "federated"]]
    assert titles([[plain, federated, longer]])[0][0] == "target only"
    assert titles([[plain, federated, longer]])[0][1:] == [
        "federated (rounds=5)",
        "federated (rounds=9)",
    ]
