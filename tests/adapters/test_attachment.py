"""Attaching, detaching, storing and choosing adapters, also on encoders from elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gtl import adapters
from gtl.errors import CheckpointError, ConfigError, ShapeError, UnknownPartError
from gtl.graph import ops
from gtl.roles import Adapter, Encoder
from gtl.testing import MOLECULES
from gtl.testing.laws import loosened


class Plus(Adapter):
    """Adds a number to what every block gives, and remembers who called it."""

    calls: list[str] = []

    def __init__(self, name="plus"):
        super().__init__()
        self.name = name

    def setup(self, sites):
        self.paths = [block.path for block in sites.blocks]
        self.amount = nn.Parameter(torch.zeros(()))

    def wraps(self):
        return dict.fromkeys(self.paths, self.around)

    def around(self, call, *inputs):
        out = call(*inputs) + self.amount
        Plus.calls.append(self.name)
        return out


def test_the_result_is_an_encoder_of_the_same_schema_width_and_blocks(encoder, graph):
    width, expected = encoder.width, encoder.eval()(graph)
    adapted = adapters.attach(encoder, "film")
    assert isinstance(adapted, Encoder)
    assert (adapted.schema, adapted.width, len(adapted.blocks)) == (MOLECULES, width, 3)
    assert torch.equal(adapted(graph), expected)


def test_embedding_and_blocks_called_one_by_one_are_adapted_too(encoder, graph):
    adapted = adapters.attach(encoder, "film")
    loosened(adapted.adapters)
    h = adapted.embed(graph)
    for block in adapted.blocks:
        h = block(graph, h)
    assert torch.equal(h, adapted(graph))
    assert torch.equal(h, adapted.layers(graph)[-1])
    assert not torch.equal(h, adapted.base(graph))


def test_of_several_adapters_in_a_row_the_first_acts_next_to_the_layer(encoder, graph):
    adapted = adapters.attach(encoder, [Plus("first"), Plus("second")])
    Plus.calls.clear()
    adapted(graph)
    assert Plus.calls == ["first", "second"] * 3


def test_a_frozen_encoder_stays_in_eval_mode_and_dropout_is_off(encoder, graph):
    adapted = nn.Sequential(adapters.attach(encoder, [Plus()])).train()
    assert adapted[0].training
    assert not any(module.training for module in encoder.modules())
    assert torch.equal(adapted(graph), adapted(graph))


def test_an_empty_list_freezes_and_adds_nothing(encoder, graph):
    adapted = adapters.attach(encoder, [])
    assert not any(p.requires_grad for p in adapted.parameters())
    assert not adapted(graph).requires_grad
    assert adapters.adapter_state(adapted) == {}


def test_between_forward_passes_the_encoder_itself_is_not_adapted(encoder, graph):
    expected = encoder.eval()(graph)
    adapted = adapters.attach(encoder, Plus())
    with torch.no_grad():
        adapted.parts()[0].amount.fill_(5.0)
    assert not torch.equal(adapted(graph), expected)
    assert torch.equal(encoder(graph), expected)


def test_an_error_in_a_forward_pass_leaves_nothing_behind(encoder, graph):
    adapted = adapters.attach(encoder, Plus())
    with pytest.raises(Exception, match="`x`"):
        adapted(graph.replace(x=None))
    assert not any("forward" in vars(module) for module in encoder.modules())


def test_each_of_several_named_adapters_is_used_by_name_and_trained_alone(encoder, graph):
    expected = encoder.eval()(graph)
    adapted = adapters.attach(encoder, Plus(), name="one")
    with torch.no_grad():
        adapted.parts()[0].amount.fill_(1.0)
    again = adapters.attach(adapted, "film", name="two")
    assert again is adapted
    assert adapted.active_adapter == "two"
    assert torch.equal(adapted(graph), expected)
    free = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert free
    assert all(name.startswith("adapters.two.") for name in free)
    adapted.set_adapter("one")
    free = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert free == ["adapters.one.0.amount"]
    assert not torch.equal(adapted(graph), expected)
    assert torch.equal(adapted.set_adapter(None)(graph), expected)


def test_a_file_holds_the_adapter_alone_and_is_small(encoder, graph, tmp_path):
    adapted = adapters.attach(encoder, "film")
    loosened(adapted.adapters)
    expected = adapted(graph)
    adapters.save_adapter(adapted, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size < 2048
    base = adapters.detach(adapted)
    loaded = adapters.load_adapter(base, tmp_path / "a.safetensors", name="theirs")
    assert loaded.active_adapter == "theirs"
    assert torch.equal(loaded(graph), expected)


def test_the_number_of_trainable_parameters_is_printed(encoder, capsys):
    total = sum(p.numel() for p in encoder.parameters())
    adapters.attach(encoder, "film").print_trainable_parameters()
    expected = f"trainable params: 36 || all params: {total + 36:,} || trainable%:"
    assert capsys.readouterr().out.startswith(expected)


# -- encoders from elsewhere ---------------------------------------------------------------------


class AnyConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, graph, h):
        return ops.mean_neighbors(graph, self.linear(h))


class Stranger(nn.Module):
    """Layers of different widths under names of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = AnyConv(5, 7), AnyConv(7, 3)

    def forward(self, graph, features, scale=1.0):
        return self.second(graph, torch.relu(self.first(graph, features))) * scale


