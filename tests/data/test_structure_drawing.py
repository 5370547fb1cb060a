"""Structures are SVG elements that fit any page, and what is no molecule has none."""

from __future__ import annotations

import builtins
from xml.etree import ElementTree

import pytest

from gtl.data.structure_drawing import draw_structure


def test_a_molecule_is_drawn_in_the_color_of_the_text_without_background():
    pytest.importorskip("rdkit")
    text = draw_structure("CCO")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox") == "0 0 220 160" and root.get("width") is None
    assert "currentColor" in text and "#000000" not in text and "#FFFFFF" not in text.upper()
    assert not [element for element in root.iter() if element.tag.endswith("rect")]


def test_atoms_of_other_elements_have_colors_of_their_own():
    pytest.importorskip("rdkit")
    plain, amine = draw_structure("CCC"), draw_structure("CCN")
    assert "#3F77F2" not in plain and "#3F77F2" in amine


@pytest.mark.parametrize("text", ["", "no molecule", "C1CC", "<svg onload='x'/>"])
def test_what_is_no_molecule_has_no_structure(text, capfd):
    assert draw_structure(text) is None
    assert capfd.readouterr() == ("", "")


def test_without_rdkit_nothing_is_drawn(monkeypatch):
    original = builtins.__import__

    def without(name, *args):
        if name.partition(".")[0] == "rdkit":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    assert draw_structure("CCO") is None
