"""Published checkpoints: golden vectors, a layout made by hand, and files of another kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gtl
from gtl.catalog import ENCODERS
from gtl.encoders import GAT, GCN, GIN, SAGE, load_pretrained
from gtl.encoders.pretrained import OGB, PRETRAIN_GNNS, ogb_to_pretrain_gnns
from gtl.encoders.readout import Mean
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs
from gtl.roles import Encoder

PUBLISHED: dict[str, type[Encoder]] = {"gcn": GCN, "gat": GAT, "graphsage": SAGE}
published = pytest.mark.parametrize("name", list(PUBLISHED))


@pytest.fixture
def chem(shared_data: Path) -> Path:
    folder = shared_data / "pretrain-gnns" / "chem"
    if not folder.is_dir():
        pytest.skip("the published checkpoints are not here")
    return folder


def molecules(numbers: np.lib.npyio.NpzFile) -> Graph:
    src, dst = torch.from_numpy(numbers["edge_index"])
    return Graph(
        src,
        dst,
        len(numbers["x"]),
        x=torch.from_numpy(numbers["x"]),
        e=torch.from_numpy(numbers["edge_attr"]),
        sizes=torch.from_numpy(numbers["num_atoms"]),
    )


# -- the three published files -------------------------------------------------------------------


@published
def test_published_checkpoints_give_the_golden_vectors(
    name: str, chem: Path, golden: Path, kernels: str
) -> None:
    numbers = np.load(golden / "pretrain_gnns_chem.npz")
    graph = molecules(numbers)
    encoder = load_pretrained(chem / f"{name}_contextpred.pth", dtype=torch.float64).eval()
    assert type(encoder) is PUBLISHED[name]
    nodes = encoder(graph)
    first = encoder.blocks[0].conv(graph, encoder.embed(graph))
    for key, value in (("node", nodes), ("conv0", first), ("graph", Mean(300)(graph, nodes))):
        expected = numbers[f"{name}_contextpred.{key}"]
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


@published
def test_single_precision_is_close_to_the_exact_vectors(
    name: str, chem: Path, golden: Path
) -> None:
    numbers = np.load(golden / "pretrain_gnns_chem.npz")
    # Two runs in single precision differ by the rounding of both, which depends on the processor.
    exact = numbers[f"{name}_contextpred.node"]
    encoder = load_pretrained(chem / f"{name}_contextpred.pth").eval()
    nodes = encoder(molecules(numbers)).detach().numpy()
    assert nodes.dtype == np.float32
    np.testing.assert_allclose(nodes, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


def test_gcn_and_sage_are_told_apart_whatever_the_file_is_called(
    chem: Path, tmp_path: Path
) -> None:
    for name in ("gcn", "graphsage"):
        copy = tmp_path / "model.pth"
        copy.write_bytes((chem / f"{name}_contextpred.pth").read_bytes())
        assert type(load_pretrained(copy)) is PUBLISHED[name]


@published
def test_ogb_columns_give_what_translated_molecules_give(name: str, chem: Path) -> None:
    path = chem / f"{name}_contextpred.pth"
    graph = ogb_molecule()
    native = load_pretrained(path, dtype=torch.float64).eval()
    direct = load_pretrained(path, features="ogb", dtype=torch.float64).eval()
    assert (native.schema, direct.schema) == (PRETRAIN_GNNS, OGB)
    torch.testing.assert_close(direct(graph), native(ogb_to_pretrain_gnns(graph)))


@published
def test_what_was_loaded_is_an_ordinary_encoder(name: str, chem: Path) -> None:
    encoder = load_pretrained(chem / f"{name}_contextpred.pth", features="ogb", dropout=0.5).eval()
    again = ENCODERS.build(ENCODERS.spec(encoder), encoder.schema).eval()
    again.load_state_dict(encoder.state_dict())
    graph = ogb_molecule()
    assert torch.equal(again(graph), encoder(graph))
    assert again.blocks[0].dropout.p == 0.5


def test_a_cut_off_file_is_refused(chem: Path, tmp_path: Path) -> None:
    whole = (chem / "gcn_contextpred.pth").read_bytes()
    cut = tmp_path / "cut.pth"
    for length in (0, 1, 100, 5000, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth is truncated or not a state dict"):
            load_pretrained(cut)


# -- a GIN in the published layout ---------------------------------------------------------------


def gin_state(width: int = 5, depth: int = 2) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    state = {"x_embedding1.weight": draw(120, width), "x_embedding2.weight": draw(3, width)}
    for i in range(depth):
        state[f"gnns.{i}.mlp.0.weight"] = draw(2 * width, width)
        state[f"gnns.{i}.mlp.0.bias"] = draw(2 * width)
        state[f"gnns.{i}.mlp.2.weight"] = draw(width, 2 * width)
        state[f"gnns.{i}.mlp.2.bias"] = draw(width)
        state[f"gnns.{i}.edge_embedding1.weight"] = draw(6, width)
        state[f"gnns.{i}.edge_embedding2.weight"] = draw(3, width)
    for i in range(depth):
        state[f"batch_norms.{i}.weight"] = draw(width)
        state[f"batch_norms.{i}.bias"] = draw(width)
        state[f"batch_norms.{i}.running_mean"] = draw(width)
        state[f"batch_norms.{i}.running_var"] = draw(width).exp()
        state[f"batch_norms.{i}.num_batches_tracked"] = torch.tensor(11)
    return state


def published_gin(state: dict[str, Tensor], x: Tensor, edges: list, n: int) -> Tensor:
    """The published model, edge by edge: loops with attributes (4, 0), messages ``h_j + e_ij``."""
    s = {k: v.double() for k, v in state.items()}
    h = s["x_embedding1.weight"][x[:, 0]] + s["x_embedding2.weight"][x[:, 1]]
    for i in range(2):
        bonds, directions = (s[f"gnns.{i}.edge_embedding{k}.weight"] for k in (1, 2))
        total = torch.zeros_like(h)
        for a, b, bond, direction in [*edges, *((v, v, 4, 0) for v in range(n))]:
            total[b] += h[a] + bonds[bond] + directions[direction]
        inside = F.relu(F.linear(total, s[f"gnns.{i}.mlp.0.weight"], s[f"gnns.{i}.mlp.0.bias"]))
        h = F.linear(inside, s[f"gnns.{i}.mlp.2.weight"], s[f"gnns.{i}.mlp.2.bias"])
        norm = [
            s[f"batch_norms.{i}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        ]
        h = F.batch_norm(h, *norm)
        h = F.relu(h) if i == 0 else h
    return h


@pytest.fixture
def gin_file(tmp_path: Path) -> Path:
    path = tmp_path / "masking.pth"
    torch.save(gin_state(), path)
    return path


def test_a_gin_in_the_published_layout_is_the_published_model(gin_file: Path, kernels: str) -> None:
    # The published masked atom is (119, 0), its masked bond (5, 0).
    x = torch.tensor([[5, 0], [7, 2], [119, 0], [0, 1]])
    edges = [(0, 1, 0, 1), (1, 0, 0, 1), (1, 2, 5, 0), (2, 1, 5, 0), (2, 3, 3, 2), (3, 2, 3, 2)]
    expected = published_gin(gin_state(), x, edges, 4)
    src, dst = torch.tensor([(a, b) for a, b, _, _ in edges]).T
    # Here masked is one past the last category of each column.
    bonds = torch.tensor([(4, 3) if bond == 5 else (bond, way) for _, _, bond, way in edges])
    masked = x.clone()
    masked[2] = torch.tensor([119, 3])
    encoder = load_pretrained(gin_file, dtype=torch.float64).eval()
    assert type(encoder) is GIN
    graph = Graph(src.contiguous(), dst.contiguous(), 4, x=masked, e=bonds)
    torch.testing.assert_close(encoder(graph), expected, rtol=1e-9, atol=1e-9)


# -- OGB's columns -------------------------------------------------------------------------------


def ogb_molecule() -> Graph:
    """Five atoms with every chirality and bond that needs translating, masked ones included."""
    x = torch.zeros(5, 9, dtype=torch.int64)
    x[:, 0] = torch.tensor([5, 118, 119, 7, 16])
    x[:, 1] = torch.tensor([0, 2, 5, 3, 4])
    x[:, 2] = torch.tensor([1, 2, 12, 3, 11])
    e = torch.zeros(8, 3, dtype=torch.int64)
    e[:, 0] = torch.tensor([0, 0, 1, 1, 4, 4, 5, 5])
    e[6:, 1:] = torch.tensor([6, 2])
    src = torch.tensor([0, 1, 1, 2, 2, 3, 3, 4])
    dst = torch.tensor([1, 0, 2, 1, 3, 2, 4, 3])
    return Graph(src, dst, 5, x=x, e=e)


def test_ogb_molecules_are_translated_column_by_column() -> None:
    graph = ogb_molecule()
    before = graph.x.clone()  # type: ignore[union-attr]
    native = ogb_to_pretrain_gnns(graph)
    assert native.x is not None
    assert native.e is not None
    assert native.x.tolist() == [[5, 0], [118, 2], [119, 3], [7, 0], [16, 0]]
    assert native.e[::2].tolist() == [[0, 0], [1, 0], [4, 0], [4, 3]]
    assert torch.equal(graph.x, before)  # type: ignore[arg-type]


def test_packed_molecules_get_the_new_schema() -> None:
    packed = PackedGraphs.pack([ogb_molecule(), ogb_molecule()], OGB).compact()
    native = ogb_to_pretrain_gnns(packed)
    assert native.schema == PRETRAIN_GNNS
    expected = ogb_to_pretrain_gnns(ogb_molecule())
    assert torch.equal(native[1].x, expected.x)  # type: ignore[arg-type]
    assert torch.equal(native[1].e, expected.e)  # type: ignore[arg-type]


def test_other_columns_than_ogbs_are_refused() -> None:
    graph = ogb_molecule()
    with pytest.raises(DataError, match="`x` has 2 columns, expected 9"):
        ogb_to_pretrain_gnns(graph.replace(x=graph.x[:, :2]))  # type: ignore[index]
    with pytest.raises(DataError, match="`e` of edge 0, column 0, is category 6"):
        ogb_to_pretrain_gnns(graph.replace(e=graph.e + 6))  # type: ignore[operator]


def test_the_columns_named_ogb_are_ogbs() -> None:
    from gtl.optional import without_version_check

    with without_version_check():
        features = pytest.importorskip("ogb.utils.features")
    assert OGB.node is not None
    assert OGB.edge is not None
    assert list(OGB.node.categories or ()) == features.get_atom_feature_dims()
    assert list(OGB.edge.categories or ()) == features.get_bond_feature_dims()


# -- files that are something else ---------------------------------------------------------------


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    missing, wrong, extra = gin_state(), gin_state(), gin_state()
    del missing["gnns.1.mlp.2.bias"]
    wrong["x_embedding1.weight"] = torch.zeros(119, 5)
    extra["decoder.weight"] = torch.zeros(2)
    for state, message in (
        (missing, r"no entry 'gnns\.1\.mlp\.2\.bias'"),
        (wrong, r"'x_embedding1\.weight' has shape \(119, 5\), expected \(120, 5\)"),
        (extra, r"unknown entry 'decoder\.weight'"),
        ({"weight": torch.zeros(2)}, "not a pretrain-gnns chem state dict"),
        ({}, "not a pretrain-gnns chem state dict"),
        ([torch.zeros(2)], "not a state dict of tensors"),
        ({"epoch": 3}, "not a state dict of tensors"),
    ):
        torch.save(state, path)
        with pytest.raises(CheckpointError, match=message):
            load_pretrained(path)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(
    gin_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        load_pretrained(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="of kind gcn"):
        load_pretrained(gin_file, kind="gcn")
    with pytest.raises(CheckpointError, match="of kind gat"):
        load_pretrained(gin_file, kind="gat")


def test_an_encoder_of_gtl_is_not_read_by_its_path() -> None:
    path = Path(gtl.__file__).parent / "pretrained" / "molecules.safetensors"
    with pytest.raises(CheckpointError, match="give an encoder that comes with gtl by its name"):
        load_pretrained(path)


def test_unknown_options_are_refused(gin_file: Path) -> None:
    with pytest.raises(ConfigError, match="`kind` is 'gnn', expected one of"):
        load_pretrained(gin_file, kind="gnn")
    with pytest.raises(ConfigError, match="`features` is 'rdkit', expected one of"):
        load_pretrained(gin_file, features="rdkit")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pth"
    torch.save({"weight": Trap()}, path)
    with pytest.raises(CheckpointError):
        load_pretrained(path)
    assert not (tmp_path / "sprung").exists()
