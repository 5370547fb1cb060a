"""Encoders that come with gtl: half precision, checksums, options, and loading by name."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.errors import CheckpointError, ConfigError, UnknownPartError
from gtl.train import shipped
from gtl.train.shipped import SHIPPED, card, read_run, write_run


@pytest.fixture
def trained(shapes):
    return gtl.pretrain({"name": "gin", "width": 8, "depth": 2}, shapes, ["motif"], epochs=1)


def test_a_file_gives_the_run_back_in_half_precision(trained, shapes, tmp_path) -> None:
    checksum = write_run(trained, tmp_path / "a.safetensors")
    read = read_run(tmp_path / "a.safetensors", checksum)
    for name, value in trained.encoder.state_dict().items():
        expected = value
        if name in dict(trained.encoder.named_parameters()):
            expected = value.half().float()
        assert torch.equal(read.encoder.state_dict()[name], expected), name
    assert not read.encoder.training
    assert read.tasks.keys() == {"motif"}
    assert torch.equal(
        read.tasks["motif"].classifier.bias, trained.tasks["motif"].classifier.bias.half().float()
    )
    batch = shapes.batch(torch.arange(5))
    torch.testing.assert_close(read.encoder(batch), trained.encoder(batch), atol=0.02, rtol=0.01)


def test_options_replace_those_of_the_file(trained, tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    checksum = write_run(trained, path)
    assert read_run(path, checksum, {"dropout": 0.3}).encoder.blocks[0].dropout.p == 0.3
    with pytest.raises(ConfigError, match=r"options {'width': 9} do not fit a"):
        read_run(path, checksum, {"width": 9})
    with pytest.raises(ConfigError, match="colour"):
        read_run(path, checksum, {"colour": 9})


def test_other_files_are_refused(trained, tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    checksum = write_run(trained, path)
    with pytest.raises(CheckpointError, match="there is no file"):
        read_run(tmp_path / "b.safetensors", checksum)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated or another file"):
        read_run(path, checksum)


def test_a_name_stands_for_the_encoder_and_its_tasks(
    trained, shapes, tmp_path, monkeypatch
) -> None:
    checksum = write_run(trained, tmp_path / "shapes.safetensors")
    monkeypatch.setitem(SHIPPED, "shapes", checksum)
    monkeypatch.setattr(shipped, "_place", lambda name, ending: tmp_path / (name + ending))
    model = gtl.finetune("shapes", shapes, epochs=1, out=tmp_path / "run")
    loaded = gtl.load_run(tmp_path / "run")
    batch = shapes.batch(torch.arange(4))
    assert torch.equal(model(batch), loaded(batch))
    assert '"pretrained": "shapes"' in (tmp_path / "run" / "config.json").read_text()
    dropped = gtl.finetune({"name": "shapes", "dropout": 0.2}, shapes, epochs=1)
    assert dropped.encoder.blocks[0].dropout.p == 0.2
    with pytest.raises(UnknownPartError, match=r"unknown encoder 'shape'.*'shapes'"):
        gtl.finetune("shape", shapes, epochs=1)


def test_what_comes_with_gtl_has_a_card(monkeypatch) -> None:
    for name in SHIPPED:
        assert "licen" in card(name).lower()
        assert SHIPPED[name][:12] in card(name)
    with pytest.raises(CheckpointError, match="the card of 'none' is missing"):
        card("none")


def test_files_are_part_of_the_wheel_and_small() -> None:
    from configparser import ConfigParser
    from fnmatch import fnmatch
    from pathlib import Path

    folder = Path(gtl.__file__).parent / "pretrained"
    setup = ConfigParser()
    setup.read(folder.parent.parent / "setup.cfg")
    patterns = setup["options.package_data"]["gtl.pretrained"].split(", ")
    for name in SHIPPED:
        for file in (f"{name}.safetensors", f"{name}.md"):
            assert any(fnmatch(file, pattern) for pattern in patterns)
            assert (folder / file).stat().st_size < 8 * 2**20


def test_unusual_molecules_have_finite_vectors() -> None:
    pytest.importorskip("rdkit", reason="needs RDKit")
    names = ["[Na+].[Cl-]", "C", "[Fe+2]", "C" * 300, "[13CH4]", "[CH3:1][OH:2]", "[U]", "[H][H]"]
    vectors = gtl.embed("molecules", gtl.Dataset.from_graphs(names), readout=["mean", "sum", "max"])
    assert vectors.shape == (len(names), 3 * 256)
    assert vectors.isfinite().all()
    # Atom maps and isotopes are no part of the features.
    plain = gtl.embed("molecules", gtl.Dataset.from_graphs(["C", "CO"]))
    mapped = gtl.embed("molecules", gtl.Dataset.from_graphs(["[13CH4]", "[CH3:1][OH:2]"]))
    torch.testing.assert_close(plain, mapped)
