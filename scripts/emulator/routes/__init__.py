"""What the emulator answers, one module per service: a new file in this folder joins by itself."""

from importlib import import_module
from pkgutil import iter_modules

from scripts.emulator.routing import Routes

_SERVICES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]

GROUPS = [group for service in _SERVICES for group in vars(service).values() if isinstance(group, Routes)]
"""The routes of all modules; no request has two."""
