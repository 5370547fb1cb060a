"""Labels of a data set are matched with those of a model by name, never by position alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import gtl
from gtl.errors import DataError
from gtl.train.labels import LabelNames

GIN = {"name": "gin", "width": 16, "depth": 2}


def labeled(shapes, labels, **fields):
    return replace(shapes, labels=labels, kind="", metric="", **fields)


def classes(shapes, numbers, names):
    return labeled(shapes, torch.tensor(numbers), class_names=tuple(names))


def columns(shapes, values, names, kind=""):
    return replace(
        labeled(shapes, torch.tensor(values, dtype=torch.float32), label_names=tuple(names)),
        kind=kind,
    )


@pytest.fixture
def three(shapes):
    """Sixty items of three classes with names."""
    return classes(shapes, [i % 3 for i in range(60)], ["acid", "base", "neutral"])


def test_classes_numbered_anew_in_another_file_keep_their_names(shapes, three):
    known = LabelNames.of(three)
    other = classes(shapes, [i % 2 for i in range(60)], ["base", "neutral"])
    found = known.aligned(other).labels
    assert found[:4].tolist() == [1, 2, 1, 2]


def test_a_file_of_two_of_the_classes_read_as_binary_is_judged_by_class(shapes, three):
    known = LabelNames.of(three)
    other = labeled(shapes, torch.arange(60).remainder(2).float().unsqueeze(1))
    other = replace(other, class_names=("base", "neutral"))
    found = known.aligned(other)
    assert found.labels[:4].tolist() == [1, 2, 1, 2]
    assert found.metric == "acc"


def test_missing_classes_stay_missing(shapes, three):
    numbers = [-1, *[i % 3 for i in range(59)]]
    found = LabelNames.of(three).aligned(classes(shapes, numbers, ["neutral", "acid", "base"]))
    assert found.labels[:4].tolist() == [-1, 2, 0, 1]


def test_an_unknown_class_is_refused_by_name(shapes, three):
    other = classes(shapes, [i % 2 for i in range(60)], ["base", "salt"])
    with pytest.raises(DataError, match=r"classes 'salt', which the model was not trained on"):
        LabelNames.of(three).aligned(other)


def test_columns_in_another_order_or_a_subset_of_them_are_found_by_name(shapes):
    known = LabelNames.of(columns(shapes, [[0, 1], [1, 0]] * 30, ["acid", "base"]))
    swapped = columns(shapes, [[1, 0], [0, 1]] * 30, ["base", "acid"])
    assert known.aligned(swapped).columns.tolist() == [1, 0]
    one = columns(shapes, [[1], [0]] * 30, ["base"])
    assert known.aligned(one).columns.tolist() == [1]


def test_an_unknown_column_is_refused_by_name(shapes):
    known = LabelNames.of(columns(shapes, [[0, 1], [1, 0]] * 30, ["acid", "base"]))
    with pytest.raises(DataError, match=r"label columns 'salt'.*it predicts 'acid', 'base'"):
        known.aligned(columns(shapes, [[1], [0]] * 30, ["salt"]))


def test_without_names_the_number_of_columns_must_agree(shapes):
    known = LabelNames.of(columns(shapes, [[0, 1], [1, 0]] * 30, []))
    with pytest.raises(DataError, match="1 columns of labels, the model has 2 outputs"):
        known.aligned(columns(shapes, [[1], [0]] * 30, []))


@pytest.mark.parametrize("kinds", [("binary", "regression"), ("regression", "binary")])
def test_labels_of_another_kind_are_refused(shapes, kinds):
    values = {"binary": [[0.0], [1.0]] * 30, "regression": [[0.5], [1.5]] * 30}
    trained, asked = (columns(shapes, values[kind], ["y"]) for kind in kinds)
    with pytest.raises(DataError, match=rf"{kinds[1]} labels.*trained on {kinds[0]} ones"):
        LabelNames.of(trained).aligned(asked)


def test_the_class_that_is_1_may_differ_between_files(shapes):
    known = LabelNames.of(
        replace(columns(shapes, [[0], [1]] * 30, ["y"]), class_names=("no", "yes"))
    )
    other = replace(columns(shapes, [[0], [1]] * 30, ["y"]), class_names=("yes", "no"))
    assert known.aligned(other).labels[:2, 0].tolist() == [1, 0]


def test_names_survive_a_run_folder(shapes, three, tmp_path):
    model = gtl.finetune(GIN, three, epochs=1, out=tmp_path / "run")
    loaded = gtl.Model.load(tmp_path / "run")
    assert loaded.labels == model.labels == LabelNames.of(three)
    assert loaded.labels.outputs_by_name() == ["acid", "base", "neutral"]


def test_evaluation_does_not_depend_on_the_order_of_classes_in_the_file(shapes, three):
    model = gtl.finetune(GIN, three, epochs=2)
    turned = classes(shapes, [(i + 1) % 3 for i in range(60)], ["neutral", "acid", "base"])
    assert gtl.evaluate(model, turned) == gtl.evaluate(model, three)


def test_evaluation_does_not_depend_on_the_order_of_columns(shapes):
    y = torch.stack([torch.arange(60) % 2, torch.arange(60) % 3 % 2], 1).float()
    both = replace(labeled(shapes, y), label_names=("ring", "third"))
    model = gtl.finetune(GIN, both, epochs=2)
    turned = replace(labeled(shapes, y.flip(1)), label_names=("third", "ring"))
    assert gtl.evaluate(model, turned) == gtl.evaluate(model, both)


def test_data_that_changed_since_training_is_refused_unless_allowed(shapes, tmp_path):
    gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run")
    split = {**shapes.split, "train": shapes.split["test"], "test": shapes.split["train"]}
    changed = replace(shapes, split=split)
    with pytest.raises(DataError, match=r"not as it was when the model was trained.*allow_changed"):
        gtl.evaluate(tmp_path / "run", changed)
    assert gtl.evaluate(tmp_path / "run", changed, allow_changed=True)["items"] == 30
    assert gtl.evaluate(tmp_path / "run", shapes)["items"] == 15


def test_other_label_columns_of_the_same_items_are_no_change(shapes, tmp_path):
    y = torch.stack([torch.arange(60) % 2, torch.arange(60) % 3 % 2], 1).float()
    both = replace(labeled(shapes, y), label_names=("ring", "third"))
    gtl.finetune(GIN, both, epochs=1, out=tmp_path / "run")
    one = replace(labeled(shapes, y[:, 1:]), label_names=("third",))
    found = gtl.evaluate(tmp_path / "run", both, per_task=True)["tasks"]["third"]
    assert gtl.evaluate(tmp_path / "run", one)["rocauc"] == found


def test_a_training_part_without_any_label_is_refused(shapes):
    labels = shapes.labels.clone()
    labels[shapes.split["train"]] = torch.nan
    with pytest.raises(DataError, match="no item of the training split has a label"):
        gtl.finetune(GIN, replace(shapes, labels=labels), epochs=1)


def test_a_class_that_no_training_item_has_is_named(shapes):
    numbers = torch.zeros(60, dtype=torch.int64)
    numbers[shapes.split["valid"][:5]] = 1
    numbers[shapes.split["train"][:7]] = 2
    data = replace(labeled(shapes, numbers), class_names=("common", "elsewhere", "rare"))
    with pytest.warns(gtl.errors.GtlWarning, match="no training item has the class 'elsewhere'"):
        gtl.finetune(GIN, data, epochs=1)
