"""Control scripts sign in without a browser, and only with the right password to the right workspace."""

import pytest

from scripts.emulator import Emulator

CONNECT = """
    import sys
    from azureml.core import Workspace
    try:
        workspace = Workspace.from_config(sys.argv[1])
        print(type(workspace._auth_object._ambient_auth).__name__, workspace.get_default_datastore().name)
    except Exception as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("auth", "signed_in_by"),
    [
        ("service-principal", "ServicePrincipalAuthentication"),
        ("managed-identity", "MsiAuthentication"),
        ("cli", "NoneType"),
    ],
)
def test_a_control_script_signs_in_without_a_browser(azure: Emulator, script, project, auth, signed_in_by) -> None:
    azure.write_config(project)
    printed = script(CONNECT, azure.client_environment(auth), project).splitlines()
    assert printed[-1] == f"{signed_in_by} workspaceblobstore"
    assert any(request.route == "login" for request in azure.requests)


def test_a_wrong_password_and_another_workspace_are_refused(azure: Emulator, script, project) -> None:
    config = azure.write_config(project)
    environment = azure.client_environment() | {"AZUREML_SERVICE_PRINCIPAL_PASSWORD": "wrong"}
    assert "Invalid client secret" in script(CONNECT, environment, project)
    config.write_text(config.read_text().replace('"emulator"', '"elsewhere"'))
    assert "Workspace not found" in script(CONNECT, azure.client_environment(), project)


def test_an_unknown_way_to_sign_in_is_refused(azure: Emulator) -> None:
    with pytest.raises(ValueError, match=r"'telepathy'.*service-principal"):
        azure.client_environment("telepathy")


LOG = """
    import os, sys
    from azureml.core import Workspace
    from azureml.core.authentication import ServicePrincipalAuthentication
    from lightning_cifar import AzureMLLogger
    parts = ("TENANT_ID", "ID", "PASSWORD")
    auth = ServicePrincipalAuthentication(*(os.environ.pop(f"AZUREML_SERVICE_PRINCIPAL_{part}") for part in parts))
    logger = AzureMLLogger(experiment_name="mine", workspace=Workspace.from_config(sys.argv[1], auth=auth))
    logger.log_metrics({"loss": 1.5}, 0)
    logger.close()
    print(logger.experiment.get_status(), logger.experiment.get_metrics())
"""


def test_the_logger_sends_with_a_sign_in_that_was_made_in_code(azure: Emulator, script, project) -> None:
    azure.write_config(project)
    assert script(LOG, azure.client_environment(), project).splitlines()[-1] == "Completed {'loss': 1.5}"
