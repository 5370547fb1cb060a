"""Numbers out of their range are refused by name."""

from __future__ import annotations

import pytest

from gtl.checks import check_not_negative, check_positive
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
