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

GROUPS = (
    metrics.routes,
    history.routes,
    artifacts.routes,
    blobs.routes,
    content.routes,
    execution.routes,
    environments.routes,
    computes.routes,
    datastores.routes,
    models.routes,
    management.routes,
    management.discovery_routes,
    login.routes,
    login.identity_routes,
)
