"""Find the workspace, by config.json or flags; remember the run submitted last; choose how to sign in."""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_cifar.azure.run import find_config, read_config
from lightning_cifar.errors import UserError
from lightning_cifar.files import atomic_write

SERVICE_PRINCIPAL = tuple(f"AZUREML_SERVICE_PRINCIPAL_{part}" for part in ("TENANT_ID", "ID", "PASSWORD"))
"""The variables that SDK v1's own sign-in reads (azureml/core/authentication.py): tenant, id, password."""

AZURE_CLIENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
"""The same three for everything else of Azure (azure-identity's EnvironmentCredential)."""

SDKS = ("v1", "v2")
"""The SDKs to submit with, the default first."""

_LAST_RUN = "last_run.json"
_TOKEN_SECONDS = 240


@dataclass(frozen=True)
class Address:
    """A workspace by name, and the folder `memory` where the run submitted last is remembered."""

    subscription: str
    resource_group: str
    workspace: str
    memory: Path

    def remember(self, run_id: str, experiment: str, studio_url: str, sdk: str) -> None:
        """Write which run was submitted, and by which SDK, for the commands that come after."""
        known = {"run_id": run_id, "experiment": experiment, "studio": studio_url, "sdk": sdk}
        with atomic_write(self.memory / _LAST_RUN) as file:
            file.write(json.dumps(known).encode())

    def last_run(self) -> str:
        """Return the id of the run submitted last; a UserError where there is none."""
        try:
            return str(self._remembered()["run_id"])
        except (OSError, ValueError, KeyError):
            raise UserError("no run has been submitted from here yet; name one, `make runs` lists them") from None

    def last_sdk(self) -> str:
        """Return the SDK of the run submitted last; where none is remembered, the default."""
        try:
            return str(self._remembered()["sdk"])
        except (OSError, ValueError, KeyError):
            return SDKS[0]

    def _remembered(self) -> dict[str, str]:
        known: dict[str, str] = json.loads((self.memory / _LAST_RUN).read_text(encoding="utf-8"))
        return known


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags by which every command finds its workspace."""
    group = parser.add_argument_group("workspace and sign-in")
    group.add_argument("--config", type=Path, metavar="FILE", help="config.json of the workspace (default: searched)")
    group.add_argument("--workspace", metavar="NAME", help="instead of a config.json, with the next two")
    group.add_argument("--resource-group", metavar="NAME")
    group.add_argument("--subscription", metavar="ID")
    group.add_argument("--sdk", choices=SDKS, help="default: v1 to submit or upload; else that of the last run")
    group.add_argument(
        "--auth",
        choices=("auto", "interactive", "cli", "service-principal", "managed-identity"),
        default="auto",
        help="auto: service principal if AZUREML_SERVICE_PRINCIPAL_TENANT_ID, _ID and _PASSWORD are set "
        "(or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET), managed identity if its variables are, "
        "the Azure CLI's session if there is one, else the browser",
    )


def find(args: argparse.Namespace, root: Path) -> Address:
    """Return the workspace that is meant, without asking anybody; a UserError where it is named by halves or not."""
    flags = {"workspace": args.workspace, "resource-group": args.resource_group, "subscription": args.subscription}
    if any(flags.values()):
        if missing := [f"--{name}" for name, value in flags.items() if not value]:
            raise UserError(f"{', '.join(missing)} missing: the workspace is named by all three, or by a config.json")
        return Address(args.subscription, args.resource_group, args.workspace, root / ".azureml")
    file = args.config or find_config(root, "give --workspace, --resource-group and --subscription")
    folder = file.absolute().parent
    memory = folder if folder.name in (".azureml", "aml_config") else folder / ".azureml"
    return Address(*read_config(file), memory)


def choose_sign_in(auth: str) -> str:
    """Return the way to sign in that `auto` stands for, or `auth` itself; a UserError where there is none."""
    if auth == "service-principal":
        service_principal()
    if auth == "cli" and not shutil.which("az"):
        raise UserError("--auth cli needs the Azure CLI, and there is no `az` in PATH; install it")
    if auth != "auto":
        return auth
    if not _missing(SERVICE_PRINCIPAL) or not _missing(AZURE_CLIENT):
        return "service-principal"
    if os.environ.get("MSI_ENDPOINT") or os.environ.get("IDENTITY_ENDPOINT"):
        return "managed-identity"
    session = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure", "azureProfile.json")
    if shutil.which("az") and session.exists():
        return "cli"
    if not sys.stdin.isatty():
        raise UserError(
            "nobody is signed in to Azure, and without a terminal no browser is opened; run az login, "
            f"or set {', '.join(SERVICE_PRINCIPAL)}, or choose with --auth"
        )
    return "interactive"


def service_principal() -> list[str]:
    """Return tenant, id and password of the service principal in the environment, whichever variables hold them.

    Raises:
        UserError: neither SDK v1's three nor Azure's own are all set.
    """
    variables = AZURE_CLIENT if _missing(SERVICE_PRINCIPAL) and not _missing(AZURE_CLIENT) else SERVICE_PRINCIPAL
    if missing := _missing(variables):
        raise UserError(f"--auth service-principal needs {', '.join(missing)} in the environment; set them")
    return [os.environ[variable] for variable in variables]


def _missing(variables: Sequence[str]) -> list[str]:
    return [variable for variable in variables if not os.environ.get(variable)]


def azure_cli_token(audience: str) -> str:
    """Return a token of the Azure CLI's session for a service, the same one for some minutes; else a UserError.

    SDK v1 asks before each of its requests, and `az` takes a second; the tokens that it returns last five minutes more.
    """
    return _azure_cli_token(audience, time.monotonic() // _TOKEN_SECONDS)


@functools.lru_cache
def _azure_cli_token(audience: str, period: float) -> str:
    command = ["az", "account", "get-access-token", "--resource", audience, "--output", "json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return str(json.loads(answer.stdout)["accessToken"])
    except (subprocess.SubprocessError, ValueError, KeyError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()[-200:]
        raise UserError(f"the Azure CLI gave no token ({reason}); run az login") from None
