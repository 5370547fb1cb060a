"""Reader of text files of numbers, with errors that name the file and the row."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gtl.errors import DataError


def read_numbers(
    path: Path, dtype: str = "int64", columns: int | None = None, separator: str = ","
) -> Tensor:
    """A file without a header as a tensor ``(rows, columns)``.

    Args:
        path: The file, compressed or not.
        dtype: NumPy's name of the dtype.
        columns: How many columns are expected; ``None`` takes what there are.
        separator: Regular expression of what separates the columns.

    Raises:
        DataError: If the file is missing, empty, holds anything but numbers, or has other columns.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} is missing; copy the data set again")
    try:
        frame = pd.read_csv(path, header=None, dtype=dtype, sep=separator, skipinitialspace=True)
    except Exception as error:  # pandas raises many kinds of errors
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({reason}); copy the data set again") from error
    if columns is not None and frame.shape[1] != columns:
        raise DataError(
            f"{path} has {frame.shape[1]} columns, expected {columns}; copy the data set again"
        )
    values = torch.from_numpy(frame.to_numpy(copy=True))
    wrong = ~values.isfinite().all(1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0]) + 1
        raise DataError(f"{path} row {row} is not all numbers; copy the data set again")
    return values
