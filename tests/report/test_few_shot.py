"""Few-shot tables: means, intervals and paired differences of values known beforehand."""

from __future__ import annotations

import pytest

from gtl.errors import ConfigError
from gtl.report.compare import paired
from gtl.report.few_shot import FewShotResult

VALUES = {
    "a": {1: {"top1": [0.5, 0.6, 0.7], "top5": [0.9, 0.9, 0.9]}},
    "b": {1: {"top1": [0.6, 0.7, 0.8], "top5": [0.9, 0.9, 0.9]}},
    "c": {1: {"top1": [0.7, 0.5, 0.6], "top5": [0.9, 0.8, 0.9]}},
}


@pytest.fixture
def result():
    return FewShotResult("test:rows", "k_shot", VALUES, "a")


def test_a_mean_has_the_interval_of_its_splits(result):
    found = result.mean("a", 1)
    assert found.mean == pytest.approx(0.6)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)


def test_differences_are_taken_split_by_split(result):
    assert result.difference("b", 1) == paired({0: 0.6, 1: 0.7, 2: 0.8}, {0: 0.5, 1: 0.6, 2: 0.7})
    assert result.difference("b", 1).verdict("higher") == "better"
    assert result.difference("c", 1).verdict("higher") == ""
    assert result.difference("a", 1, reference="b").mean == pytest.approx(-0.1)


def test_tables_are_in_percent_and_mark_what_is_clear(result):
    lines = result.table().splitlines()
    assert lines[-3:] == ["a       60.0 ± 24.8", "b       70.0 ± 24.8 +", "c       60.0 ± 24.8"]
    assert "b       +10.0 ± 0.0 better" in result.table(differences=True)
    assert "top5" not in str(result)
    assert "c       86.7 ± 14.3" in result.table("top5")


def test_what_is_not_there_is_refused_with_what_is(result):
    with pytest.raises(ConfigError, match="methods: a, b, c; shots: "):
        result.mean("d", 1)
    with pytest.raises(ConfigError, match="measures: top1, top5"):
        result.mean("a", 1, "auc")


def test_one_split_has_no_interval():
    result = FewShotResult("test:rows", "k_shot", {"a": {1: {"top1": [0.5]}}}, "a")
    assert result.table().splitlines()[-1] == "a       50.0"
    assert result.to_json()["summary"]["a"]["1"]["top1"]["interval"] is None


def test_curves_are_drawn_for_one_split_and_for_many_methods(tmp_path):
    many = {f"m{i}": {1: {"top1": [0.1 * i]}, 5: {"top1": [0.2]}} for i in range(12)}
    result = FewShotResult("test:rows", "k_shot", many, "m0")
    assert result.plot(tmp_path / "curves" / "few_shot.png").stat().st_size > 1000
