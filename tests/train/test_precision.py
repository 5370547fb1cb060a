"""Pre-training with matrix products in bfloat16."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.errors import ConfigError
from gtl.train.step import TaskModel

GIN = {"name": "gin", "width": 16, "depth": 2}


def test_vectors_are_rounded_and_everything_else_stays_as_it_was(shapes) -> None:
    torch.manual_seed(0)
    encoder = gtl.encoders.GIN(shapes.schema, width=16, depth=2)
    task = gtl.tasks.Motif()
    task.setup(shapes.schema, 16)
    graph = shapes.batch(torch.arange(8))
    exact, rounded = (
        TaskModel(encoder, {"motif": task}, precision).eval()
        for precision in ("float32", "bfloat16")
    )
    view = {"motif": task.view(gtl.roles.Batch(graph), torch.Generator())}
    (one, vectors), (two, coarse) = exact(view), rounded(view)
    assert coarse["motif"].dtype == two["motif"].dtype == torch.float32
    assert not torch.equal(vectors["motif"], coarse["motif"])
    torch.testing.assert_close(vectors["motif"], coarse["motif"], atol=0.05, rtol=0.05)
    torch.testing.assert_close(one["motif"], two["motif"], atol=0.05, rtol=0.05)


def test_a_run_learns_as_in_single_precision_and_says_how_it_was_trained(shapes, tmp_path) -> None:
    runs = [
        gtl.pretrain(
            GIN,
            shapes,
            ["motif"],
            epochs=40,
            lr=0.01,
            precision=precision,
            out=tmp_path / precision,
        )
        for precision in ("float32", "bfloat16")
    ]
    exact, rounded = ([line["losses"]["motif"] for line in run.history] for run in runs)
    assert rounded[-1] < 0.5 * rounded[0]
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.1)
    assert rounded != exact
    assert all(value.dtype == torch.float32 for value in runs[1].encoder.parameters())
    assert '"precision": "bfloat16"' in (tmp_path / "bfloat16" / "config.json").read_text()


def test_another_precision_is_refused(shapes) -> None:
    with pytest.raises(ConfigError, match="`precision` is 'float8', expected one of"):
        gtl.pretrain(GIN, shapes, ["motif"], epochs=1, precision="float8")
