"""A grid of clients in one process, for Flower's apps and strategies: no Ray, no server, no ports.

Messages are written to bytes and read again on both ways, so that nothing is shared by accident
and what is counted is what would be sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gtl.train.federated.federation import Federation, seed_of
from gtl.train.federated.flower import flower, transmitted

_FAILED = 1  # Flower's error code of a ClientApp that raised


class InProcessGrid:
    """Calls the ClientApp for each message, one client after the other.

    Flower's strategies and a ServerApp use of a grid what this class has.

    Args:
        app: The ClientApp.
        federation: Says how many clients there are, and how often one is lost.

    Attributes:
        contexts: Context of each client, by node.
    """

    def __init__(self, app: Any, federation: Federation):
        self.app, self.plan = app, federation.plan
        context, record = flower().Context, flower().RecordDict
        self.contexts = {
            number + 1: context(
                run_id=1,
                node_id=number + 1,
                node_config={"partition-id": number, "num-partitions": self.plan.clients},
                state=record(),
                run_config={},
            )
            for number in range(self.plan.clients)
        }

    def get_node_ids(self) -> list[int]:
        """All nodes."""
        return list(self.contexts)

    def send_and_receive(
        self, messages: Iterable[Any], *, timeout: float | None = None
    ) -> list[Any]:
        """Replies of the clients; of one that raised an error, and none of one that is lost."""
        replies = [self._answer(message) for message in messages]
        return [reply for reply in replies if reply is not None]

    def _answer(self, message: Any) -> Any:
        node = message.metadata.dst_node_id
        if message.metadata.message_type == "train" and self._is_lost(message, node):
            return None
        kit = flower()
        received = transmitted(message)
        try:
            reply = self.app(received, self.contexts[node])
        except Exception as error:  # a client that fails does not end the training of the others
            reason = f"{type(error).__name__}: {error}"
            reply = kit.Message(kit.Error(_FAILED, reason), reply_to=received)
        return None if reply is None else transmitted(reply)

    def _is_lost(self, message: Any, node: int) -> bool:
        if not self.plan.drop_out:
            return False
        turn = int(message.content["config"]["server-round"])
        draw = np.random.default_rng(seed_of(self.plan.seed + 1, turn, node)).random()
        return bool(draw < self.plan.drop_out)