def test_any_module_can_be_adapted_around_its_convolutions(graph):
    stranger, features = Stranger(), torch.randn(graph.num_nodes, 5)
    expected = stranger(graph, features, scale=2.0)
    adapted = adapters.attach(stranger, "film", example=(graph, features))
    assert [place.path for place in adapted.sites.blocks] == ["first", "second"]
    assert [(place.inputs, place.width) for place in adapted.sites.blocks] == [(5, 7), (7, 3)]
    assert torch.equal(adapted(graph, features, scale=2.0), expected)
    loosened(adapted.adapters)
    assert not torch.equal(adapted(graph, features, scale=2.0), expected)
    assert torch.equal(adapters.detach(adapted)(graph, features, scale=2.0), expected)
    assert all(p.requires_grad for p in stranger.parameters())


def test_layers_of_dgl_can_be_adapted(graph):
    dgl = pytest.importorskip("dgl", reason="DGL has no wheel here")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = dgl.nn.GraphConv(5, 8, allow_zero_in_degree=True)
            self.conv2 = dgl.nn.GATConv(8, 4, num_heads=2, allow_zero_in_degree=True)

        def forward(self, g, x):
            return self.conv2(g, torch.relu(self.conv1(g, x))).mean(1)

    net, x = Net(), torch.randn(graph.num_nodes, 5)
    g = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    _require_that_it_adapts(net, (g, x))


def test_layers_of_pyg_can_be_adapted(graph):
    pyg = pytest.importorskip("torch_geometric.nn", reason="PyG is not installed")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm, self.conv2 = (
                pyg.GCNConv(5, 8),
                pyg.BatchNorm(8),
                pyg.SAGEConv(8, 4),
            )

        def forward(self, x, edge_index):
            return self.conv2(self.norm(self.conv1(x, edge_index)).relu(), edge_index)

    x, edge_index = torch.randn(graph.num_nodes, 5), torch.stack([graph.src, graph.dst])
    _require_that_it_adapts(Net(), (x, edge_index))


def _require_that_it_adapts(net, inputs):
    expected = net.eval()(*inputs)
    adapted = adapters.attach(net, "film", example=inputs)
    assert torch.equal(adapted(*inputs), expected)
    adapted(*inputs).sum().backward()
    grads = [p.grad for p in adapted.adapters.parameters()]
    assert len(grads) == 4
    assert all(grad is not None for grad in grads)
    loosened(adapted.adapters)
    assert not torch.equal(adapted(*inputs), expected)
    assert torch.equal(adapters.detach(adapted)(*inputs), expected)


# -- bad input -----------------------------------------------------------------------------------


def test_an_encoder_without_blocks_is_refused(encoder):
    encoder.blocks = nn.ModuleList()
    with pytest.raises(ConfigError, match="GIN has no blocks that an adapter could attach to"):
        adapters.attach(encoder, "film")
    with pytest.raises(ConfigError, match="Linear has no blocks"):
        adapters.attach(nn.Linear(2, 2), "film", example=(torch.ones(1, 2),))
    assert all(p.requires_grad for p in encoder.parameters())


def test_a_module_from_elsewhere_needs_an_example_and_existing_layers(graph):
    with pytest.raises(ConfigError, match="give the inputs of one call"):
        adapters.attach(Stranger(), "film")
    with pytest.raises(ConfigError, match="'third', the encoder has no such module; it has: first"):
        adapters.attach(Stranger(), "film", blocks=["third"], example=())


