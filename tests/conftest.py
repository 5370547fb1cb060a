"""Fixtures shared by all tests: where the data lies, and small graphs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("GTL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the folder of data sets is not here; set GTL_DATA to it")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference numbers."""
    folder = Path(os.environ.get("GTL_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("the folder of reference numbers is not here; set GTL_GOLDEN to it")
    return folder


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from one seed and caches nothing outside its own folder."""
    torch.manual_seed(0)
    monkeypatch.setenv("GTL_CACHE", str(tmp_path / "cache"))
