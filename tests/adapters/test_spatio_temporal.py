"""spatio_temporal: AIM's reference numbers, the frozen encoder at step 0, and no look ahead."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gtl.adapters import attach, detach
from gtl.catalog import ENCODERS
from gtl.encoders import GCN, SAGE
from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.roles import Encoder

HISTORY, NODES = 4, 5
PLAIN = Schema(node=Columns(width=3))
TYPED = Schema(node=Columns(width=3), edge=Columns(width=2), node_types=2, edge_types=3)
CODED = Schema(node=Columns((4, 2)), edge=Columns((3,)))


def snapshots(schema: Schema, windows: int = 2, absent: int = 3, seed: int = 0) -> Graph:
    """Windows of snapshots with edges of their own; some nodes are absent at some steps."""
    rng = torch.Generator().manual_seed(seed)
    graphs = []
    for s in range(windows * HISTORY):
        src, dst = torch.randint(NODES, (2, 9), generator=rng)
        graph = Graph(
            src,
            dst,
            NODES,
            x=_features(schema.node, NODES, rng),
            e=_features(schema.edge, 9, rng),
            node_type=torch.arange(NODES) % 2 if schema.node_types else None,
            edge_type=src % 3 if schema.edge_types else None,
        )
        there = torch.arange(NODES)[torch.arange(NODES) != s] if s < absent else torch.arange(NODES)
        graphs.append(graph.subgraph(there).replace(origin=there))
    return Graph.batch(graphs)


def _features(columns: Columns | None, rows: int, rng: torch.Generator) -> torch.Tensor | None:
    if columns is None:
        return None
    if columns.categories is None:
        return torch.randn(rows, columns.width, generator=rng)
    return torch.stack([torch.randint(c, (rows,), generator=rng) for c in columns.categories], 1)


def trained(encoder: Encoder, **options):
    """An encoder with an adapter none of whose parameters is zero."""
    adapted = attach(encoder, {"name": "spatio_temporal", "history": HISTORY, **options})
    for parameter in adapted.adapters.parameters():
        nn.init.normal_(parameter, std=0.3)
    return adapted


WITH_BLOCKS = [name for name in ENCODERS.names() if name != "embedding"]


@pytest.mark.parametrize("schema", [PLAIN, TYPED, CODED], ids=["plain", "typed", "coded"])
@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_at_step_0_it_is_the_frozen_encoder_snapshot_by_snapshot(name, schema):
    options = {} if name in ("hgt", "earl") else {"residual": schema is PLAIN, "dropout": 0.4}
    encoder = ENCODERS.build({"name": name, "width": 8, "depth": 2, **options}, schema)
    graph = snapshots(schema)
    adapted = attach(
        encoder, {"name": "spatio_temporal", "history": HISTORY, "causal": name != "earl"}
    ).train()
    one_by_one = torch.cat([encoder(part.replace(sizes=None)) for part in graph.unbatch()])
    assert torch.equal(adapted(graph), encoder(graph))
    torch.testing.assert_close(adapted(graph), one_by_one)
    assert detach(adapted) is encoder


def test_blocks_that_send_against_edges_are_refused_where_order_counts():
    encoder, graph = ENCODERS.build({"name": "earl", "width": 8}, PLAIN), snapshots(PLAIN)
    with pytest.raises(ConfigError, match=r"`causal` is true.*against edges too.*causal=False"):
        trained(encoder)(graph)
    assert (
        trained(ENCODERS.build({"name": "earl", "width": 8}, PLAIN), causal=False)(graph)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("name", [name for name in WITH_BLOCKS if name != "earl"])
def test_what_comes_later_changes_no_earlier_vector(name):
    encoder = ENCODERS.build({"name": name, "width": 8, "depth": 2}, PLAIN)
    adapted, graph = trained(encoder), snapshots(PLAIN)
    step = graph.graph_ids() % HISTORY
    for now in range(HISTORY - 1):
        later = (step > now).unsqueeze(1)
        changed = graph.replace(x=torch.where(later, 100.0, graph.x))
        here = step <= now
        assert torch.equal(adapted(changed)[here], adapted(graph)[here])
        assert not torch.equal(adapted(changed)[~here], adapted(graph)[~here])


def test_without_causality_the_whole_window_counts_and_no_other():
    adapted, graph = (
        trained(SAGE(PLAIN, width=8, depth=1), causal=False),
        snapshots(PLAIN, absent=0),
    )
    last = graph.x.clone()
    last[(HISTORY - 1) * NODES] += 1.0  # node 0 at the last step of the first window
    moved = (adapted(graph.replace(x=last)) != adapted(graph)).any(1)
    first_window = torch.arange(HISTORY * NODES)
    assert moved[first_window].view(HISTORY, NODES)[:, 0].all()
    assert not moved[HISTORY * NODES :].any()


def test_each_block_may_reach_its_own_way_back():
    graph = snapshots(PLAIN, windows=1, absent=0)
    bare = Graph(
        *torch.empty(2, 0, dtype=torch.int64), graph.num_nodes, x=graph.x, sizes=graph.sizes
    )
    first = graph.x.clone()
    first[0] += 1.0
    for reach, changed in ((1, [0, 1]), ([1], [0, 1]), ([2], [0, 1, 2]), (None, [0, 1, 2, 3])):
        adapted = trained(SAGE(PLAIN, width=8, depth=1), parts=["temporal"], reach=reach)
        moved = (adapted(bare.replace(x=first)) != adapted(bare)).any(1).view(HISTORY, NODES)
        assert moved[:, 0].nonzero().flatten().tolist() == changed
        assert not moved[:, 1:].any()


@pytest.mark.parametrize("inlet", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_one_block_by_hand(residual, inlet):
    torch.manual_seed(1)
    encoder = GCN(PLAIN, width=8, depth=1, norm=None, residual=residual).double()
    graph = snapshots(PLAIN, absent=0).to(dtype=torch.float64)
    adapted = trained(encoder, scale=0.25, hidden=3, inlet=inlet)
    (part,) = adapted.parts()
    block, maps = encoder.blocks[0], part.maps
    step = torch.arange(len(graph.x)) // NODES % HISTORY
    h = encoder.embed(graph) + part.steps[step]
    rows = torch.arange(len(h)).view(-1, HISTORY, NODES)
    pairs = [
        (int(rows[w, s, i]), int(rows[w, t, i]))
        for w in range(len(rows))
        for t in range(HISTORY)
        for s in range(t)
        for i in range(NODES)
    ]
    src, dst = torch.tensor(pairs).unbind(1)

    def adapt(name, z):
        layer = maps[name][0]
        return layer.up(F.gelu(layer.down(z)))

    read = h + adapt("inlet", h) if inlet else h
    own = read if residual else 0
    h = h + adapt("temporal", block(Graph(src, dst, len(h)), read) - own)
    out = block(graph, h)
    out = out + adapt("spatial", out - (h if residual else 0)) + 0.25 * adapt("joint", h)
    torch.testing.assert_close(adapted(graph), out, rtol=1e-12, atol=1e-12)


class Attention(nn.Module):
    """``h + MSA(LN(h))`` over the neighbors and the node itself: a transformer's first half."""

    residual = True

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(width), heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, graph, h):
        looped = Graph(graph.src, graph.dst, graph.num_nodes).with_self_loops()
        q, k, v = self.qkv(self.norm(h)).unflatten(1, (3, self.heads, -1)).unbind(1)
        scores = ops.dot_on_edges(looped, k, q) / k.shape[-1] ** 0.5
        weight = ops.softmax_on_edges(looped, scores)
        return h + self.out(ops.weighted_sum_neighbors(looped, v, weight).flatten(1))


