"""Memory that tensors free stays with the process, unless the user has settings of their own."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from gtl.train.allocation import keep_freed_memory


def test_the_next_tensor_of_a_size_costs_no_page_faults():
    resource = pytest.importorskip("resource")
    if not sys.platform.startswith("linux") or not keep_freed_memory():
        pytest.skip("another allocator, or settings of the user")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(1 << 24).fill_(1.0)  # 64 MiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Not always in the very next: the heap may first have another gap that fits.
    pages = (1 << 26) // os.sysconf("SC_PAGE_SIZE")
    assert min(faults() for _ in range(5)) < 0.1 * pages


def test_settings_of_the_user_stay_in_force(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory.__wrapped__()
