"""Parts are found by name, plug-ins included, and none of them escapes the laws."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from gtl import catalog, registry, testing
from gtl.errors import ConfigError, GtlWarning, UnknownPartError
from gtl.registry import Registry
from gtl.roles import Head, Weighting
from gtl.weightings.equal import Equal

LAWS = Path(__file__).parent / "laws"
REGISTRIES = [value for value in vars(catalog).values() if isinstance(value, Registry)]


class Planet(Weighting):
    """A weighting from elsewhere."""

    def __init__(self, radius: float = 1.0, moons: tuple[str, ...] = ()):
        super().__init__()
        self.radius = radius

    def backward(self, step):
        return {}


class FakeEntry:
    """An entry point of a package that is not installed."""

    def __init__(self, name, part):
        self.name, self.value, self.part = name, f"somewhere:{name}", part

    def load(self):
        if isinstance(self.part, Exception):
            raise self.part
        return self.part


@pytest.fixture
def plugins(monkeypatch):
    entries = []
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    return entries


@pytest.mark.parametrize("parts", REGISTRIES, ids=lambda parts: parts.role)
def test_every_role_has_laws_and_a_test_that_runs_them_on_every_name(parts):
    noun = parts.role.replace("-", "_").replace(" ", "_")
    check = getattr(testing, f"check_{noun}", None)
    assert check is not None, f"gtl.testing has no check_{noun}"
    texts = [file.read_text() for file in LAWS.glob("test_*.py")]
    table = f"{noun.upper()}S.names()"
    assert any(table in text and f"check_{noun}(" in text for text in texts), (
        f"no test in tests/laws runs check_{noun} over {table}"
    )


@pytest.mark.parametrize("parts", REGISTRIES, ids=lambda parts: parts.role)
def test_every_built_in_part_can_be_imported_and_says_in_a_line_what_it_does(parts):
    for name, line in parts.describe().items():
        assert line.endswith("."), f"{parts.role} {name}: {line!r}"


def test_an_unknown_name_answers_with_the_nearest_and_the_list():
    with pytest.raises(UnknownPartError, match=r"'gim'; did you mean 'gin'.*known: gin, gcn"):
        catalog.ENCODERS.get("gim")


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(UnknownPartError, match="unknown head 'zzzz'; known: linear"):
        catalog.HEADS.get("zzzz")


def test_a_part_is_built_from_its_name_from_a_mapping_or_is_one_already():
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"})
    parts.register("planet")(Planet)
    made = parts.build({"name": "planet", "radius": 2.0})
    assert made.radius == 2.0
    assert parts.build(made) is made
    assert isinstance(parts.build("equal"), Equal)


def test_an_option_that_a_part_does_not_have_is_named_with_those_it_has():
    parts = Registry("weighting", {})
    parts.register("planet")(Planet)
    with pytest.raises(ConfigError, match="'planet' has no option 'mass'; it has: radius, moons"):
        parts.build({"name": "planet", "mass": 3})


def test_an_option_that_a_part_cannot_do_without_is_asked_for():
    words = r"'fixed' needs the option 'weights'; .* \{name: fixed, weights: \.\.\.\}"
    with pytest.raises(ConfigError, match=words):
        catalog.WEIGHTINGS.build("fixed")
    assert catalog.WEIGHTINGS.build({"name": "fixed", "weights": {}}).weights == {}


def test_arguments_that_the_loop_knows_are_not_offered_as_options():
    with pytest.raises(ConfigError, match="no option 'depth'; it has: none"):
        catalog.HEADS.build({"name": "linear", "depth": 3}, 5, 2)


def test_a_mapping_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="needs the key 'name'"):
        catalog.ENCODERS.build({"width": 5})


def test_a_name_can_be_taken_once():
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"})
    parts.register("planet")(Planet)
    parts.register("planet")(Planet)  # running a notebook cell again is no mistake
    for name in ("planet", "equal"):
        with pytest.raises(ConfigError, match=f"'{name}' is already registered"):
            parts.register(name)(Head)


def test_a_part_knows_its_registered_name_and_options():
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"})
    assert parts.name_of(Planet()) == "Planet"
    parts.register("planet")(Planet)
    made = Planet(radius=3.0, moons=("io", "europa"))
    assert parts.spec(made) == {"name": "planet", "radius": 3.0, "moons": ("io", "europa")}
    assert parts.build(parts.spec(made)).radius == 3.0
    assert parts.name_of(Equal()) == "equal"


def test_an_option_that_is_not_plain_is_left_out_of_the_spec():
    parts = Registry("weighting", {})
    parts.register("planet")(Planet)
    assert parts.spec(Planet(radius=object())) == {"name": "planet"}  # type: ignore[arg-type]


def test_a_plug_in_is_found_through_its_entry_point(plugins):
    plugins.append(FakeEntry("planet", Planet))
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"})
    assert parts.get("planet") is Planet
    assert parts.names() == ["equal", "planet"]
    assert parts.describe()["planet"] == "A weighting from elsewhere."


def test_a_plug_in_cannot_replace_a_built_in_part(plugins):
    plugins.append(FakeEntry("equal", Planet))
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"})
    with pytest.warns(GtlWarning, match="plug-in weighting 'equal'.*already registered"):
        parts.names()
    assert parts.get("equal") is Equal


def test_a_plug_in_that_fails_is_named_in_one_warning_and_skipped(plugins):
    plugins += [FakeEntry("broken", ImportError("no module 'rings'")), FakeEntry("planet", Planet)]
    parts = Registry("weighting", {})
    with pytest.warns(GtlWarning, match="'broken'.*was skipped.*no module 'rings'") as caught:
        assert parts.names() == ["planet"]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parts.names() == ["planet"]


def test_the_entry_point_groups_are_the_plurals_of_the_roles(monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or [])
    roles = ("encoder", "task", "weighting", "adapter", "head", "readout", "few-shot method")
    roles = (*roles, "triple score")
    for role in roles:
        Registry(role, {}).names()
    names = ("encoders", "tasks", "weightings", "adapters", "heads", "readouts", "few_shot_methods")
    assert asked == [f"gtl.{name}" for name in (*names, "triple_scores")]
