"""What the emulator answers, one module per service."""

from scripts.emulator.routes import (
    artifacts,
    blobs,
    computes,
    content,
    datastores,
    environments,
    execution,
    history,
    login,
    management,
    metrics,
    models,
)
from scripts.emulator.routing import Routes

_SERVICES = (
    metrics,
    history,
    artifacts,
    blobs,
    content,
    execution,
    environments,
    computes,
    datastores,
    models,
    management,
    login,
)
GROUPS = [group for service in _SERVICES for group in vars(service).values() if isinstance(group, Routes)]
