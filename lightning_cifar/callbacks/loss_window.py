"""The tutorial's `loss`: its mean over a window of batches."""

from typing import Any

import torch
from torch import Tensor

IMAGES = 8_000
"""Images in a window: the tutorial's 2,000 batches of 4."""


def window_length(batch_size: int, batches: int | float) -> int:
    """Say how many batches make a window: 8,000 images, but at most a fifth of an epoch, and at least one batch.

    Args:
        batch_size: images in a batch, over all processes.
        batches: batches in an epoch; may be infinite.
    """
    wanted = round(IMAGES / batch_size)
    return max(1, wanted if batches == float("inf") else min(wanted, int(batches) // 5))


class LossWindow:
    """Sums the losses of a window of batches on their device, without waiting for the device at each of them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new window."""
        self.total: Tensor | None = None
        self.count = 0

    def add(self, loss: Tensor) -> None:
        """Take one batch's mean loss, a scalar tensor."""
        loss = loss.detach().float()  # a sum of bfloat16 would stand still after some hundred batches
        self.total = loss if self.total is None else self.total + loss
        self.count += 1

    def state(self, device: torch.device) -> Tensor:
        """Give (sum of losses, number of batches), float64 (2,), so that processes can add theirs up."""
        state = torch.zeros(2, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
        if self.total is not None:
            state[0] = self.total
            state[1].fill_(self.count)  # not assigned: PyTorch 2.11 would copy it from the CPU, and wait for that
        return state

    def state_dict(self, state: Tensor) -> dict[str, Any]:
        """Turn what `state` gave, summed over all processes, into numbers for a checkpoint."""
        total, count = state.tolist()
        return {"total": total, "count": int(count)}

    def load_state_dict(self, state_dict: dict[str, Any], processes: int, device: torch.device) -> None:
        """Go on with a window that a checkpoint holds, an equal part of it in each of `processes`."""
        self.reset()
        if state_dict["count"]:
            self.count = state_dict["count"] // processes
            self.total = torch.tensor(state_dict["total"] / processes, dtype=torch.float32, device=device)
