"""Docstrings' examples run, and what the README tells people to type exists."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import gtl

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(module.name for module in pkgutil.walk_packages(gtl.__path__, "gtl."))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings_run(name):
    if name == "gtl.graph.kernels.with_dgl":
        pytest.importorskip("dgl", reason="DGL has no wheel here")
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_a_file_opens_with_a_sentence(name):
    path = ROOT.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    assert first.rstrip().endswith("."), f"{file} opens with {first!r}"


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_readme_names_what_exists(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gtl":
            assert hasattr(gtl, node.attr), f"gtl has no {node.attr}"


def test_the_task_in_the_readme_obeys_the_laws(monkeypatch):
    from gtl.catalog import TASKS

    monkeypatch.setattr(TASKS, "_classes", dict(TASKS._classes))
    (code,) = [code for code in blocks("python") if "check_task" in code]
    exec(compile(code, "README.md", "exec"), {})
    assert "degree" in TASKS.names()


SMALLER = [
    (r"demo:(chembl|solubility)", "demo:shapes"),
    (r"epochs([ =])\d+", r"epochs\g<1>1"),
    (r"pretrain\(\"gin\"", 'pretrain({"name": "gin", "width": 8, "depth": 2}'),
    (r"--encoder gin", "--encoder '{name: gin, width: 8, depth: 2}'"),
]


def smaller(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return text


def test_the_ten_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = [code for code in blocks("python") if "gtl.finetune" in code and "gtl.load" in code]
    exec(compile(smaller(code), "README.md", "exec"), {})
    assert "items" in capsys.readouterr().out
    assert (tmp_path / "runs/solubility/results.json").exists()


def test_the_commands_of_the_readme_run_one_after_the_other(tmp_path, monkeypatch):
    from gtl.cli import main

    monkeypatch.chdir(tmp_path)
    (text,) = [text for text in blocks("sh") if "gtl pretrain" in text]
    for line in smaller(text).splitlines():
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("line", [line for text in blocks("sh") for line in text.splitlines()])
def test_commands_in_the_readme_exist(line):
    words = shlex.split(line, comments=True)
    if words[:1] == ["make"]:
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[:1] == ["gtl"]:
        from gtl.cli import _parser, _spelled_out

        _parser().parse_args(_spelled_out(words[1:]))


def test_every_registered_part_has_a_place_in_the_readme():
    from gtl import catalog
    from gtl.registry import Registry

    for parts in vars(catalog).values():
        if isinstance(parts, Registry):
            for name in parts.names():
                family = name.partition(":")[0]
                name = f"{family}:<name>" if family in parts.families else name
                assert f"`{name}`" in README, f"the README does not mention {parts.role} `{name}`"
