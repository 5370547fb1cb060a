"""The page of a report stands alone, is well-formed, and shows what data say as text alone."""

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from gtl.errors import ConfigError
from gtl.report import report
from gtl.report.reproduce import command
from gtl.report.runs import find_runs

HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> & \"q\" 'p' $x^2$ \x07 ]]> <!-- \\b {{7*7}}"
SMILES = ["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C#N", "O=C=O", "CCN", "CCCl"]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _write_predictions(folder, rows):
    with open(folder / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def runs(write_run, tmp_path):
    """Two methods on data with a hostile name, a pre-training run, predictions and a plot."""
    for seed in range(3):
        data = {"data": f"smiles:{HOSTILE}", "options": {"target": "<b>y</b>"}}
        alone = write_run(f"alone-{seed}", seed, 0.7 + seed / 100, **data)
        write_run(f"helped-{seed}", seed, 0.8, tasks=("infomax", "motif"), **data)
        rows = [
            {
                "smiles": name,
                "label <i>y</i>": i % 2,
                "predicted <i>y</i>": 0.1 + 0.12 * i,
                "component 1": i,
                "component 2": i * i,
            }
            for i, name in enumerate([*SMILES, HOSTILE])
        ]
        _write_predictions(alone, rows)
    write_run("before", metric=None, valid=None, test=None, command="pretrain")
    (tmp_path / "runs" / "alone-0" / "plots").mkdir()
    (tmp_path / "runs" / "alone-0" / "plots" / "class_graph.png").write_bytes(PNG)
    (tmp_path / "runs" / "alone-0" / "plots" / "weights.png").write_bytes(PNG)
    return tmp_path / "runs"


@pytest.fixture
def page(runs):
    return (report(runs, label={"equal": HOSTILE}).folder / "report.html").read_text("utf-8")


@pytest.fixture
def root(page):
    return ElementTree.fromstring(page)


def _texts(root, tag):
    return [" ".join("".join(e.itertext()).split()) for e in root.iter(tag)]


def test_it_is_well_formed_and_elements_are_closed(page, root):
    open_tags = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

        def handle_startendtag(self, tag, attrs):
            pass

    Tags().feed(page)
    assert not open_tags
    assert root.tag == f"{HTML}html"


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(page, root):
    policy = next(e for e in root.iter(f"{HTML}meta") if "http-equiv" in e.attrib)
    assert policy.get("content").startswith("default-src 'none'")
    assert not list(root.iter(f"{HTML}script")) and not list(root.iter(f"{SVG}script"))
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), name
            if name.rpartition("}")[2] in ("src", "href"):
                assert value.startswith(("#", "data:")), value
            assert not re.search(r"url\((?!#)", value), value
    style = next(root.iter(f"{HTML}style")).text
    assert "url(" not in style and "@import" not in style
    plain = page.replace("http://www.w3.org/1999/xhtml", "").replace("http://www.w3.org/", "")
    assert "http" not in plain.replace("http-equiv", "")


def test_references_within_the_page_have_exactly_one_target(root):
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    found = 0
    for element in root.iter():
        for name, value in element.attrib.items():
            wanted = re.findall(r"url\(#([^)]+)\)", value)
            if name.endswith("href") and value.startswith("#"):
                wanted.append(value[1:])
            found += len(wanted)
            assert set(wanted) <= set(ids)
    assert found > 10


def test_every_image_is_embedded(root):
    images = list(root.iter(f"{HTML}img"))
    assert [image.get("alt") for image in images] == ["alone-0: class graph"]
    data = images[0].get("src").removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == PNG


def test_names_from_data_are_text_and_nothing_else(page, root):
    shown = "".join(root.itertext())
    for piece in ("<script>alert(1)</script>", "$x^2$", "{{7*7}}", "<b>y</b>", "]]>"):
        assert piece in shown
    assert "<script" not in page and "<b>y</b>" not in page and "\x07" not in page


def test_results_curves_front_predictions_and_commands_are_there(root):
    assert _texts(root, f"{HTML}h3")[:4] == ["Footprint", "Training", "Predictions", "Pre-training"]
    (better,) = [e for e in root.iter(f"{HTML}td") if e.get("class") == "good"]
    assert better.text == "better"
    captions = _texts(root, f"{HTML}figcaption")
    assert any("paired" not in c and "higher rocauc is better" in c for c in captions)
    labels = {t for e in root.iter(f"{SVG}svg") for t in _texts(e, f"{SVG}text")}
    assert {"training loss", "mean weight", "cosine with the target", "component 1"} <= labels
    commands = [e.text for e in root.iter(f"{HTML}pre") if e.get("class") == "command"]
    assert len(commands) == 7 and commands[0].startswith("gtl finetune --config ")
    configs = [json.loads(e.text) for e in root.iter(f"{HTML}pre") if e.get("class") == "config"]
    assert [config["seed"] for config in configs] == [0, 1, 2, 0, 0, 1, 2]


