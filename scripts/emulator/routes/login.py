"""Sign-in: the service principal's and the managed identity's tokens."""

import time
from typing import Any
from urllib.parse import parse_qs

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.routing import Routes
from scripts.emulator.state import TENANT, State
from scripts.emulator.tokens import jwt

HOST = "login.microsoftonline.com"
LOGIN = f"https://{HOST}"
PASSWORD = "emulator-password"
_SECONDS = 3600

routes = Routes("login", r"login\.microsoftonline\.com", public=True)
identity_routes = Routes("login", r"127\.0\.0\.1", public=True)


class SignInError(RefusalError):
    """An error in the form of OAuth 2.0."""

    def response(self) -> Response:
        """Return it as an answer."""
        return Response.of({"error": self.code, "error_description": self.message}, self.status)


@routes("GET", "/{tenant}/v2.0/.well-known/openid-configuration")
def openid_configuration(state: State, request: Request, tenant: str) -> dict[str, Any]:
    """Return the addresses of a tenant's sign-in."""
    return {
        "token_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/token",
        "authorization_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/authorize",
        "issuer": f"{LOGIN}/{tenant}/v2.0",
    }


@routes("GET", "/common/discovery/instance")
def instance_discovery(state: State, request: Request) -> dict[str, Any]:
    """Return the names of the sign-in service."""
    return {
        "tenant_discovery_endpoint": f"{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration",
        "metadata": [{"preferred_network": HOST, "preferred_cache": HOST, "aliases": [HOST]}],
    }


@routes("POST", "/{tenant}/oauth2/v2.0/token")
def token(state: State, request: Request, tenant: str) -> dict[str, Any]:
    """Sign a service principal in; any id is taken, only with the right password."""
    form = parse_qs(request.body.decode())
    if form.get("client_secret", [""])[0] != PASSWORD:
        raise SignInError(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    return {
        "token_type": "Bearer",
        "expires_in": _SECONDS,
        "ext_expires_in": _SECONDS,
        "access_token": jwt(_SECONDS, aud=form.get("scope", [""])[0]),
    }


@identity_routes("GET", "/msi/token")
@identity_routes("POST", "/msi/token")
def managed_identity(state: State, request: Request) -> dict[str, Any]:
    """Return a token of this machine's identity."""
    resource = request.query.get("resource", "https://management.core.windows.net/")
    return {
        "access_token": jwt(_SECONDS, aud=resource),
        "expires_on": str(int(time.time()) + _SECONDS),
        "expires_in": str(_SECONDS),
        "resource": resource,
        "token_type": "Bearer",
    }
