"""The layout of the code: no module is hidden by a name, no file or function is too long."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import gtl

ROOT = Path(gtl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LINES, BODY = 400, 60


def test_no_module_is_shadowed_by_a_name_of_its_package():
    shadowed = []
    for file in FILES:
        name = ".".join(("gtl", *file.relative_to(ROOT).with_suffix("").parts))
        package, _, last = name.rpartition(".")
        if last in ("__init__", "__main__"):
            continue
        found = getattr(importlib.import_module(package), last, importlib.import_module(name))
        if not isinstance(found, ModuleType):
            shadowed.append(name)
    assert not shadowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_files_and_functions_can_be_read_in_one_sitting(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            start = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = node.end_lineno - start.lineno + 1
            assert length <= BODY, f"{node.name} has {length} lines after its docstring"
