"""The environments of processes: built from nothing, so that nothing inherited can lead to the real Azure."""

import os
import sys
import sysconfig
from pathlib import Path

from scripts.standin.routes.login import PASSWORD
from scripts.standin.routes.management import API, DISCOVERY
from scripts.standin.state import PRINCIPAL, TENANT, State
from scripts.standin.tokens import job_token

# Everything else stays behind. The thread counts are the machine's business, not Azure's.
_INHERITED = ("LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH", "SYSTEMROOT")


def bare(home: Path, proxy_url: str, ca_file: Path) -> dict[str, str]:
    """Return what every process gets: a path, a private home, the proxy and its certificate authority."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    scripts = sysconfig.get_path("scripts")
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "PATH": os.pathsep.join([scripts, str(Path(sys.executable).parent), os.defpath]),
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
        "AZUREML_CURRENT_CLOUD": "AzureCloud",  # saves a look-up of the clouds' metadata
    }


def client(auth: str, proxy_url: str) -> dict[str, str]:
    """Return what a laptop's control script signs in with.

    Raises:
        ValueError: for an unknown kind of sign-in.
    """
    if auth == "none":
        return {}
    if auth == "service-principal":
        return {
            "AZUREML_SERVICE_PRINCIPAL_TENANT_ID": TENANT,
            "AZUREML_SERVICE_PRINCIPAL_ID": PRINCIPAL,
            "AZUREML_SERVICE_PRINCIPAL_PASSWORD": PASSWORD,
        }
    if auth == "managed-identity":
        endpoint = f"{proxy_url}/msi/token"
        return {
            "MSI_ENDPOINT": endpoint,
            "MSI_SECRET": "stand-in",
            "IDENTITY_ENDPOINT": endpoint,
            "IDENTITY_HEADER": "stand-in",
        }
    raise ValueError(f"unknown auth {auth!r}: use 'service-principal', 'managed-identity' or 'none'")


def job(state: State, run_id: str, token_seconds: float) -> dict[str, str]:
    """Return the variables that Azure ML sets in a job."""
    run, workspace = state.run(run_id), state.workspace
    return {
        "AZUREML_RUN_ID": run_id,
        "AZUREML_RUN_TOKEN": job_token(run_id, token_seconds),
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
