"""The door to Flower: telemetry, identity of messages, and the apps under Flower's own runtime."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gtl
from gtl.errors import CheckpointError, ConfigError, MissingDependencyError
from gtl.train.federated import flower as door

ROOT = Path(gtl.__file__).resolve().parent.parent
WITHOUT = """
import sys
sys.modules["flwr"] = None
import gtl
data = gtl.load("demo:shapes")
try:
    gtl.federate("gin", data)
except gtl.GtlError as error:
    print(error)
"""


def test_without_flower_the_error_names_what_to_install():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=ROOT)
    assert "pip install 'graph-transfer[federated]'" in done.stdout, done.stderr


def test_gtl_does_not_import_flower():
    code = "import gtl, gtl.train.federated.federate, sys; print('flwr' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


def test_something_that_flower_no_longer_has_is_named_with_a_remedy():
    with pytest.raises(MissingDependencyError, match=r"gtl\.nothing\.here.*flwr>=1\.42"):
        door._internal("gtl.nothing", "here")
    with pytest.raises(MissingDependencyError, match=r"no gtl\.version\.nothing"):
        door._internal("gtl.version", "nothing")


class TestWithFlower:
    @pytest.fixture(autouse=True)
    def _needs_flower(self):
        pytest.importorskip(
            "flwr", reason="Flower is not installed: pip install 'graph-transfer[federated]'"
        )

    def test_telemetry_is_off_when_flower_is_imported_unless_the_user_wants_it(self):
        code = (
            "from gtl.train.federated.flower import flower; flower(); "
            "import flwr.supercore.telemetry as t; print(t.FLWR_TELEMETRY_ENABLED)"
        )
        for given, expected in ((None, "0"), ("1", "1")):
            env = {k: v for k, v in os.environ.items() if k != "FLWR_TELEMETRY_ENABLED"}
            env |= {} if given is None else {"FLWR_TELEMETRY_ENABLED": given}
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env
            )
            assert done.stdout.strip() == expected, done.stderr

    def test_a_message_needs_an_identity_which_this_process_gives_it(self):
        """If this fails, Flower has changed how messages get their sender: see ``identity``."""
        kit = door.flower()

        def message():
            return kit.Message(kit.RecordDict(), dst_node_id=5, message_type="train")

        with pytest.raises(RuntimeError, match="TaskIdentity"):
            message()
        with door.identity(run=3, node=1):
            assert message().metadata.run_id == 3
        with pytest.raises(RuntimeError, match="TaskIdentity"):
            message()

    def test_a_message_that_was_written_and_read_is_the_same(self):
        import numpy as np

        kit, array = door.flower(), np.arange(6, dtype=np.float32).reshape(2, 3)
        with door.identity():
            record = kit.RecordDict({"arrays": door.record_of({"a": array})})
            sent = kit.Message(record, dst_node_id=5, message_type="train")
            came = door.transmitted(sent)
        assert came is not sent and came.metadata.dst_node_id == 5
        assert np.array_equal(door.arrays_of(came.content["arrays"])["a"], array)
        assert 24 < door.bytes_of(sent) < 1500

    def test_an_app_is_written_once_and_names_unknown_options(self, tmp_path):
        from gtl.train.federated.deployment import write_app

        how = {"encoder": "gin", "data": "demo:shapes", "out": tmp_path / "run"}
        folder = write_app(tmp_path / "app", **how, rounds=2)
        assert json.loads((folder / "federation.json").read_text())["rounds"] == 2
        with pytest.raises(CheckpointError, match="exists"):
            write_app(tmp_path / "app", **how)
        with pytest.raises(ConfigError, match="rounds"):
            write_app(tmp_path / "other", **how, round=2)
        with pytest.raises(ConfigError, match="cannot be written"):
            write_app(tmp_path / "other", **how, partition={"name": "natural", "ids": {1, 2}})


# -- Flower's runtime ------------------------------------------------------------------------------

OPTIONS = {"clients": 2, "rounds": 2, "adapter": "film", "seed": 0}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Runtime:
    """A SuperLink and two SuperNodes on this machine, in process groups of their own."""

    def __init__(self, home: Path):
        self.home, self.processes = home, []
        scripts = Path(shutil.which("flower-superlink") or sys.executable).parent
        self.bin = next(
            (p for p in (scripts, *self._beside()) if (p / "flower-superlink").exists()), scripts
        )
        path = [str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.env = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        self.fleet, self.control, *self.nodes = free_ports(5)

    def _beside(self) -> list[Path]:
        return [Path(entry) / "bin" for entry in sys.path]

    def __enter__(self) -> Runtime:
        self._spawn(
            "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(self.fleet),
            "--disable-runtime-dependency-installation",
        )  # fmt: skip
        self._wait_for(self.fleet)
        for number, port in enumerate(self.nodes[:2]):
            self._spawn(
                "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.fleet}",
                "--port", str(port), "--node-config", f"partition-id={number}",
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, whatever happened, and wait until nothing is left."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes:
                try:
                    os.killpg(process.pid, how)
                except ProcessLookupError:
                    continue
            end = time.monotonic() + 20
            while time.monotonic() < end and any(self._is_alive(p) for p in self.processes):
                time.sleep(0.2)
        assert not any(self._is_alive(process) for process in self.processes)

    def run(self, app: Path) -> subprocess.CompletedProcess:
        self.home.mkdir(exist_ok=True)
        text = f'[superlink.test]\naddress = "127.0.0.1:{self.fleet}"\ninsecure = true\n'
        (self.home / "config.toml").write_text(text)
        return subprocess.run(
            [str(self.bin / "flwr"), "run", str(app), "test", "--stream"],
            env=self.env, cwd=app, capture_output=True, text=True, timeout=540, check=False,
        )  # fmt: skip

    def _spawn(self, name: str, *words: str) -> None:
        process = subprocess.Popen(
            [str(self.bin / name), *words],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.5)
        raise AssertionError(f"nothing answers on port {port}")

    @staticmethod
    def _is_alive(process: subprocess.Popen) -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.mark.slow
def test_the_same_apps_run_under_flowers_runtime_and_give_the_same_model(tmp_path):
    pytest.importorskip("flwr", reason="Flower is not installed")
    import torch

    from gtl.train.federated.deployment import write_app

    encoder = {"name": "gin", "width": 8, "depth": 2}
    app = write_app(tmp_path / "app", encoder, "demo:shapes", out=tmp_path / "run", **OPTIONS)
    (tmp_path / "home").mkdir()
    with Runtime(tmp_path / "home") as runtime:
        done = runtime.run(app)
        assert (tmp_path / "run" / "results.json").exists(), (
            done.stdout[-3000:] + done.stderr[-500:]
        )
    data = gtl.load("demo:shapes", seed=0)
    here = gtl.federate(encoder, data, **OPTIONS)
    there = gtl.load_run(tmp_path / "run")
    for name, value in here.state_dict().items():
        assert torch.equal(value, there.state_dict()[name]), name
    assert there.results["valid"] == here.results["valid"]