def test_a_layer_that_is_not_used_is_named(encoder):
    encoder.blocks[0].spare = nn.Linear(6, 6)
    with pytest.raises(ConfigError, match=r"does not use blocks\.0\.spare"):
        adapters.attach(encoder, "film", blocks=["blocks.0.spare"])


def test_a_name_can_be_taken_once(encoder):
    adapted = adapters.attach(encoder, "film")
    with pytest.raises(ConfigError, match="named 'default' is attached already"):
        adapters.attach(adapted, "film")
    for name in ("", "a.b"):
        with pytest.raises(ConfigError, match="expected a word without a dot"):
            adapters.attach(adapted, "film", name=name)


def test_an_unknown_name_is_answered_with_those_attached(encoder):
    adapted = adapters.attach(encoder, "film", name="mine")
    with pytest.raises(ConfigError, match="no adapter is named 'yours'; attached: 'mine'"):
        adapted.set_adapter("yours")
    assert adapted.active_adapter == "mine"


def test_an_unknown_adapter_and_something_else_are_refused(encoder):
    with pytest.raises(UnknownPartError, match="'filn'; did you mean 'film'"):
        adapters.attach(encoder, "filn")
    with pytest.raises(ConfigError, match="`adapter` is a Linear, expected a name"):
        adapters.attach(encoder, nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="`encoder` is a int"):
        adapters.attach(3, "film")
    assert all(p.requires_grad for p in encoder.parameters())


def test_an_adapter_that_wraps_what_is_not_there_is_refused(encoder):
    part = Plus()
    part.wraps = lambda: {"blocks.9": part.around}
    with pytest.raises(ConfigError, match=r"wraps 'blocks\.9', the encoder has no such module"):
        adapters.attach(encoder, part)


def test_nothing_can_be_detached_or_read_where_nothing_is_attached(encoder):
    for function in (adapters.detach, adapters.merge, adapters.adapter_state):
        with pytest.raises(ConfigError, match="a GIN has no adapters; attach one"):
            function(encoder)
    with pytest.raises(ConfigError, match="no adapter is active"):
        adapters.adapter_state(adapters.attach(encoder, "film").set_adapter(None))


def test_an_adapter_that_is_not_linear_is_not_merged_and_nothing_changes(encoder):
    adapted = adapters.attach(encoder, ["film", Plus()])
    loosened(adapted.adapters)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(ConfigError, match=r"Plus adapter is not linear .* keep it attached"):
        adapters.merge(adapted)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_a_state_of_another_shape_or_kind_is_refused_and_changes_nothing(encoder):
    adapted = adapters.attach(encoder, "film")
    state = adapters.adapter_state(adapted)
    wrong = {**state, "0.shift.2": torch.ones(5)}
    with pytest.raises(ShapeError, match=r"'0\.shift\.2' has shape \(5,\), expected \(6,\)"):
        adapters.load_adapter_state(adapted, {name: v + 1 for name, v in wrong.items()})
    with pytest.raises(ShapeError, match=r"the state has no '0\.scale\.0'"):
        adapters.load_adapter_state(adapted, {})
    with pytest.raises(ShapeError, match="the adapter has no 'more'"):
        adapters.load_adapter_state(adapted, {**state, "more": torch.ones(1)})
    after = adapters.adapter_state(adapted)
    assert all(torch.equal(state[name], after[name]) for name in state)


def test_a_file_for_another_encoder_is_refused_and_detached_again(encoder, tmp_path):
    from gtl import checkpoint
    from gtl.encoders import GIN

    wide = adapters.attach(GIN(MOLECULES, width=7, depth=3), "film")
    adapters.save_adapter(wide, tmp_path / "a.safetensors")
    with pytest.raises(ShapeError, match=r"has shape \(7,\), expected \(6,\)"):
        adapters.load_adapter(encoder, tmp_path / "a.safetensors")
    assert all(p.requires_grad for p in encoder.parameters())
    checkpoint.save(tmp_path / "b.safetensors", {"state": {}})
    with pytest.raises(CheckpointError, match="is no adapter"):
        adapters.load_adapter(encoder, tmp_path / "b.safetensors")


