"""Hints: the nearest name, whatever its case, and always the list."""

from __future__ import annotations

from gtl.suggest import nearest


def test_the_nearest_name_is_offered_in_its_own_spelling():
    assert nearest("SMILE", ["y", "Smiles"]) == "did you mean 'Smiles'? known: y, Smiles"


def test_nothing_near_gives_the_list_alone():
    assert nearest("zzz", ["a", "b"]) == "known: a, b"
    assert nearest("zzz", []) == "known: none"
