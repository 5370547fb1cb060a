"""Tests of docstrings, README and docs: code blocks run, commands parse, names and links exist."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

import gtl
from gtl import catalog
from gtl.registry import Registry
from gtl.train import defaults

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
OTHERS = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "examples/plugin_task/README.md",
)
MODULES = sorted(module.name for module in pkgutil.walk_packages(gtl.__path__, "gtl."))
ROLES = [parts for parts in vars(catalog).values() if isinstance(parts, Registry)]
NAME = r"\bgtl(?:\.[A-Za-z_]\w*)+"
SMALLER = [  # so that each page runs in seconds, without data
    (r"demo:(chembl|solubility)", "demo:shapes"),
    (r"epochs([ =])\d+", r"epochs\g<1>1"),
    (r"(pretrain|finetune)\(\"gin\"", r'\1({"name": "gin", "width": 8, "depth": 2}'),
    (r"gtl\.finetune\(\"molecules\", target\)", "None"),  # which does not fit the shapes
    (r"--encoder gin", "--encoder '{name: gin, width: 8, depth: 2}'"),
]


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page, without those that it marks with ``<!-- not run: reason -->``."""
    pattern = rf"(<!-- not run: [^>]+-->\n)?```{language}\n(.*?)```"
    return [code for mark, code in re.findall(pattern, PAGES[page], flags=re.S) if not mark]


def smaller(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return text


def commands(page: str) -> list[list[str]]:
    """The words of each line of the shell blocks of a page."""
    lines = [line for text in blocks(page, "sh") for line in text.splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


# -- docstrings --------------------------------------------------------------------------------


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


# -- code and commands -------------------------------------------------------------------------


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A folder of its own, one epoch by default, and registries that forget what a page adds."""
    monkeypatch.chdir(tmp_path)
    for settings in defaults._TRAINING.values():
        monkeypatch.setitem(settings, "epochs", 1)
    for parts in ROLES:
        monkeypatch.setattr(parts, "_classes", dict(parts._classes))
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
@pytest.mark.filterwarnings("ignore::gtl.errors.GtlWarning")  # toy data has empty parts
def test_the_python_blocks_of_a_page_run_one_after_the_other(page, quick):
    if page == "docs/federated.md":
        pytest.importorskip("flwr", reason="Flower is not installed")
    names = {"gtl": gtl, "torch": torch, "data": gtl.load("demo:shapes"), "__name__": "page"}
    for number, code in enumerate(blocks(page, "python"), start=1):
        exec(compile(smaller(code), f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", ["README.md", "docs/runs.md"])
def test_the_commands_of_a_page_run_one_after_the_other(page, quick):
    from gtl.cli import main

    for words in commands(page):
        if words[0] == "gtl":
            words = shlex.split(smaller(shlex.join(words)))
            assert main(words[1:]) == 0, shlex.join(words)
    assert (quick / "predictions.csv").exists()


def test_every_command_parses():
    from gtl.cli import _parser, _spelled_out

    parser, seen = _parser(), 0
    for page in PAGES:
        for words in commands(page):
            seen += 1
            if words[0] == "make":
                assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), page
            elif words[0] == "python":
                assert (ROOT / words[1]).exists(), page
            elif words[0] == "gtl":
                if "--config" in words:  # the file is there only after a run
                    place = words.index("--config")
                    words = [*words[:place], *words[place + 2 :]]
                parser.parse_args(_spelled_out(words[1:]))
    assert seen > 20


def test_blocks_that_do_not_run_say_why_and_are_few():
    reasons = [
        reason for text in PAGES.values() for reason in re.findall(r"<!-- not run: (.+?) -->", text)
    ]
    assert len(reasons) <= 3 and all(reasons)


# -- names, words and links ----------------------------------------------------------------------

# What a program calls must be there after `import gtl`; prose may name any module.
CHAIN = """
import importlib, sys, gtl
missing, may_import = [], False
for name in sys.argv[1:]:
    may_import |= name == "--import"
    found, path = gtl, "gtl"
    for part in name.split(".")[1:]:
        path += "." + part
        try:
            if may_import and not hasattr(found, part):
                importlib.import_module(path)
            found = getattr(found, part)
        except (AttributeError, ImportError) as error:
            missing.append(f"{name}: {error}")
            break
sys.exit("\\n".join(missing) or None)
"""


def test_every_dotted_name_exists():
    code = {n for page in PAGES for text in blocks(page, "python") for n in re.findall(NAME, text)}
    every = {name for text in PAGES.values() for name in re.findall(NAME, text)}
    groups = {parts.group for parts in ROLES}
    names = [*sorted(code), "--import", *sorted(every - code - groups)]
    done = subprocess.run(
        [sys.executable, "-c", CHAIN, *names], capture_output=True, text=True, cwd=ROOT
    )
    assert code and done.returncode == 0, done.stderr


def test_the_readme_has_at_most_900_words():
    assert len(PAGES["README.md"].split()) <= 900


@pytest.mark.parametrize("parts", ROLES, ids=lambda parts: parts.group)
def test_every_registered_part_has_a_place_in_the_docs(parts):
    page = "docs/few_shot.md" if parts is catalog.FEW_SHOT_METHODS else "docs/parts.md"
    for name in parts._own_names() + [f"{family}:<name>" for family in parts.families]:
        assert f"`{name}`" in PAGES[page], f"{page} does not mention {parts.role} `{name}`"


@pytest.mark.parametrize("parts", ROLES, ids=lambda parts: parts.group)
def test_every_role_has_a_row_in_the_page_on_extending(parts):
    register = "register_" + parts.role.replace(" ", "_").replace("-", "_")
    for name in (f"gtl.{register}", f"`{parts.group}`", f"gtl.{parts.base.__name__}"):
        assert name in PAGES["docs/extending.md"]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_links_lead_to_files_and_headings_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        assert not heading or heading in headings(file), f"{page} links to {target}"


@cache
def headings(file: Path) -> set[str]:
    """Anchors of the headings of a page."""
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
