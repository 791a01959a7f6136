"""Take the nodes of a rehearsed job away, and compare what it leaves with what the undisturbed one has left."""

import contextlib
import io
import math
import random
import re
import threading
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import torch

from lightning_cifar.errors import UserError
from lightning_cifar.files import newest

if TYPE_CHECKING:
    from scripts.emulator import Emulator

CHECKPOINT_EVERY = "1s"
"""A rehearsal is short; a job of hours saves every five minutes."""
QUEUED_SECONDS = 2.0
"""So long a job waits for new nodes: whoever follows it has seen it in the queue."""
_LOSS = re.compile(r"epoch=(\d+), batch= *(\d+):")  # what the training prints, and so where it is

Points = dict[tuple[str, int | None], list[float]]


class Disturbance:
    """Takes the next job of an emulator away, `times` times at random places, in turns with and without notice.

    The latest run of the emulator is the undisturbed one. The same seed chooses the same places.

    Raises:
        UserError: the undisturbed training was too short for that.
    """

    def __init__(self, azure: "Emulator", times: int, seed: int) -> None:
        self._azure, self._before = azure, azure.runs()[-1].id
        places = _places(azure.job(self._before).log)[:-1]
        if len(places) < times:
            raise UserError(f"PREEMPT={times}: only {len(places)} losses are printed before the last; more EPOCHS=")
        self._places = sorted(random.Random(seed).sample(places, times))
        self.lost: list[float] = []

    def start(self) -> None:
        """Wait for the next run, and disturb it, in the background."""
        threading.Thread(target=self._disturb, daemon=True).start()

    def _disturb(self) -> None:
        while (run_id := self._azure.runs()[-1].id) == self._before:
            time.sleep(0.05)
        for number, place in enumerate(self._places):
            self._wait(run_id, place)
            began, notice = time.monotonic(), number % 2 == 0
            if not self._azure.preempt_job(run_id, notice):
                return
            how = "with notice" if notice else "without notice"
            print(f"rehearsal: took the job's nodes away in epoch {place[0]} after batch {place[1]}, {how}", flush=True)
            time.sleep(QUEUED_SECONDS)
            self._azure.restart_job(run_id)
            self._wait(run_id, place)
            self.lost.append(time.monotonic() - began)

    def _wait(self, run_id: str, place: tuple[int, int]) -> None:
        reached = False
        while not reached:
            time.sleep(0.05)
            with contextlib.suppress(KeyError):  # it is submitted, and its job starts in a moment
                job = self._azure.job(run_id)
                reached = job.ended or any(at >= place for at in _places(job.log))

    def compare(self) -> list[str]:
        """Print what the disturbances have cost; return what is wrong."""
        run_id = self._azure.runs()[-1].id
        before, after = _points(self._azure, self._before), _points(self._azure, run_id)
        # Several processes take up the sum of a begun window of losses in equal parts: that rounds otherwise.
        same = [key for key in after if key in before and math.isclose(after[key][0], before[key][0], rel_tol=1e-6)]
        weights = _same_weights(_weights(self._azure, self._before), _weights(self._azure, run_id))
        print("compared with the undisturbed job:")
        found: dict[str, tuple[object, object]] = {
            "nodes taken away": (len(self.lost), len(self._places)),
            "final weights": ("the same" if weights else "others", "the same"),
            "metric points": (f"{len(same)} the same of {len(after)}", f"{len(before)} the same of {len(before)}"),
            "points doubled": (sum(len(values) > 1 for values in after.values()), 0),
            "points missing": (len(before.keys() - after.keys()), 0),
        }
        for name, (is_so, _) in found.items():
            print(f"  {name:18}{is_so}")
        print(f"  {'time lost':18}{sum(self.lost):.0f} s, until the job was where it had been", flush=True)
        return [f"{name}: {is_so}, not {should}" for name, (is_so, should) in found.items() if is_so != should]


def _places(log: str) -> list[tuple[int, int]]:
    return [(int(epoch), int(batch)) for epoch, batch in _LOSS.findall(log)]


def _points(azure: "Emulator", run_id: str) -> Points:
    points: Points = {}
    for metric in azure.metrics(run_id):
        if isinstance(metric.value, int | float):
            points.setdefault((metric.name, metric.step), []).append(float(metric.value))
    return points


def _weights(azure: "Emulator", run_id: str) -> dict[str, Any]:
    artifacts = azure.artifacts(run_id)
    last = newest(path for path in map(PurePosixPath, artifacts) if path.match("checkpoints/last.ckpt"))
    return torch.load(io.BytesIO(artifacts[str(last)]), weights_only=True)["state_dict"] if last else {}


def _same_weights(weights: dict[str, Any], others: dict[str, Any]) -> bool:
    alike = weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)
    return bool(weights) and alike
