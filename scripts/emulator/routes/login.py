"""Sign-in: the service principal's and the managed identity's tokens."""

import time
from typing import Any
from urllib.parse import parse_qs

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.routing import Routes
from scripts.emulator.state import TENANT, State
from scripts.emulator.tokens import jwt

LOGIN = "https://login.microsoftonline.com"
PASSWORD = "emulator-password"
_SECONDS = 3600

routes = Routes("login", r"login\.microsoftonline\.com", public=True)
identity_routes = Routes("login", r"127\.0\.0\.1|169\.254\.169\.254", public=True)


class SignInError(RefusalError):
    """An error in the form of OAuth 2.0."""

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """Return it as an answer."""
        answer = Response.of({"error": self.code, "error_description": self.message})
        answer.status = self.status
        return answer


@routes("GET", "/{tenant}/v2.0/.well-known/openid-configuration")
def openid_configuration(state: State, request: Request, tenant: str) -> dict[str, Any]:
    """Return the addresses of a tenant's sign-in."""
    return {
        "token_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/token",
        "authorization_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/devicecode",
        "issuer": f"{LOGIN}/{tenant}/v2.0",
        "tenant_region_scope": None,
    }


@routes("GET", "/common/discovery/instance")
def instance_discovery(state: State, request: Request) -> dict[str, Any]:
    """Say which names the sign-in service goes by."""
    return {
        "tenant_discovery_endpoint": f"{LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration",
        "metadata": [
            {
                "preferred_network": "login.microsoftonline.com",
                "preferred_cache": "login.microsoftonline.com",
                "aliases": ["login.microsoftonline.com"],
            }
        ],
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


@routes("POST", "/{tenant}/oauth2/v2.0/devicecode")
def device_code(state: State, request: Request, tenant: str) -> None:
    """Refuse to sign a person in: there is none."""
    raise SignInError(400, "authorization_declined", "Nobody is there to sign in.")


@identity_routes("GET", "/msi/token")
@identity_routes("POST", "/msi/token")
@identity_routes("GET", "/metadata/identity/oauth2/token")
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
