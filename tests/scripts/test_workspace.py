"""Which workspace is meant, and how its user signs in."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_cifar.azure.run import read_config
from lightning_cifar.errors import UserError
from scripts.azure import workspace

KEYS = {"subscription_id": "sub", "resource_group": "group", "workspace_name": "ws"}


def find(root: Path, *flags: str) -> workspace.Address:
    parser = ArgumentParser()
    workspace.add_flags(parser)
    return workspace.find(parser.parse_args(flags), root)


@pytest.mark.parametrize("content", [json.dumps(KEYS), "\ufeff" + json.dumps(KEYS)])
def test_every_form_of_config_json_names_the_workspace(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")

    assert find(tmp_path / "a" / "b") == workspace.Address("sub", "group", "ws", tmp_path / ".azureml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(KEYS)) | st.text(), inner),
    max_leaves=5,
)
contents = st.binary() | st.one_of(json_values, st.fixed_dictionaries(dict.fromkeys(KEYS, json_values))).map(
    lambda value: json.dumps(value).encode()
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(contents | st.integers(1, 10**5).map(lambda depth: b"[" * depth))
def test_fuzz_config_any_config_json_names_a_workspace_or_is_refused_in_one_line(
    emptied: Callable[[], Path], content: bytes
) -> None:
    path = emptied() / "config.json"
    path.write_bytes(content)
    try:
        assert all(read_config(path))
    except UserError as error:
        assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1


def test_config_json_in_azureml_comes_first_and_the_last_run_is_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(KEYS))
    (tmp_path / ".azureml").mkdir()
    (tmp_path / ".azureml" / "config.json").write_text(json.dumps(KEYS | {"workspace_name": "other"}))

    assert find(tmp_path) == workspace.Address("sub", "group", "other", tmp_path / ".azureml")


def test_flags_name_it_instead_and_only_together(tmp_path: Path) -> None:
    flags = ["--workspace", "w", "--resource-group", "g", "--subscription", "s"]

    assert find(tmp_path, *flags) == workspace.Address("s", "g", "w", tmp_path / ".azureml")
    with pytest.raises(UserError, match="--resource-group missing"):
        find(tmp_path, *flags[:2], *flags[4:])


@pytest.fixture
def signed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody is signed in; returns a folder that is in PATH."""
    for variable in (*workspace.SERVICE_PRINCIPAL, "MSI_ENDPOINT", "IDENTITY_ENDPOINT", "AZURE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("sys.stdin", Namespace(isatty=lambda: False))
    return tmp_path


def write_az(folder: Path, script: str) -> None:
    (folder / "az").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "az").chmod(0o755)


def test_auto_takes_what_there_is_in_the_documented_order(signed_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nobody is signed in to Azure, and without a terminal no browser is opened"):
        workspace.choose_sign_in("auto")
    monkeypatch.setattr("sys.stdin", Namespace(isatty=lambda: True))
    assert workspace.choose_sign_in("auto") == "interactive"
    write_az(signed_out, "")
    (signed_out / ".azure").mkdir()
    (signed_out / ".azure" / "azureProfile.json").touch()
    assert workspace.choose_sign_in("auto") == "cli"
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://localhost")
    assert workspace.choose_sign_in("auto") == "managed-identity"
    monkeypatch.setenv(workspace.SERVICE_PRINCIPAL[0], "tenant")
    with pytest.raises(UserError, match="AZUREML_SERVICE_PRINCIPAL_ID, AZUREML_SERVICE_PRINCIPAL_PASSWORD in the env"):
        workspace.choose_sign_in("service-principal")
    for variable in workspace.SERVICE_PRINCIPAL:
        monkeypatch.setenv(variable, "set")
    assert workspace.choose_sign_in("auto") == "service-principal"
    assert workspace.choose_sign_in("interactive") == "interactive"


def test_the_token_of_the_azure_cli_is_cached_for_some_minutes(
    signed_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [10_000.0]
    monkeypatch.setattr(workspace.time, "monotonic", lambda: now[0])
    write_az(signed_out, """echo "$4" >> "$HOME/calls"; echo "{\\"accessToken\\": \\"token for $4\\"}\"""")

    assert [workspace.azure_cli_token(audience) for audience in ("arm", "arm", "aml")][1:] == [
        "token for arm",
        "token for aml",
    ]
    now[0] += 300
    workspace.azure_cli_token("arm")

    assert (signed_out / "calls").read_text().split() == ["arm", "aml", "arm"]


def test_an_azure_cli_that_is_not_installed_is_named(signed_out: Path) -> None:
    with pytest.raises(UserError, match="there is no `az` in PATH; install it"):
        workspace.choose_sign_in("cli")
    write_az(signed_out, "")
    assert workspace.choose_sign_in("cli") == "cli"


@pytest.mark.parametrize("script", ["echo '{}'", "echo no JSON", "echo 'sign in first' >&2; exit 1"])
def test_an_azure_cli_without_a_session_is_explained(signed_out: Path, script: str) -> None:
    write_az(signed_out, script)

    with pytest.raises(UserError, match=r"gave no token .*; run az login"):
        workspace.azure_cli_token("https://management.azure.com")