def test_a_file_for_an_encoder_of_another_class_is_refused(tmp_path):
    from gtl import checkpoint
    from gtl.encoders import GCN, GIN

    path, other = tmp_path / "a.safetensors", GCN(MOLECULES, width=8, depth=2)
    adapters.save_adapter(adapters.attach(GIN(MOLECULES, width=8, depth=2), "bottleneck"), path)
    with pytest.raises(CheckpointError, match="of the class GIN, this one is a GCN"):
        adapters.load_adapter(other, path)
    assert all(p.requires_grad for p in other.parameters())
    adapters.load_adapter(GIN(MOLECULES, width=8, depth=2), path)
    former = {k: v for k, v in adapters.read_adapter(path).items() if k != "encoder"}
    checkpoint.save(path, former)
    adapters.load_adapter(other, path)


def test_a_file_that_does_not_fit_leaves_the_active_adapter_active(encoder, tmp_path):
    from gtl.encoders import GIN

    wide = adapters.attach(GIN(MOLECULES, width=7, depth=3), "film")
    adapters.save_adapter(wide, tmp_path / "a.safetensors")
    adapted = adapters.attach(adapters.attach(encoder, "film", "first"), "film", "second")
    for before in ("second", None):
        adapted.set_adapter(before)
        with pytest.raises(ShapeError):
            adapters.load_adapter(adapted, tmp_path / "a.safetensors", "third")
        assert adapted.active_adapter == before and set(adapted.adapters) == {"first", "second"}


def test_an_encoder_is_unfrozen_when_the_last_adapter_is_detached(encoder):
    encoder.train()
    encoder.blocks[0].requires_grad_(False)
    required = {name: p.requires_grad for name, p in encoder.named_parameters()}
    first, second = adapters.attach(encoder, "film"), adapters.attach(encoder, "lora")
    assert adapters.detach(second) is encoder
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    adapters.detach(first)
    assert {name: p.requires_grad for name, p in encoder.named_parameters()} == required
    assert encoder.training


def test_an_adapted_encoder_that_was_deleted_freezes_nothing(encoder):
    adapters.attach(encoder, "film")
    second = adapters.attach(encoder, "lora")
    assert all(p.requires_grad for p in adapters.detach(second).parameters())


def test_layers_may_be_called_with_keywords():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, weight=1.0):
            return weight * self.linear(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Scaled()

        def forward(self, x):
            return self.layer(x, weight=3.0)

    x, net = torch.randn(5, 4), Net()
    expected = net(x)
    for name in ("bottleneck", "lora", "parallel"):
        adapted = adapters.attach(net, name, blocks=["layer"], example=(x,))
        assert torch.equal(adapted(x), expected)
        adapters.detach(adapted)


def test_an_instance_is_attached_once(encoder):
    part = adapters.FiLM()
    adapters.attach(encoder, part)
    with pytest.raises(ConfigError, match="instance was attached before"):
        adapters.attach(copy.deepcopy(encoder), part)


def test_layers_reach_layerwise_in_their_order_however_the_module_calls_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.second(self.first(x))

    x = torch.randn(5, 4)
    adapted = adapters.attach(
        Net(), {"name": "layerwise", "hidden": 2}, blocks=["second", "first"], example=(x,)
    )
    (part,) = adapted.parts()
    assert [layer.in_features for layer in part.down] == [2, 3]
    assert torch.equal(adapted(x), adapted.base(x))


def test_layers_that_are_one_module_are_named(encoder):
    encoder.blocks[1] = encoder.blocks[0]
    with pytest.raises(ConfigError, match=r"blocks\.1 is the same module as an earlier block"):
        adapters.attach(encoder, "film")


def test_a_file_may_go_into_a_new_folder(encoder, tmp_path):
    adapted = adapters.attach(encoder, "film")
    adapters.save_adapter(adapted, tmp_path / "a" / "b.safetensors")
    assert adapters.read_adapter(tmp_path / "a" / "b.safetensors")["adapter"]


def test_a_copy_is_detached_like_the_one_it_is_of(encoder):
    adapted = copy.deepcopy(adapters.attach(encoder, "film"))
    assert all(p.requires_grad for p in adapters.detach(adapted).parameters())


# -- what adapters are like once they are attached -------------------------------------------------


def test_an_adapter_takes_the_dtype_of_the_encoder(graph):
    from gtl.encoders import GCN

    for name in ("film", "lora", "bottleneck", "layerwise", "parallel"):
        encoder = GCN(MOLECULES, width=6, depth=2).double()
        adapted = adapters.attach(encoder, name)
        assert {p.dtype for p in adapted.adapters.parameters()} == {torch.float64}
        assert adapted(graph).dtype == torch.float64


@pytest.mark.parametrize("mode", [False, True])
def test_an_adapted_encoder_is_in_the_mode_that_the_encoder_was_in(encoder, mode):
    adapted = adapters.attach(encoder.train(mode), "bottleneck")
    other = adapters.attach(encoder, "film")  # the encoder is in eval mode by now
    again = adapters.attach(adapted, "bottleneck", "second")
    for one in (adapted, other, again):
        assert one.training == mode
        assert all(module.training == mode for module in one.adapters.modules())
        assert not any(module.training for module in one.base.modules())


def test_a_second_adapter_takes_the_mode_of_the_adapted_encoder(encoder):
    adapted = adapters.attach(encoder.train(), "film").eval()
    adapters.attach(adapted, {"name": "bottleneck", "dropout": 0.5}, "second")
    assert not any(module.training for module in adapted.modules())


def test_the_state_of_an_adapter_is_a_copy_that_training_does_not_change(encoder, graph):
    adapted = adapters.attach(encoder, "film")
    state = adapters.adapter_state(adapted)
    before = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        for parameter in adapted.adapters.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in state.items())
    assert not any(value.requires_grad for value in state.values())
    for value in state.values():
        value.fill_(7.0)
    assert not any((p == 7).any() for p in adapted.adapters.parameters())


