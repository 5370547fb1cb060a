"""Numbers out of their range are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from gtl.checks import as_seed, check_not_negative, check_positive, check_whole
from gtl.errors import ConfigError


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), "3", True, None])
def test_what_is_not_positive_is_named(value):
    with pytest.raises(ConfigError, match=r"`epochs` is .*, expected a positive number"):
        check_positive(lr=1, epochs=value)


@pytest.mark.parametrize("value", [-1, -0.1, float("nan"), "3", False, None])
def test_what_is_negative_is_named(value):
    with pytest.raises(ConfigError, match=r"`size` is .*, expected 0 or a positive number"):
        check_not_negative(size=value)
    check_not_negative(size=0)


def test_numbers_of_numpy_are_numbers():
    check_positive(epochs=np.int64(3), lr=np.float32(0.1))
    check_whole(epochs=np.int64(3), size=2.0)
    assert as_seed(np.int64(3)) == 3 and type(as_seed(np.int64(3))) is int


@pytest.mark.parametrize("value", [1.5, float("inf"), float("nan"), "3", None])
def test_what_is_not_whole_is_named(value):
    with pytest.raises(ConfigError, match=r"`epochs` is .*, expected a whole number"):
        check_whole(epochs=value)


@pytest.mark.parametrize("seed", [1.5, "3", None, 2**70])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ConfigError, match=r"`seed` is .*, expected a whole number"):
        as_seed(seed)
