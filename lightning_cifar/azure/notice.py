"""Notice that Azure takes a job's node away: it stops the training, as SIGTERM would, while there is time to save.

Azure announces it some 30 seconds before at the node's metadata service:
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events. It may withdraw the event, or give none.
"""

import contextlib
import json
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import urljoin
from urllib.request import ProxyHandler, Request, build_opener

from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_cifar.azure.run import RunAddress

VARIABLE = "LIGHTNING_CIFAR_SCHEDULED_EVENTS"
"""Environment variable: another address than Azure's, or `off`."""
ADDRESS = "http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01"
NAME = "instance/compute/name?api-version=2021-02-01&format=text"
HERE_SECONDS, ANSWER_SECONDS, PAUSE_SECONDS = 1.0, 150.0, 1.0  # Azure's first list of events may take two minutes


class PreemptionNotice(Callback):
    """Asks the metadata service once a second whether this node is to be taken away, and raises SIGTERM if so.

    Only in an Azure ML job, by one process of each node, and not where no such service answers within a second.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to ask, in a thread, for as long as there is the trainer."""
        address = os.environ.get(VARIABLE) or ADDRESS
        if RunAddress.of_job() is not None and address != "off" and trainer.local_rank == 0:
            arguments = (address, weakref.ref(trainer))
            threading.Thread(target=_watch, args=arguments, daemon=True, name="preemption").start()
        # Each callback costs 1 % of a tiny step, and this one has no more to do.
        trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]


def _watch(address: str, trainer: Callable[[], object | None]) -> None:
    try:
        node = _ask(urljoin(address, NAME), HERE_SECONDS).decode(errors="replace").strip()
    except (OSError, ValueError, HTTPException):
        return
    while trainer() is not None:
        time.sleep(PAUSE_SECONDS)
        with contextlib.suppress(OSError, HTTPException):
            if kind := announced(_ask(address, ANSWER_SECONDS), node):
                print(f"notice: Azure takes node {node} away ({kind}); stopping as after SIGTERM", flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return


def announced(answer: bytes, node: str) -> str | None:
    """Return the kind of event that takes a node away; None for none, for a neighbour's, for what makes no sense."""
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        for event in json.loads(answer)["Events"]:
            if event["EventType"] in ("Preempt", "Terminate") and node in event["Resources"]:
                return str(event["EventType"])
    return None


def _ask(address: str, seconds: float) -> bytes:
    # Not by a proxy, for which the address would be another node's.
    request = Request(address, headers={"Metadata": "true"})
    with build_opener(ProxyHandler({})).open(request, timeout=seconds) as response:
        content: bytes = response.read(1 << 20)
    return content
