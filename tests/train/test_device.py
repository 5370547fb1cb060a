"""Devices are named by users and checked before anything is computed."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.train.device import as_device, module_device


def test_none_leaves_everything_where_it_is():
    assert as_device(None) is None


def test_auto_is_a_device_that_can_be_used():
    torch.empty(1, device=as_device("auto"))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta:x"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ConfigError, match=rf"`device` is '{device}'.*use 'cpu', or 'auto'"):
        as_device(device)


def test_a_module_without_parameters_is_on_the_cpu():
    assert module_device(torch.nn.ReLU()) == torch.device("cpu")