def test_a_compression_is_repeated_with_the_run_that_it_began_with(write_run):
    started = {"compressed_from": "runs/whole", "pretrained": "runs/before"}
    for found, words in (
        (started, "gtl compress runs/whole --config"),
        ({**started, "compressed_from": None}, ""),
    ):
        folder = write_run(f"small-{len(words)}", command="compress", **found)
        (run,) = find_runs(folder)
        shown = command(run)
        assert shown.startswith(words) and bool(shown) == bool(words)
        assert "--encoder" not in shown


def test_the_worst_predictions_come_first_with_structures_where_there_are_some(root):
    pytest.importorskip("rdkit")
    (shown,) = [e for e in root.iter(f"{HTML}ul") if e.get("class") == "structures"]
    names = ["".join(e.itertext()) for e in shown.iter(f"{HTML}code")]
    # errors 0.1, 0.78, 0.34, 0.54, 0.58, 0.3, 0.82, 0.06
    order = [6, 1, 4, 3, 2, 5, 0]
    assert names == [*(SMILES[i] for i in order), HOSTILE.replace("\x07", "")]
    drawn = [bool(list(item.iter(f"{SVG}svg"))) for item in shown.iter(f"{HTML}li")]
    assert drawn == [True] * 7 + [False]


def test_latex_and_markdown_have_the_tables_too(runs):
    found = report(runs, label={"equal": HOSTILE}, plots=False)
    tex = (found.folder / "report.tex").read_text("utf-8")
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") >= 2
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == tex.count(r"\midrule")
    assert r"\textless{}script\textgreater{}alert(1)" in tex and r"\$x\textasciicircum{}2\$" in tex
    rows = [line for line in tex.splitlines() if "&" in line and "begin" not in line]
    bare = re.sub(r"\$\\pm\$|\\[a-z]+\{\}|\\.", "", "\n".join(rows))
    assert rows and not set("$#_<>\\^~\x07") & set(bare)
    assert r"\textbackslash{}b \{\{7*7\}\}" in tex and r"0.710 $\pm$ 0.010" in tex
    assert "\\<script>" in (found.folder / "report.md").read_text("utf-8")


def test_without_plots_no_image_is_in_the_page(runs):
    page = (report(runs, plots=False).folder / "report.html").read_text("utf-8")
    assert "<svg" not in page and "<img" not in page and "<table" in page


def test_predictions_may_come_from_other_files(write_run, tmp_path):
    folder = write_run("one")
    (folder / "predictions.csv").write_text("item,label,predicted\n0,1.5,2.5\n1,-3,-2\n")
    found = report(tmp_path / "runs")
    page = (found.folder / "report.html").read_text("utf-8")
    assert "mean absolute" in page and "Brier" not in page
    other = tmp_path / "other.csv"
    other.write_text("item,label,predicted\n0,1,0.9\n1,0,0.2\n")
    page = (
        report(tmp_path / "runs", predictions={"one": other}).folder / "report.html"
    ).read_text()
    assert "Brier" in page and "mean absolute" not in page


def test_predictions_of_no_run_or_in_no_file_are_refused(write_run, tmp_path):
    file = write_run("one") / "mine.csv"
    file.write_text("item,label,predicted\n0,1,0.9\n")
    with pytest.raises(ConfigError, match=r"'oen' fit no run; did you mean 'one'\? known: one"):
        report(tmp_path / "runs", predictions={"oen": file})
    with pytest.raises(ConfigError, match=r"'one': there is no file .*nofile.csv; name one"):
        report(tmp_path / "runs", predictions={"one": tmp_path / "nofile.csv"}, plots=False)
    assert not (tmp_path / "runs" / "report").exists()


def test_vectors_are_colored_by_label_and_by_domain_where_these_are_known(write_run, tmp_path):
    folder = write_run("one")
    rows = [
        {"item": i, "label": f"class {i % 3}", "predicted": "class 0", "probability": 0.5}
        | {"probability of the label": 0.4, "domain": ("old", "new")[i % 2]}
        | {"component 1": i, "component 2": -i}
        for i in range(12)
    ]
    _write_predictions(folder, rows)
    root = ElementTree.parse(report(tmp_path / "runs").folder / "report.html").getroot()
    titles = [text for text in _texts(root, f"{SVG}text") if text.startswith("target only, by")]
    assert titles == ["target only, by label", "target only, by domain"]
    legends = [e for e in root.iter(f"{HTML}ul") if e.get("class") == "legend"]
    names = [_texts(legend, f"{HTML}li") for legend in legends]
    assert ["class 0", "class 1", "class 2", "new", "old"] in names
