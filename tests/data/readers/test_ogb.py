"""OGB: hand-written raw files, and the counts of the published sets."""

from __future__ import annotations

import gzip
import shutil
import zipfile

import pytest
import torch

from gtl.data import load
from gtl.data.readers.ogb import feature_choices, metadata, molecule_schema
from gtl.errors import ConfigError, DataError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def esol(tmp_path):
    """Three molecules of 2, 1 and 3 atoms under the name of a set with one value each."""
    folder = tmp_path / "data" / "ogb" / "ogbg_molesol"
    write(folder / "raw" / "num-node-list.csv.gz", "2\n1\n3\n")
    write(folder / "raw" / "num-edge-list.csv.gz", "1\n0\n2\n")
    write(folder / "raw" / "edge.csv.gz", "0,1\n0,1\n2,1\n")
    rows = [f"{atom},0,{atom},5,0,0,2,0,1\n" for atom in range(6)]
    write(folder / "raw" / "node-feat.csv.gz", "".join(rows))
    write(folder / "raw" / "edge-feat.csv.gz", "0,0,0\n1,2,0\n3,0,1\n")
    write(folder / "raw" / "graph-label.csv.gz", "-0.5\n\n2.25\n")
    for part, item in (("train", 2), ("valid", 0), ("test", 1)):
        write(folder / "split" / "scaffold" / f"{part}.csv.gz", f"{item}\n")
    write(folder / "mapping" / "mol.csv.gz", "value,smiles,mol_id\n1,CO,m1\n2,N,m2\n3,CCC,m3\n")
    return folder


def test_raw_files_become_graphs_with_edges_both_ways(esol):
    data = load("ogb:ogbg-molesol", root=esol.parent)
    third = data.graphs[2]
    assert (third.src.tolist(), third.dst.tolist()) == ([0, 1, 2, 1], [1, 0, 1, 2])
    assert third.e.tolist() == [[1, 2, 0], [1, 2, 0], [3, 0, 1], [3, 0, 1]]
    assert third.x[:, 0].tolist() == [3, 4, 5]
    assert data.graphs[1].num_edges == 0 and data.graphs[1].e.shape == (0, 3)
    data.graphs.batch(torch.arange(3)).validate()


def test_labels_split_and_names_come_along(esol):
    data = load("ogb:ogbg-molesol", root=esol.parent)
    assert (data.kind, data.metric) == ("regression", "rmse")
    assert data.labels.nan_to_num(99).tolist() == [[-0.5], [99], [2.25]]
    assert {part: index.tolist() for part, index in data.split.items()} == {
        "train": [2],
        "valid": [0],
        "test": [1],
    }
    assert data.names == ("CO", "N", "CCC") and data.label_names == ("value",)
    assert data.spec == "ogb:ogbg-molesol"


def test_the_cached_second_reading_is_the_same(esol):
    assert (
        load("ogb:molesol", esol.parent).checksum() == load("ogb:molesol", esol.parent).checksum()
    )


@pytest.mark.parametrize("name", ["ogbg-molesol", "ogbg_molesol", "molesol", "OGBG-MolESOL"])
@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_folder_is_found_from_itself_its_parent_and_above(esol, name, up):
    root = (esol, esol.parent, esol.parent.parent)[up]
    assert len(load(f"ogb:{name}", root=root)) == 3


def test_nothing_is_written_beside_the_data(esol):
    before = sorted(esol.parent.rglob("*"))
    load("ogb:molesol", root=esol.parent)
    assert sorted(esol.parent.rglob("*")) == before


@pytest.mark.parametrize("option", ["undirected", "identity"])
def test_options_of_node_and_link_sets_are_refused(esol, option):
    with pytest.raises(ConfigError, match="for node and link sets"):
        load("ogb:molesol", root=esol.parent, **{option: True})


def test_missing_names_are_not_needed(esol):
    shutil.rmtree(esol / "mapping")
    assert load("ogb:molesol", root=esol.parent).names == ()


def test_a_missing_set_says_where_it_was_looked_for_and_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no folder ogbg_molhiv/raw in .*/ogb;.*download=True"):
        load("ogb:ogbg-molhiv", root=tmp_path)


