"""Parts of other packages are found where they are installed, and broken ones stop nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import gtl
from gtl import catalog
from gtl.catalog import (
    ENCODERS,
    FEW_SHOT_METHODS,
    HEADS,
    READOUTS,
    TASKS,
    TRIPLE_SCORES,
    WEIGHTINGS,
    Registry,
)
from gtl.errors import ConfigError, GtlWarning
from gtl.roles import Task

ROOT = Path(__file__).resolve().parent.parent
GIN = {"name": "gin", "width": 8, "depth": 2}

ENCODER = """
import torch
from gtl.roles import Encoder

class Flat(Encoder):
    '''Reads each node alone.'''

    def __init__(self, schema, width=5):
        super().__init__()
        self.schema, self.width = schema, width
        self.embed, self.blocks = torch.nn.Embedding(9, width), torch.nn.ModuleList()

    def forward(self, graph):
        return self.embed(graph.x[:, 0].long())
"""
WEIGHTING = """
from gtl.roles import Weighting

class Halved(Weighting):
    '''Auxiliary tasks count half.'''

    def backward(self, step):
        weights = {name: 1.0 if name == step.target else 0.5 for name in step.losses}
        sum(weights[name] * losses.mean() for name, losses in step.losses.items()).backward()
        return weights
"""
HEAD = """
import torch
from gtl.roles import Head

class Twice(Head):
    '''Two linear maps.'''

    def __init__(self, width, outputs):
        super().__init__()
        self.maps = torch.nn.Sequential(torch.nn.Linear(width, 3), torch.nn.Linear(3, outputs))

    def forward(self, features):
        return self.maps(features)
"""
READOUT = """
from gtl.graph import ops
from gtl.roles import Readout

class Total(Readout):
    '''Twice the sum of the nodes.'''

    def pool(self, nodes, sizes):
        return 2 * ops.segment_sum(nodes, sizes)
"""
FEW_SHOT_METHOD = """
from gtl.roles import FewShotMethod

class First(FewShotMethod):
    '''The first column of the features, for all classes.'''

    def fit(self, problem):
        return lambda queries: queries[:, :1].repeat(1, problem.num_classes)
