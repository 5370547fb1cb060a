"""What pip and make are told: dependencies, tested versions, doors between folders."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import gtl

ROOT = Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
LINUX = {"platform_machine": "x86_64", "platform_system": "Linux", "sys_platform": "linux"}


def requirements(text: str) -> dict[str, Requirement]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    parsed = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


CORE = requirements(SETUP["options"]["install_requires"])
EXTRAS = {name: requirements(text) for name, text in SETUP["options.extras_require"].items()}
TESTED = requirements((ROOT / "constraints.txt").read_text(encoding="utf-8"))


def test_python_3_10_to_3_13_is_accepted_and_nothing_else():
    accepted = SpecifierSet(SETUP["options"]["python_requires"])
    versions = ["3.9.19", "3.10.0", "3.11.7", "3.12.1", "3.13.9", "3.14.0"]
    assert [accepted.contains(v) for v in versions] == [False, True, True, True, True, False]
    for minor in (10, 11, 12, 13):
        assert f"Python :: 3.{minor}" in SETUP["metadata"]["classifiers"]


@pytest.mark.parametrize(
    ("python", "machine", "system", "wanted"),
    [
        ("3.10", "x86_64", "Linux", True),
        ("3.11", "x86_64", "Linux", True),
        ("3.12", "x86_64", "Linux", False),
        ("3.13", "x86_64", "Linux", False),
        ("3.11", "aarch64", "Linux", False),
        ("3.11", "x86_64", "Darwin", False),
    ],
)
def test_dgl_is_asked_for_where_it_has_a_wheel(python, machine, system, wanted):
    place = {"python_version": python, "platform_machine": machine, "platform_system": system}
    assert CORE["dgl"].marker.evaluate(place) is wanted
    assert str(CORE["dgl"].specifier) == "==1.1.3"


def test_what_dgl_needs_but_does_not_declare_comes_with_it():
    assert CORE["packaging"].marker.evaluate({"python_version": "3.11"})


def test_torch_is_pinned_first():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0] == "torch==2.13.0"


@pytest.mark.parametrize("group", ["core", "chem", "dev"])
def test_each_direct_dependency_has_a_tested_version_that_is_accepted(group):
    for name, requirement in (CORE if group == "core" else EXTRAS[group]).items():
        if name == "dgl":
            continue  # setup.cfg itself names the one version that works
        assert name in TESTED, f"constraints.txt has no {name}"
        (pin,) = TESTED[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{requirement} against {pin}"


def test_tested_versions_apply_to_the_python_they_were_tested_with():
    for name, requirement in TESTED.items():
        marker = requirement.marker
        assert marker is None or marker.evaluate({"python_version": "3.11", **LINUX}), name


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="versions were fixed with Python 3.11")
def test_the_versions_here_are_the_tested_ones():
    for name in (*CORE, *EXTRAS["chem"], *EXTRAS["dev"]):
        if name in TESTED:
            here = version(name).partition("+")[0]
            assert TESTED[name].specifier.contains(here), f"{name} {here}"


def test_the_command_leads_to_a_function():
    (script,) = [e for e in entry_points(group="console_scripts") if e.name == "gtl"]
    assert callable(script.load())


def test_the_version_is_told_once():
    assert version("graph-transfer") == gtl.__version__
    assert SETUP["metadata"]["version"] == "attr: gtl.version.__version__"


def test_every_folder_of_code_is_a_package():
    for file in (ROOT / "gtl").rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), file


def test_type_checkers_of_users_read_the_annotations():
    assert (ROOT / "gtl" / "py.typed").is_file()
    assert SETUP["options.package_data"]["gtl"] == "py.typed"


def test_pyproject_holds_the_build_system_and_ruff_alone():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    sections = re.findall(r"^\[([^\]]+)\]", text, flags=re.M)
    assert {section.split(".lint")[0] for section in sections} == {"build-system", "tool.ruff"}


def test_import_gtl_loads_nothing_heavy():
    heavy = ["dgl", "ogb", "rdkit", "datamol", "matplotlib", "pandas", "scipy", "sklearn", "higher"]
    heavy += ["jsonargparse", "torch_geometric", "pytest", "hypothesis", "networkx.algorithms"]
    code = (
        "import sys, torch; before = set(sys.modules); import gtl; "
        f"print(sorted(set({heavy}) & (set(sys.modules) - before)))"
    )
    assert _python(code) == "[]"


def test_the_shipped_laws_need_no_test_tools():
    code = "import sys, gtl.testing; print({'pytest', 'hypothesis'} & set(sys.modules))"
    assert _python(code) == "set()"


def test_public_names_exist():
    for name in gtl.__all__:
        assert getattr(gtl, name) is not None


def test_ci_runs_the_tests_that_make_runs():
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)
    assert "make test" in lines and "set -euo pipefail" in lines


def test_make_help_names_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.M)
    told = "\n".join(line for line in text.splitlines() if "@echo" in line)
    for target in set(targets.split()) - {"help"}:
        assert f"make {target}" in told


# One file a contract that breaks it, and nothing else.
INTRUDERS = {
    "layers": ("gtl/tasks/intruder.py", "from gtl.heads import Linear"),
    "dgl": ("gtl/data/intruder.py", "def f():\n    import dgl"),
    "ogb": ("gtl/data/intruder_2.py", "def f():\n    from ogb.io import read_graph_raw"),
    "higher": ("gtl/train/intruder.py", "import higher"),
    "torchjd": ("gtl/train/intruder_4.py", "def f():\n    from torchjd import aggregation"),
    "molecules": ("gtl/encoders/intruder.py", "from rdkit import Chem"),
    "plots": ("gtl/train/intruder_2.py", "import matplotlib.pyplot"),
    "optuna": ("gtl/train/intruder_5.py", "def f():\n    import optuna"),
    "flower": ("gtl/train/intruder_3.py", "import flwr"),
}


def test_an_import_through_the_wrong_door_is_caught(tmp_path):
    pytest.importorskip("importlinter")
    shutil.copytree(ROOT / "gtl", tmp_path / "gtl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    contracts = {
        section.rpartition(":")[2]: SETUP[section]["name"]
        for section in SETUP.sections()
        if section.startswith("importlinter:contract")
    }
    assert contracts.keys() == INTRUDERS.keys()
    for file, code in INTRUDERS.values():
        (tmp_path / file).write_text(code + "\n", encoding="utf-8")
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as f; f()"]
    done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, check=False)
    for key, name in contracts.items():
        assert re.search(rf"{re.escape(name)} BROKEN", done.stdout), f"{key}: {done.stdout}"


def test_every_lazy_name_is_importable():
    for name in ("data", "encoders", "heads", "report", "tasks", "testing", "train", "weightings"):
        assert getattr(gtl, name) is importlib.import_module(f"gtl.{name}")


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
