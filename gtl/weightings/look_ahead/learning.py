"""Training of a weighting network by hyper-gradients: what AUX-TS and SELAR have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gtl.weightings.learned import load_optimizer_state
from gtl.weightings.look_ahead.network import WeightNetwork

_ROWS = 1 << 11  # samples at a time: what the network makes of them stays in the cache


class NetworkLearner:
    """A weighting network with an Adam of its own.

    It is no module: the weighting that has it also has the network, as a submodule.

    Args:
        network: The network.
        lr: Learning rate of Adam.
    """

    def __init__(self, network: WeightNetwork, lr: float):
        self.network = network
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    @torch.no_grad()
    def outputs(self, features: Tensor) -> Tensor:
        """Outputs ``(b,)`` for features ``(b, inputs)``, piece by piece."""
        return torch.cat([self.network(rows) for rows in features.split(_ROWS)])

    def learn(
        self,
        features: Tensor,
        outputs: Tensor,
        normalized: Callable[[Tensor], Mapping[str, Tensor]],
        slopes: Mapping[str, Tensor],
    ) -> None:
        """One step of Adam against ``sum_ki dL_meta/dv_ki v_ki(phi)``, scaled to length 1.

        The length of the hyper-gradient depends on the state of the optimizer more than on the
        tasks (it is close to zero in the first steps of Adam), so only its direction is used.

        Args:
            features: Features ``(b, inputs)``.
            outputs: What :meth:`outputs` returned for them, ``(b,)``.
            normalized: Function from outputs to the weights ``v``, ``(b_k,)`` by task.
            slopes: ``dL_meta/dv``, ``(b_k,)`` by task.
        """
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            weights = normalized(leaf)
            change = torch.stack([(slopes[name] * weights[name]).sum() for name in weights]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        if not change.requires_grad:
            return
        (by_output,) = torch.autograd.grad(change, [leaf])
        for rows, part in zip(features.split(_ROWS), by_output.split(_ROWS)):
            with torch.enable_grad():
                self.network(rows).backward(part)
        found = [p.grad for p in self.network.parameters() if p.grad is not None]
        length = torch.linalg.vector_norm(torch.stack([g.norm() for g in found]))
        if float(length) > 0:
            for gradient in found:
                gradient /= length
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def match(self, losses: Mapping[str, Tensor]) -> None:
        """Move network and optimizer to the device of the losses, and to their dtype if larger."""
        example = next(iter(losses.values()))
        self._move_to(example.device, torch.promote_types(example.dtype, torch.float32))

    def state(self) -> dict[str, Any]:
        """Dtype of the network and the state of Adam, as plain nested values."""
        dtype = str(self.network.hidden.weight.dtype).removeprefix("torch.")
        return {"dtype": dtype, "adam": self.optimizer.state_dict()["state"]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`; the network's parameters are loaded by the weighting."""
        self._move_to(self.network.hidden.weight.device, getattr(torch, state["dtype"]))
        load_optimizer_state(self.optimizer, state["adam"])

    def _move_to(self, device: torch.device, dtype: torch.dtype) -> None:
        weight = self.network.hidden.weight
        if (weight.device, weight.dtype) != (device, dtype):
            self.network.to(device, dtype)
            # Loading casts the moments to the device and dtype of the parameters.
            self.optimizer.load_state_dict(self.optimizer.state_dict())