"""
# Name of the entry point, where it leads, what is there, and what the warning says.
BROKEN = {
    "fails": ("plugin_fails:Part", "import rings_and_other_things", "No module named 'rings_and"),
    "absent": ("plugin_absent:Part", "", "no attribute 'Part'"),
    "leaves": ("plugin_leaves:Part", "raise SystemExit(3)", "SystemExit: 3"),
    "alien": ("plugin_alien:Part", "class Part: pass", "is the class Part, expected a class that"),
    "number": (
        "plugin_number:Part",
        "Part = 7",
        "is an object of type int, expected a class that derives from",
    ),
    "motif": (
        "plugin_motif:Part",
        "import gtl.roles\nclass Part(gtl.roles.Task): pass",
        "'motif' is already registered",
    ),
}


def install(site: Path, role: str, name: str, place: str, code: str) -> None:
    """What pip leaves behind for a package with one module and one entry point."""
    module = place.partition(":")[0]
    facts = site / f"{module}-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    group = f"gtl.{role.replace(' ', '_').replace('-', '_')}s"
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = {place}\n")


@pytest.fixture
def add_site(monkeypatch):
    """Makes a folder of installed packages known to this process, for one test."""
    imported = set(sys.modules)
    for parts in vars(catalog).values():
        if isinstance(parts, Registry):
            monkeypatch.setattr(parts, "_classes", dict(parts._classes))
            monkeypatch.setattr(parts, "_plugins_read", False)
    yield lambda folder: monkeypatch.syspath_prepend(str(folder))
    for name in set(sys.modules) - imported:
        if name.startswith(("plugin_", "gtl_page_rank")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """Source of the example plug-in and the folder where pip installed it, without a network."""
    home = tmp_path_factory.mktemp("plugin")
    # A copy, because pip builds inside the source.
    shutil.copytree(ROOT / "examples" / "plugin_task", home / "source")
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *how]
    run([*pip, "--target", home / "site", home / "source"])
    return home / "source", home / "site"


def run(command, *sites):
    path = os.pathsep.join(map(str, (*sites, ROOT)))
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# -- the example -----------------------------------------------------------------------------------


def test_the_installed_task_passes_its_own_tests(package):
    source, site = package
    (source / "gtl_page_rank.py").rename(source / "not_this_one.py")
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", source], site)


def test_the_installed_task_trains_by_name_and_its_runs_load_in_a_new_process(
    package, add_site, shapes, tmp_path
):
    add_site(package[1])
    task = {"name": "page_rank", "rounds": 3}
    trained = gtl.pretrain(GIN, shapes, [task], epochs=2, out=tmp_path / "pre")
    losses = [line["losses"]["page_rank"] for line in trained.history]
    assert losses[1] < losses[0]
    model = gtl.finetune(trained, shapes, auxiliary=[task], epochs=1, out=tmp_path / "fine")
    assert model.history[0]["weights"]["page_rank"] > 0
    code = (
        "import sys, gtl\n"
        "assert 'gtl_page_rank' not in sys.modules\n"
        f"for folder in ({str(tmp_path / 'pre')!r}, {str(tmp_path / 'fine')!r}):\n"
        "    task = gtl.Run.load(folder).tasks['page_rank']\n"
        "    print(type(task).__module__, task.rounds, task.map.bias.item())"
    )
    before, after = run([sys.executable, "-c", code], package[1]).stdout.splitlines()
    assert before == f"gtl_page_rank 3 {trained.tasks['page_rank'].map.bias.item()}"
    assert after.startswith("gtl_page_rank 3 ") and after != before


def test_a_run_whose_task_is_gone_gives_its_model_all_the_same(package, shapes, tmp_path, add_site):
    with pytest.MonkeyPatch.context() as site:
        site.syspath_prepend(str(package[1]))
        gtl.finetune(GIN, shapes, auxiliary=["page_rank"], epochs=1, out=tmp_path / "fine")
    TASKS._classes.pop("page_rank")
    assert "page_rank" not in gtl.Run.load(tmp_path / "fine").tasks
    assert gtl.evaluate(gtl.Model.load(tmp_path / "fine"), shapes)["items"] == 15


# -- the other roles -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "name", "place", "code"),
    [
        (ENCODERS, "flat", "plugin_flat:Flat", ENCODER),
        (WEIGHTINGS, "halved", "plugin_halved:Halved", WEIGHTING),
        (HEADS, "twice", "plugin_twice:Twice", HEAD),
        (READOUTS, "total", "plugin_total:Total", READOUT),
    ],
    ids=lambda value: getattr(value, "role", None),
)
def test_encoders_weightings_heads_and_readouts_train_by_name_and_load_again(
    parts, name, place, code, add_site, shapes, tmp_path
):
    install(tmp_path / "site", parts.role, name, place, code)
    add_site(tmp_path / "site")
    options = {"encoder": GIN, "head": "linear", "weighting": "equal", parts.role: name}
    model = gtl.finetune(
        dataset=shapes, auxiliary=["infomax"], epochs=1, out=tmp_path / "run", **options
    )
    assert parts.get(name).__module__ == f"plugin_{name}"
    again = gtl.Model.load(tmp_path / "run")
    assert gtl.predict(again, shapes).equal(gtl.predict(model, shapes))
    if parts is WEIGHTINGS:
        assert model.history[0]["weights"]["infomax"] == 0.5


def test_a_few_shot_method_is_compared_by_name(add_site, tmp_path):
    install(tmp_path / "site", "few-shot method", "first", "plugin_first:First", FEW_SHOT_METHOD)
    add_site(tmp_path / "site")
    data = (
        torch.randn(30, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(3).repeat(10),
    )
    gtl.few_shot(data, ["first", "prototype"], shots=(2,), splits=2)
    assert FEW_SHOT_METHODS.get("first").__module__ == "plugin_first"


@pytest.mark.parametrize(
    "parts",
    [ENCODERS, WEIGHTINGS, HEADS, READOUTS, FEW_SHOT_METHODS, TRIPLE_SCORES],
    ids=lambda parts: parts.role,
)
def test_a_part_of_another_role_is_skipped(parts, add_site, tmp_path):
    code = "import gtl.roles\nclass Part(gtl.roles.Task): pass"
    install(tmp_path, parts.role, "lost", "plugin_lost:Part", code)
    add_site(tmp_path)
    with pytest.warns(
        GtlWarning, match=rf"{parts.role} 'lost' is the class Part, expected"
    ) as seen:
        assert "lost" not in parts.names()
    assert len(seen) == 1


# -- broken ones -----------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """A folder with every broken task."""
    for name, (place, code, _) in BROKEN.items():
        install(tmp_path / "broken", "task", name, place, code)
    return tmp_path / "broken"


def test_each_broken_task_is_named_in_one_warning_and_the_run_goes_on(
    broken, package, add_site, shapes
):
    add_site(broken)
    add_site(package[1])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = gtl.finetune(GIN, shapes, auxiliary=["motif", "page_rank"], epochs=1)
        assert not set(BROKEN) - {"motif"} & set(TASKS.names())
    assert set(model.history[0]["losses"]) == {"supervised", "motif", "page_rank"}
    assert TASKS.get("motif").__module__ == "gtl.tasks.self_supervised.motif"
    messages = [str(warning.message) for warning in seen if warning.category is GtlWarning]
    assert len(messages) == len(BROKEN)
    for name, (place, _, reason) in BROKEN.items():
        (message,) = [m for m in messages if m.startswith(f"plug-in task '{name}' ({place})")]
        assert "was skipped" in message and reason in message and "\n" not in message


def test_gtl_list_has_the_installed_task_and_a_line_for_each_broken_one(broken, package):
    done = run([sys.executable, "-m", "gtl", "list", "task"], package[1], broken)
    (line,) = [line for line in done.stdout.splitlines() if "page_rank" in line]
    assert " ".join(line.split()) == "page_rank Predicts how central each node is in its graph."
    assert "  motif " in done.stdout and "alien" not in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("gtl: warning: plug-in")]
    assert len(told) == len(done.stderr.splitlines()) == len(BROKEN)


def test_a_class_that_plays_no_role_is_refused_where_it_is_registered():
    with pytest.raises(ConfigError, match=r"task 'alien' is the class Alien, .* gtl\.roles\.Task"):

        @gtl.register_task("alien")
        class Alien:
            pass


def test_of_two_packages_with_one_name_the_first_stays(add_site, tmp_path):
    code = "import gtl.roles\nclass Part(gtl.roles.Task):\n    '''From {}.'''"
    for site in ("one", "two"):
        install(tmp_path / site, "task", "moons", f"plugin_{site}:Part", code.format(site))
        add_site(tmp_path / site)
    with pytest.warns(GtlWarning, match="'moons' is already registered") as seen:
        assert issubclass(TASKS.get("moons"), Task)
    assert len(seen) == 1


def test_a_plug_in_may_also_register_itself(add_site, tmp_path):
    code = "import gtl\n@gtl.register_task('moons')\nclass Part(gtl.roles.Task): pass"
    install(tmp_path, "task", "moons", "plugin_moons:Part", code)
    add_site(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TASKS.get("moons").__module__ == "plugin_moons"