class Feedforward(nn.Module):
    """``W' quickgelu(W h)``: the other half, without its norm and residual connection."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, graph, h):
        z = self.up(h)
        return self.down(z * torch.sigmoid(1.702 * z))


class OneBlock(Encoder):
    """An encoder whose input is the node features themselves."""

    def __init__(self, block: nn.Module, width: int):
        super().__init__()
        self.embed, self.blocks = Features(), nn.ModuleList([block])
        self.schema, self.width = Schema(node=Columns(width=width)), width

    def forward(self, graph):
        return self.layers(graph)[-1]


class Features(nn.Module):
    def forward(self, graph):
        return graph.x


def load(module: nn.Module, arrays, names: dict[str, str]) -> None:
    state = {mine: torch.from_numpy(arrays[f"block.{theirs}"]) for mine, theirs in names.items()}
    module.load_state_dict(state, strict=False)


def linear(mine: str, theirs: str) -> dict[str, str]:
    return {f"{mine}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


@pytest.fixture
def reference(golden):
    """The published block, taken apart: attention over the tokens, and the MLP behind it."""
    arrays = np.load(golden / "aim.npz", allow_pickle=False)
    width, history = arrays["block_x"].shape[2], int(arrays["block_num_frames"])
    attention, mlp = Attention(width, int(arrays["block_heads"])), Feedforward(width)
    first = attach(
        OneBlock(attention, width),
        {
            "name": "spatio_temporal",
            "history": history,
            "parts": ["temporal", "spatial"],
            "hidden": 3,
            "causal": False,
        },
    )
    second = attach(
        OneBlock(mlp, width),
        {
            "name": "spatio_temporal",
            "history": history,
            "parts": ["joint"],
            "hidden": 3,
            "scale": float(arrays["block_scale"]),
        },
    )
    first, second, norm = first.double(), second.double(), nn.LayerNorm(width).double()
    load(attention, arrays, linear("norm", "ln_1") | linear("out", "attn.out_proj"))
    load(attention, arrays, {f"qkv.{p}": f"attn.in_proj_{p}" for p in ("weight", "bias")})
    load(mlp, arrays, linear("up", "mlp.c_fc") | linear("down", "mlp.c_proj"))
    load(norm, arrays, {p: f"ln_2.{p}" for p in ("weight", "bias")})
    return arrays, first, norm, second


def tokens(x: np.ndarray) -> Graph:
    """``[tokens, batch * T, D]`` as complete snapshots, one for each frame, in order."""
    count, frames = x.shape[:2]
    start, end = torch.tensor([(i, j) for i in range(count) for j in range(count) if i != j]).T
    shift = (torch.arange(frames) * count).repeat_interleave(len(start))
    rows = torch.from_numpy(x).transpose(0, 1).flatten(0, 1)
    sizes = torch.full((frames,), count)
    src, dst = start.repeat(frames) + shift, end.repeat(frames) + shift
    return Graph(src, dst, len(rows), x=rows, sizes=sizes)


def through(graph: Graph, first, norm, second) -> np.ndarray:
    """The published block: attention adapted, then the MLP, each with its residual connection."""
    x = first(graph)
    out = x + second(graph.replace(x=norm(x)))
    frames = out.view(graph.num_graphs, -1, out.shape[1]).transpose(0, 1)
    return frames.detach().numpy()


def test_it_gives_the_numbers_of_the_published_block(reference):
    arrays, first, norm, second = reference
    parts = {
        ("temporal", first): "T_Adapter",
        ("spatial", first): "S_Adapter",
        ("joint", second): "MLP_Adapter",
    }
    for (part, adapted), name in parts.items():
        (adapter,) = adapted.parts()
        names = linear("down", f"{name}.D_fc1") | linear("up", f"{name}.D_fc2")
        load(adapter.maps[part][0], arrays, names)
    graph = tokens(arrays["block_x"])
    spatial = first(graph).view(graph.num_graphs, -1, 12).transpose(0, 1).detach().numpy()
    np.testing.assert_allclose(
        spatial, arrays["block_after_spatial_tadapter1"], rtol=1e-9, atol=1e-10
    )
    out = through(graph, first, norm, second)
    np.testing.assert_allclose(out, arrays["block_out_tadapter1"], rtol=1e-9, atol=1e-10)


def test_with_an_inlet_it_gives_the_numbers_of_two_published_temporal_adapters(golden):
    arrays = np.load(golden / "aim.npz", allow_pickle=False)
    width, history = arrays["block_x"].shape[2], int(arrays["block_num_frames"])
    attention, norm = Attention(width, int(arrays["block_heads"])), nn.LayerNorm(width).double()
    attention.norm = nn.Identity()  # the published inlet stands behind the norm
    adapted = attach(
        OneBlock(attention, width),
        {
            "name": "spatio_temporal",
            "history": history,
            "parts": ["temporal"],
            "hidden": 3,
            "causal": False,
            "inlet": True,
        },
    ).double()
    load(norm, arrays, {p: f"ln_1.{p}" for p in ("weight", "bias")})
    load(attention, arrays, linear("out", "attn.out_proj"))
    load(attention, arrays, {f"qkv.{p}": f"attn.in_proj_{p}" for p in ("weight", "bias")})
    (adapter,) = adapted.parts()
    for part, name in (("inlet", "T_Adapter_in"), ("temporal", "T_Adapter")):
        names = linear("down", f"{name}.D_fc1") | linear("up", f"{name}.D_fc2")
        load(adapter.maps[part][0], arrays, names)
    graph, reads = tokens(arrays["block_x"]), []
    normalized = graph.replace(x=norm(graph.x).detach())
    attention.qkv.register_forward_pre_hook(lambda module, inputs: reads.append(inputs[0]))
    adapted(normalized)
    added = (reads[-1] - normalized.x).view(-1, len(arrays["block_x"]), width).transpose(0, 1)
    expected = arrays["block_after_temporal_tadapter2"] - arrays["block_x"]
    np.testing.assert_allclose(added.detach().numpy(), expected, rtol=1e-9, atol=1e-10)


def test_untrained_it_gives_the_numbers_of_the_published_frozen_block(reference):
    arrays, *parts = reference
    out = through(tokens(arrays["block_x"]), *parts)
    np.testing.assert_allclose(out, arrays["block_out_zero_init"], rtol=1e-9, atol=1e-10)


def test_the_bottleneck_is_the_published_adapter_without_its_skip(golden):
    from gtl.adapters.bottleneck_map import BottleneckMap

    arrays = np.load(golden / "aim.npz", allow_pickle=False)
    narrow = BottleneckMap(13, 13, int(arrays["adapter_hidden"]), "gelu", None).double()
    names = linear("down", "adapter.D_fc1") | linear("up", "adapter.D_fc2")
    narrow.load_state_dict({k: torch.from_numpy(arrays[v]) for k, v in names.items()}, strict=False)
    x = torch.from_numpy(arrays["adapter_x"])
    added = narrow(x).detach().numpy()
    np.testing.assert_allclose(added, arrays["adapter_out_noskip"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(x.numpy() + added, arrays["adapter_out_skip"], rtol=1e-9, atol=1e-10)


def test_parts_can_be_left_out():
    encoder = SAGE(PLAIN, width=8, depth=2)
    for parts, maps in ((["spatial"], 2), (["temporal", "joint"], 4)):
        adapted = attach(encoder, {"name": "spatio_temporal", "history": 2, "parts": parts})
        (part,) = adapted.parts()
        assert len([m for m in part.modules() if type(m).__name__ == "BottleneckMap"]) == maps
        assert hasattr(part, "steps") == ("temporal" in parts)
        detach(adapted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"history": 0}, "`history` is 0"),
        ({"history": 2, "hidden": 0}, "`hidden` is 0"),
        ({"history": 2, "parts": []}, "`parts` is"),
        ({"history": 2, "parts": "temporal"}, "`parts` is 'temporal'"),
        ({"history": 2, "parts": ["tempral"]}, "expected some of"),
        ({"history": 2, "reach": [1]}, "a number for each of 2 blocks"),
        ({"history": 2, "reach": 0}, "`reach` is 0, expected 1 step or more, or None"),
        ({"history": 2, "reach": [1, -1]}, r"`reach` is \[1, -1\], expected 1 step or more"),
        ({"history": 2, "reach": 1.5}, "`reach` is 1.5, expected 1 step or more"),
        ({"history": 2, "reach": "all"}, "`reach` is 'all', expected 1 step or more"),
        ({"history": 2, "edge_type": -1}, "`edge_type` is -1, expected"),
        ({"history": 2, "parts": ["spatial"], "inlet": True}, "`inlet` is a temporal adapter"),
        ({}, "needs the option 'history'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        attach(SAGE(PLAIN, width=8, depth=2), {"name": "spatio_temporal", **options})


def test_edges_along_time_are_of_a_type_that_the_encoder_knows():
    encoder = ENCODERS.build({"name": "rgcn", "width": 8, "depth": 2}, TYPED)
    words = r"`edge_type` is 3, expected one of the encoder's 3 types, 0 to 2"
    with pytest.raises(ConfigError, match=words):
        attach(encoder, {"name": "spatio_temporal", "history": 2, "edge_type": 3})
    adapted = attach(encoder, {"name": "spatio_temporal", "history": HISTORY, "edge_type": 2})
    assert bool(adapted(snapshots(TYPED)).isfinite().all())
    with pytest.raises(ConfigError, match="`edge_type` is 1, but the encoder has no edge types"):
        attach(SAGE(PLAIN, width=8), {"name": "spatio_temporal", "history": 2, "edge_type": 1})


def test_a_batch_that_is_no_whole_window_is_refused():
    adapted = attach(SAGE(PLAIN, width=8, depth=2), {"name": "spatio_temporal", "history": 3})
    with pytest.raises(ShapeError, match="8 snapshots, expected whole windows of 3"):
        adapted(snapshots(PLAIN))


def test_it_needs_an_encoder_of_equal_blocks():
    net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ConfigError, match=r"blocks of a gtl\.roles\.Encoder on graphs along time"):
        attach(
            net,
            {"name": "spatio_temporal", "history": 2},
            blocks=["0"],
            example=(torch.zeros(1, 3),),
        )
