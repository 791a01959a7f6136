"""Which workspace, and who is asking: config.json and the ways to sign in."""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cifar.errors import UserError
from scripts.azure.service_errors import explained

if TYPE_CHECKING:
    from azureml.core import Workspace
    from azureml.core.authentication import AbstractAuthentication

AUTH = ("auto", "interactive", "cli", "service-principal", "managed-identity")

SERVICE_PRINCIPAL = tuple(f"AZUREML_SERVICE_PRINCIPAL_{part}" for part in ("TENANT_ID", "ID", "PASSWORD"))
"""The variables that the SDK's own sign-in reads (azureml/core/authentication.py)."""

_BACK_OFF = "4"
"""The SDK waits so many seconds after a first 429, then twice and four times as long; its own 32 are for machines."""

_IDENTITY = ("MSI_ENDPOINT", "IDENTITY_ENDPOINT")
_PORTAL = "https://ml.azure.com, workspace menu at the top right, Download config file"


@dataclass(frozen=True)
class Address:
    """A workspace by name.

    Attributes:
        memory: the folder where the run submitted last is remembered.
    """

    subscription: str
    resource_group: str
    workspace: str
    memory: Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags by which every command finds its workspace."""
    group = parser.add_argument_group("workspace and sign-in")
    group.add_argument("--config", type=Path, metavar="FILE", help="config.json of the workspace (default: searched)")
    group.add_argument("--workspace", metavar="NAME", help="instead of a config.json, with the next two")
    group.add_argument("--resource-group", metavar="NAME")
    group.add_argument("--subscription", metavar="ID")
    group.add_argument(
        "--auth",
        choices=AUTH,
        default="auto",
        help="auto: service principal if AZUREML_SERVICE_PRINCIPAL_TENANT_ID, _ID and _PASSWORD are set, "
        "managed identity if its variables are, the Azure CLI's session if there is one, else the browser",
    )


def find(args: argparse.Namespace, root: Path) -> Address:
    """Find out which workspace is meant, without asking anybody.

    Raises:
        UserError: no config.json, one that is not JSON or lacks a key, or half of the three flags.
    """
    flags = {
        "workspace": args.workspace,
        "resource-group": args.resource_group,
        "subscription": args.subscription,
    }
    if any(flags.values()):
        missing = [f"--{name}" for name, value in flags.items() if not value]
        if missing:
            raise UserError(f"{', '.join(missing)} missing: the workspace is named by all three, or by a config.json")
        return Address(args.subscription, args.resource_group, args.workspace, root / ".azureml")
    return read_config(args.config or _search(root))


def read_config(file: Path) -> Address:
    """Read the workspace's config.json as Azure ML's portal offers it.

    Raises:
        UserError: it is missing, not JSON, or lacks a key.
    """
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; download it from {_PORTAL}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not JSON ({error}); download it again from {_PORTAL}") from None
    keys = ("subscription_id", "resource_group", "workspace_name")
    if isinstance(content, dict) and isinstance(content.get("Scope"), str):
        parts = content["Scope"].split("/")
        if len(parts) > 8:
            content = dict(zip(keys, (parts[2], parts[4], parts[8]), strict=True))
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), str)]
    if missing or not all(content[key].strip() for key in keys):
        raise UserError(f"{file} lacks {', '.join(missing) or 'a value'}; download it again from {_PORTAL}")
    folder = file.absolute().parent
    memory = folder if folder.name in (".azureml", "aml_config") else folder / ".azureml"
    subscription, resource_group, name = (content[key].strip() for key in keys)
    return Address(subscription, resource_group, name, memory)


def _search(root: Path) -> Path:
    """Look where `Workspace.from_config` looks, in its order: upwards for one place, then for the next."""
    for place in (".azureml", "aml_config", "."):
        for folder in (root, *root.parents):
            for name in ("config.json", "project.json"):
                file = folder / place / name
                if file.is_file() and (name == "config.json" or place != "."):
                    return file
    raise UserError(
        f"no config.json of a workspace in {root} or above; put it there from {_PORTAL}, "
        f"or give --workspace, --resource-group and --subscription"
    )


def connect(address: Address, auth: str) -> "Workspace":
    """Sign in and open the workspace.

    Raises:
        UserError: sign-in refused, workspace not found, service or network down.
    """
    os.environ.setdefault("AZUREML_DEFAULT_BACKOFF", _BACK_OFF)
    for library in ("azureml", "msrest"):  # what they would print comes as an exception, too
        logging.getLogger(library).addHandler(logging.NullHandler())
    from azureml.core import Workspace

    with explained(f"workspace {address.workspace} of resource group {address.resource_group}"):
        return Workspace.get(
            address.workspace,
            auth=_sign_in(_chosen(auth)),
            subscription_id=address.subscription,
            resource_group=address.resource_group,
        )


def _chosen(auth: str) -> str:
    if auth != "auto":
        return auth
    if all(os.environ.get(variable) for variable in SERVICE_PRINCIPAL):
        return "service-principal"
    if any(os.environ.get(variable) for variable in _IDENTITY):
        return "managed-identity"
    folder = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
    if shutil.which("az") and (folder / "azureProfile.json").exists():
        return "cli"
    if not sys.stdin.isatty():
        raise UserError(
            "nobody is signed in to Azure, and without a terminal no browser is opened; run az login, "
            f"or set {', '.join(SERVICE_PRINCIPAL)}, or choose with --auth"
        )
    return "interactive"


def _sign_in(auth: str) -> "AbstractAuthentication":
    from azureml.core import authentication

    if auth == "service-principal":
        missing = [variable for variable in SERVICE_PRINCIPAL if not os.environ.get(variable)]
        if missing:
            raise UserError(f"--auth service-principal needs {', '.join(missing)} in the environment; set them")
        return authentication.ServicePrincipalAuthentication(*(os.environ[variable] for variable in SERVICE_PRINCIPAL))
    if auth == "managed-identity":
        return authentication.MsiAuthentication()
    if auth == "cli":
        # The SDK's AzureCliAuthentication wants azure-cli in this Python; the command is enough.
        return authentication.TokenAuthentication(_token_of_azure_cli)
    return authentication.InteractiveLoginAuthentication()


def _token_of_azure_cli(audience: str) -> str:
    executable = shutil.which("az")
    if not executable:
        raise UserError("--auth cli needs the Azure CLI, and there is no `az` in PATH; install it, or choose another")
    command = [executable, "account", "get-access-token", "--resource", audience, "--output", "json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode:
            raise UserError(f"the Azure CLI gave no token ({answer.stderr.strip()[-200:]}); run az login")
        return str(json.loads(answer.stdout)["accessToken"])
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        raise UserError("the Azure CLI gave no token within a minute; run az login") from None
