"""The environments of processes: built from nothing, so that nothing inherited can lead to the real Azure."""

import json
import os
import shlex
import sys
import sysconfig
from pathlib import Path

from scripts.emulator.routes import metadata, tracking
from scripts.emulator.routes.login import PASSWORD
from scripts.emulator.routes.management import API, DISCOVERY
from scripts.emulator.state import PRINCIPAL, TENANT, State
from scripts.emulator.tokens import jwt

# Everything else stays behind. The thread counts are the machine's business, not Azure's.
_INHERITED = ("LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH", "SYSTEMROOT")


def bare(home: Path, proxy_url: str, ca_file: Path) -> dict[str, str]:
    """Return what every process gets: a path, a private home, the proxy and its certificate authority."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "PATH": _path(),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "HTTPS_PROXY": proxy_url,
        "HTTP_PROXY": proxy_url,
        # Loopback needs no proxy, and an identity endpoint or a test's own server must not meet one.
        "NO_PROXY": "127.0.0.1,localhost",
        "REQUESTS_CA_BUNDLE": str(ca_file),
        "SSL_CERT_FILE": str(ca_file),
        # The real one would be asked at a link-local address, and has no password either.
        metadata.VARIABLE: f"http://{proxy_url.rpartition('@')[2]}{metadata.PATH}",
        "AZUREML_CURRENT_CLOUD": "AzureCloud",  # saves a look-up of the clouds' metadata
    }


def client(auth: str, address: str, home: Path) -> dict[str, str]:
    """Return what a laptop's control script signs in with; for "cli" a session is put into its home.

    Raises:
        ValueError: for an unknown kind of sign-in.
    """
    if auth == "cli":
        return _azure_cli(home)
    variables = {
        "service-principal": {
            "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": TENANT,
            "AZUREML_SERVICE_PRINCIPAL_ID": PRINCIPAL,
            "AZUREML_SERVICE_PRINCIPAL_PASSWORD": PASSWORD,
        },
        "managed-identity": {"MSI_ENDPOINT": f"{address}/msi/token", "MSI_SECRET": "emulator"},
        "none": {},
    }
    if auth not in variables:
        raise ValueError(f"unknown auth {auth!r}: use one of {', '.join(variables)}, cli")
    return variables[auth]


def _azure_cli(home: Path) -> dict[str, str]:
    """Make a home in which `az login` has been run, with an `az` that prints a token whatever it is asked."""
    folder, programs = home / ".azure", home / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "azureProfile.json").write_text(json.dumps({"subscriptions": []}))
    program = programs / "az"
    answer = {"accessToken": jwt(3600), "expiresOn": "2099-01-01 00:00:00.000000", "tokenType": "Bearer"}
    program.write_text(f"#!/bin/sh\necho {shlex.quote(json.dumps(answer))}\n")
    program.chmod(0o755)
    return {"PATH": os.pathsep.join([str(programs), _path()])}


def _path() -> str:
    return os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.defpath])


def job(state: State, run_id: str, token_seconds: float, mlflow: bool = False) -> dict[str, str]:
    """Return the variables that Azure ML sets in a job; with `mlflow`, those of azureml-mlflow, too."""
    run, workspace = state.run(run_id), state.workspace
    token = jwt(token_seconds, runid=run_id, role="Contributor")
    return (tracking.job_variables(state, run_id, token) if mlflow else {}) | {
        "AZUREML_RUN_ID": run_id,
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_RUN_CONFIGURATION": "azureml-setup/mutated_run_configuration.json",
        "AZUREML_ARM_SUBSCRIPTION": workspace.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": workspace.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment,
        "AZUREML_EXPERIMENT_ID": state.experiment_id(run.experiment),
        "AZUREML_WORKSPACE_ID": workspace.id,
        "AZUREML_WORKSPACE_SCOPE": workspace.scope,
        "AZUREML_EXPERIMENT_SCOPE": f"{workspace.scope}/experiments/{run.experiment}",
        "AZUREML_SERVICE_ENDPOINT": API,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": DISCOVERY,
    }
