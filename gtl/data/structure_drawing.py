"""Structures of molecules as SVG, by RDKit."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"
# RDKit's blue and red are for white paper; these can be read on black, too.
_PALETTE = {
    **{7: (0.25, 0.47, 0.95), 8: (0.9, 0.27, 0.2), 9: (0.2, 0.6, 0.3), 16: (0.72, 0.58, 0.1)},
    **{15: (0.9, 0.5, 0.1), 17: (0.2, 0.6, 0.3), 35: (0.65, 0.35, 0.2), 53: (0.55, 0.3, 0.75)},
}


def draw_structure(smiles: str, width: int = 220, height: int = 160) -> str | None:
    """The structure of a molecule as an SVG element without background.

    Bonds and carbon atoms have the color of the surrounding text.

    Args:
        smiles: The molecule.
        width: In pixels.
        height: In pixels.

    Returns:
        The element, or ``None`` where the text is no molecule or RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem.Draw import rdMolDraw2D
    except ImportError:
        return None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        return None
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.updateAtomPalette(_PALETTE)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    return _bare(drawer.GetDrawingText())


def _bare(text: str) -> str:
    """The element alone, with black replaced by the color of the text."""
    root = ElementTree.fromstring(text.encode())
    for element in root.iter():
        for key in ("style", "fill"):
            value = element.get(key)
            if value:
                element.set(key, re.sub("#000000", "currentColor", value))
        element.attrib.pop("class", None)
    for key in [key for key in root.attrib if key.startswith("{") or key in ("version", "width")]:
        root.attrib.pop(key)
    root.attrib.pop("height", None)
    root.set("role", "img")
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode").replace("\n", "")