def test_a_state_that_was_loaded_is_not_the_adapters_own(encoder):
    adapted = adapters.attach(encoder, "film")
    state = {name: value + 1 for name, value in adapters.adapter_state(adapted).items()}
    adapters.load_adapter_state(adapted, state)
    for value in state.values():
        value.fill_(7.0)
    assert not any((p == 7).any() for p in adapted.adapters.parameters())


@pytest.mark.parametrize("active", ["one", "two", "three"])
def test_specs_name_the_active_adapters_last_and_parts_in_their_order(encoder, active):
    from gtl.adapters.attachment import specs_of

    adapted = adapters.attach(encoder, ["film", {"name": "lora", "rank": 2}], "one")
    adapters.attach(adapted, ["lora", "film"], "two")
    adapters.attach(adapted, "bottleneck", "three").set_adapter(active)
    specs = specs_of(adapted)
    others = [name for name in ("one", "two", "three") if name != active]
    assert list(specs) == [*others, active]
    assert specs["one"] == [{"name": "film"}, {"name": "lora", "rank": 2}]
    assert specs["two"] == [{"name": "lora"}, {"name": "film"}]
    built = copy.deepcopy(adapters.detach(adapted))
    for name, parts in specs.items():
        built = adapters.attach(built, parts, name)
    assert built.active_adapter == active


def test_the_former_names_of_the_active_adapter_still_work_and_warn(encoder):
    adapted = adapters.attach(encoder, "film", "mine")
    with pytest.warns(FutureWarning, match=r"`use\(name\)` is now `set_adapter\(name\)`"):
        assert adapted.use(None) is adapted
    with pytest.warns(FutureWarning, match="`in_use` is now `active_adapter`"):
        assert adapted.in_use is None


@pytest.mark.parametrize("key", ["active_adapter", "adapter_in_use"])
def test_a_run_folder_remembers_that_no_adapter_is_active_also_under_the_former_key(encoder, key):
    from pathlib import Path

    from gtl.train.model import encoder_config, encoder_from_config

    adapted = adapters.attach(encoder, "film").set_adapter(None)
    config = encoder_config(adapted)
    config[key] = config.pop("active_adapter")
    assert encoder_from_config(config, Path()).active_adapter is None


# -- modules that are shared or reached in another way ---------------------------------------------


