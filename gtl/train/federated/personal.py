"""Model of one client, where clients keep a part of it for themselves."""

from __future__ import annotations

from pathlib import Path

from gtl import checkpoint
from gtl.errors import ConfigError
from gtl.train.model import TARGET, Model


def client_model(folder: Path | str, client: int) -> Model:
    """The global model with what a client kept at the chosen round.

    Args:
        folder: Run folder of :func:`gtl.federate`, with ``share_head="local"`` or
            ``batch_norm="local"``.
        client: Number of the client, from 0 on.

    Raises:
        ConfigError: If that client kept nothing.
        CheckpointError: If the folder is no run.
    """
    model = Model.load(folder)
    state = checkpoint.load(Path(folder) / "checkpoint.safetensors")
    kept = state["best"].get("kept", {})
    if str(client) not in kept:
        known = ", ".join(kept) or "none"
        raise ConfigError(
            f"client {client} kept nothing in {folder}; those that did: {known} (clients keep what "
            "share_head='local' and batch_norm='local' leave with them)"
        )
    start = f"tasks.{TARGET}."
    own = {name.replace(start, "target.", 1): value for name, value in kept[str(client)].items()}
    model.load_state_dict({**model.state_dict(), **own})
    found: Model = model.eval()
    return found
