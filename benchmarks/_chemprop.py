"""D-MPNN of chemprop with the defaults of its command line (Heid et al. 2024), as a rival."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import numpy as np

from gtl.data import Dataset

EPOCHS, BATCH_SIZE = 50, 64


def chemprop_predictions(data: Dataset, columns: np.ndarray | None, seed: int) -> np.ndarray:
    """Predictions of the test items ``(b, t)``, of the epoch with the best validation loss.

    Args:
        data: Molecules, whose names are their SMILES, with the splits train, valid and test.
        columns: Further columns of the head's input ``(items, d)``, which are standardized; or
            ``None``.
        seed: Of the weights and of the order of batches.
    """
    import torch
    from chemprop.data import MoleculeDataset, build_dataloader
    from chemprop.models import MPNN
    from chemprop.nn import (
        BinaryClassificationFFN,
        BondMessagePassing,
        MeanAggregation,
        RegressionFFN,
        ScaleTransform,
        UnscaleTransform,
    )
    from lightning import pytorch as lightning

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    lightning.seed_everything(seed, verbose=False)
    sets = {part: MoleculeDataset(_points(data, part, columns)) for part in data.split}
    inputs = outputs = None
    if columns is not None:
        scaler = sets["train"].normalize_inputs("X_d")
        for part in ("valid", "test"):
            sets[part].normalize_inputs("X_d", scaler)
        inputs = ScaleTransform.from_standard_scaler(scaler)
    regression = data.kind == "regression"
    if regression:
        scaler = sets["train"].normalize_targets()
        sets["valid"].normalize_targets(scaler)
        outputs = UnscaleTransform.from_standard_scaler(scaler)
    messages = BondMessagePassing()
    width = messages.output_dim + (0 if columns is None else columns.shape[1])
    head = {"n_tasks": data.labels.shape[1], "input_dim": width}
    predictor = RegressionFFN(**head, output_transform=outputs)
    if not regression:
        predictor = BinaryClassificationFFN(**head)
    model = MPNN(messages, MeanAggregation(), predictor, X_d_transform=inputs)
    best: dict[str, Any] = {"loss": float("inf")}

    class KeepBest(lightning.Callback):
        def on_validation_end(self, trainer: Any, model: Any) -> None:
            loss = float(trainer.callback_metrics["val_loss"])
            if not trainer.sanity_checking and loss < best["loss"]:
                best.update(loss=loss, state=copy.deepcopy(model.state_dict()))

    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        callbacks=[KeepBest()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loaders = {
        part: build_dataloader(found, BATCH_SIZE, shuffle=part == "train", seed=seed)
        for part, found in sets.items()
    }
    trainer.fit(model, loaders["train"], loaders["valid"])
    model.load_state_dict(best["state"])
    found = trainer.predict(model, loaders["test"])
    return torch.cat(found).numpy()


def _points(data: Dataset, part: str, columns: np.ndarray | None) -> list:
    from chemprop.data import MoleculeDatapoint

    labels = data.labels.numpy().astype(float)
    return [
        MoleculeDatapoint.from_smi(
            data.names[item], labels[item], x_d=None if columns is None else columns[item]
        )
        for item in data.split[part].tolist()
    ]