class TwiceConv(AnyConv):
    """One map that is there twice and called twice."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.again = self.linear

    def forward(self, graph, h):
        return self.again(super().forward(graph, h))


class Tied(nn.Module):
    """Three convolutions that may share matrices or parts."""

    def __init__(self, share):
        super().__init__()
        self.first, self.second, self.third = (AnyConv(5, 5) for _ in range(3))
        if share == "matrix":
            self.second.linear.weight = self.first.linear.weight
        elif share == "module":
            self.third.linear = self.first.linear
        elif share == "outside":
            self.out = nn.Linear(5, 5)
            self.out.weight = self.third.linear.weight
        elif share == "inside":
            self.first = TwiceConv(5, 5)

    def forward(self, graph, h):
        for conv in (self.first, self.second, self.third):
            h = torch.tanh(conv(graph, h))
        return self.out(h) if hasattr(self, "out") else h


@pytest.mark.parametrize("name", ["lora", "parallel"])
@pytest.mark.parametrize(
    ("share", "names"),
    [
        ("matrix", r"first\.linear\.weight and second\.linear\.weight"),
        ("module", r"first\.linear\.weight and third\.linear\.weight"),
        ("outside", r"third\.linear\.weight and out\.weight"),
    ],
)
def test_changes_of_a_shared_matrix_are_not_merged_and_nothing_changes(graph, name, share, names):
    net, x = Tied(share), torch.randn(graph.num_nodes, 5)
    adapted = adapters.attach(net, name, example=(graph, x))
    loosened(adapted.adapters)
    expected = adapted(graph, x)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ConfigError, match=f"{names} are one parameter.*keep it attached"):
        adapters.merge(adapted)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert torch.equal(adapted(graph, x), expected)


@pytest.mark.parametrize("share", ["nothing", "inside", "untrained matrix"])
def test_other_matrices_are_merged(graph, share):
    net, x = Tied(share.removeprefix("untrained ")), torch.randn(graph.num_nodes, 5)
    adapted = adapters.attach(net, "lora", example=(graph, x), blocks=["first", "second", "third"])
    if share != "untrained matrix":
        loosened(adapted.adapters)
    expected = adapted(graph, x)
    torch.testing.assert_close(adapters.merge(adapted)(graph, x), expected)


def test_a_normalization_that_blocks_share_is_named(encoder):
    encoder.blocks[2].norm = encoder.blocks[0].norm
    with pytest.raises(ConfigError, match=r"blocks\.2\.norm is the same module as that of an ea"):
        adapters.attach(encoder, "film")
    assert all(p.requires_grad for p in encoder.parameters())


def test_a_layer_that_is_called_past_its_place_is_refused(graph):
    class Indirect(Stranger):
        """Calls layers from a list that no copy of the module knows of."""

        def __init__(self):
            super().__init__()
            self.order = [self.first, self.second]

        def forward(self, graph, features):
            for layer in self.order:
                features = layer(graph, features)
            return features

    with pytest.raises(ConfigError, match="does not use first, second"):
        adapters.attach(Indirect(), "film", example=(graph, torch.randn(graph.num_nodes, 5)))


def test_a_module_that_is_called_in_two_places_is_adapted_in_both(graph):
    class Twice(Stranger):
        def __init__(self):
            super().__init__()
            self.first = AnyConv(5, 5)
            self.second = nn.Sequential(nn.Identity())
            self.second.conv = self.first

        def forward(self, graph, features):
            return self.second.conv(graph, self.first(graph, features))

    net, x = Twice(), torch.randn(graph.num_nodes, 5)
    plus = Plus()
    adapted = adapters.attach(net, plus, blocks=["first"], example=(graph, x))
    with torch.no_grad():
        plus.amount.fill_(1.0)
    inner = net.first(graph, x) + 1
    torch.testing.assert_close(adapted(graph, x), net.first(graph, inner) + 1)


def test_hooks_of_the_encoder_are_called_in_the_adapted_one(encoder, graph):
    adapted, seen = adapters.attach(encoder, "film"), []
    handle = encoder.blocks[0].norm.register_forward_hook(lambda *call: seen.append(call[2]))
    adapted(graph)
    handle.remove()
    adapted(graph)
    assert len(seen) == 1


def test_parameters_that_moved_after_attaching_are_those_of_the_adapted_encoder(encoder, graph):
    adapted = adapters.attach(encoder, ["lora", "film"])
    loosened(adapted.adapters)
    adapted.double()
    expected = adapted(graph)
    assert expected.dtype == torch.float64
    with torch.no_grad():
        encoder.blocks[0].norm.weight.mul_(2.0)
    assert not torch.equal(adapted(graph), expected)
    encoder.blocks[0].norm.weight = nn.Parameter(encoder.blocks[0].norm.weight / 2)
    torch.testing.assert_close(adapted(graph), expected)
