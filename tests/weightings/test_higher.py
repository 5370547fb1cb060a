"""Loops of one's own may hand parts to `higher`, which is particular about their bases."""

from __future__ import annotations

import higher
import torch

from gtl.encoders import GCN
from gtl.graph import Columns, Schema


def test_higher_can_patch_encoders_and_tasks(problem):
    setting = problem(GCN(Schema(node=Columns(width=5)), width=7, depth=2))
    optimizer = torch.optim.Adam(setting.model.parameters())
    views = setting.step(optimizer).views
    with higher.innerloop_ctx(setting.model, optimizer) as (patched, inner):
        losses, _ = patched(views)
        inner.step(losses["target"].mean())
        moved, _ = patched(views)
    assert float(moved["target"].mean()) < float(losses["target"].mean())
