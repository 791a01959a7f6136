"""The relay with its pauses cut, and with the constants that RELAY_CONSTANTS (JSON: module → name → value) holds.

RELAY_HOOK names a function of `tests.azure.relay_hooks` that is called before it begins.
"""

import importlib
import json
import os
import pkgutil

from lightning_cifar.azure import attempt, relay
from scripts.benchmarks.hurried_relay import cut_pauses

cut_pauses()
attempt.IN_FLIGHT_SECONDS = 0.5
for module, constants in json.loads(os.environ.get("RELAY_CONSTANTS", "{}")).items():
    for name, value in constants.items():
        setattr(importlib.import_module(f"lightning_cifar.azure.{module}"), name, value)

if __name__ == "__main__":
    if hook := os.environ.get("RELAY_HOOK"):
        pkgutil.resolve_name(f"tests.azure.relay_hooks:{hook}")()
    relay.main()