def test_an_unknown_set_offers_the_nearest_and_others_of_ogb_are_refused(tmp_path):
    with pytest.raises(DataError, match="did you mean 'ogbg-molbace'"):
        load("ogb:ogbg-molbaec", root=tmp_path)
    for name, words in (
        ("ogbg-ppa", "no molecules.*these are read: ogbg-molbace"),
        ("ogbg_code2", "no molecules"),
        ("ogbn-mag", "several types of nodes.*these are read: ogbn-proteins, .*ogbn-arxiv$"),
        ("ogbn-papers100m", "ogbn-papers100M comes in a binary format"),
        ("ogbl-vessel", "binary format.*these are read: ogbl-ppa, .*, ogbl-ddi$"),
        ("ogbl-wikikg2", "knowledge graph"),
        ("ogbl-biokg", "several types"),
    ):
        with pytest.raises(DataError, match=words):
            load(f"ogb:{name}", root=tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("edge", "0,1\n0,1\n", r"edge.csv.gz has shape \(2, 2\), expected \(3, 2\)"),
        ("edge", "0,1\n0,3\n2,1\n", "edge.csv.gz row 2, column 2, is 3, expected 0..2"),
        ("edge", "0,1\n0,-1\n2,1\n", "row 2, column 2, is -1"),
        ("num-edge-list", "1\n2\n", r"num-edge-list.csv.gz has shape \(2,\), expected \(3,\)"),
        ("node-feat", "0,0,0,0,0,0,0,0,0\n", r"node-feat.csv.gz has shape \(1, 9\)"),
        ("node-feat", "0,0,0,0,0,0,0,0,2\n" * 6, "row 1, column 9, is 2, expected 0..1"),
        ("edge-feat", "0,0,x\n" * 3, "edge-feat.csv.gz cannot be read"),
        ("edge-feat", "", "edge-feat.csv.gz cannot be read"),
        ("graph-label", "1\n", "holds 1 x 1 labels, expected 3 x 1"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(esol, file, text, words):
    write(esol / "raw" / f"{file}.csv.gz", text)
    with pytest.raises(DataError, match=words):
        load("ogb:molesol", root=esol.parent)


def test_a_truncated_or_missing_file_is_named(esol):
    file = esol / "raw" / "edge.csv.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"edge\.csv\.gz cannot be read"):
        load("ogb:molesol", root=esol.parent)
    file.unlink()
    with pytest.raises(DataError, match=r"edge\.csv\.gz is missing"):
        load("ogb:molesol", root=esol.parent)


def test_a_download_appears_whole_and_is_read(esol, tmp_path, monkeypatch):
    from gtl.optional import without_version_check

    with without_version_check():
        import ogb.utils.url

    asked = []

    def fetch(url, folder, log=True):
        asked.append(url)
        path = f"{folder}/esol.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in esol.rglob("*.gz"):
                archive.write(file, f"esol/{file.relative_to(esol)}")
        return path

    monkeypatch.setattr(ogb.utils.url, "download_url", fetch)
    data = load("ogb:molesol", root=tmp_path / "new", download=True)
    assert len(data) == 3
    assert asked == [metadata("molesol")[1]["url"]]
    assert [path.name for path in (tmp_path / "new" / "ogb").iterdir()] == ["ogbg_molesol"]


def test_a_download_that_fails_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    from gtl.optional import without_version_check

    with without_version_check():
        import ogb.utils.url

    def fail(url, folder, log=True):
        raise OSError("no route to host")

    monkeypatch.setattr(ogb.utils.url, "download_url", fail)
    with pytest.raises(DataError, match=r"could not be fetched .* no route to host; .* by hand as"):
        load("ogb:molesol", root=tmp_path, download=True)
    assert list((tmp_path / "ogb").iterdir()) == []


def test_the_schema_has_the_sizes_of_ogbs_feature_lists():
    from gtl.optional import without_version_check

    with without_version_check():
        from ogb.utils.features import get_atom_feature_dims, get_bond_feature_dims
    schema = molecule_schema()
    assert list(schema.node.categories) == get_atom_feature_dims()
    assert list(schema.edge.categories) == get_bond_feature_dims()
    assert [len(choices) for choices in feature_choices()] == [9, 3]


# -- the published sets ----------------------------------------------------------------------------

SETS = {
    "ogbg-molbace": (1513, 51577, 111536, (1210, 151, 152), 1),
    "ogbg-molbbbp": (2039, 49068, 105842, (1631, 204, 204), 1),
    "ogbg-molhiv": (41127, 1049163, 2259376, (32901, 4113, 4113), 1),
    "ogbg-moltox21": (7831, 145459, 302190, (6264, 783, 784), 12),
    "ogbg-molclintox": (1478, 38661, 82418, (1182, 148, 148), 2),
}


@pytest.mark.parametrize("name", SETS)
def test_the_published_sets_have_their_published_sizes(name, shared_data):
    graphs, nodes, edges, split, tasks = SETS[name]
    data = load(f"ogb:{name}", root=shared_data)
    assert (len(data), data.num_outputs) == (graphs, tasks)
    assert (int(data.graphs.node_offsets[-1]), int(data.graphs.edge_offsets[-1])) == (nodes, edges)
    assert tuple(len(data.split[part]) for part in ("train", "valid", "test")) == split
    assert (data.kind, data.metric) == ("binary", "rocauc")
    assert len(data.names) == graphs


def test_molhiv_has_its_positives_and_tox21_its_missing_labels(shared_data):
    hiv = load("ogb:ogbg-molhiv", root=shared_data)
    positives = [int(hiv.labels[hiv.split[part]].sum()) for part in ("train", "valid", "test")]
    assert positives == [1232, 81, 130]
    missing = load("ogb:ogbg-moltox21", root=shared_data).labels.isnan().float().mean()
    assert round(float(missing), 3) == 0.171
