"""Which backend a run is sent by, and to which service: known without importing an SDK, and written into the record."""

import sys
from importlib.metadata import PackageNotFoundError

import pytest

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure import backends
from lightning_cifar.azure.outbox import read_header
from lightning_cifar.azure.replay import replay
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.errors import UserError
from tests.azure.conftest import write_record

SCOPE = "/mlflow/v1.0/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces"
AZURE = f"azureml://eastus.api.azureml.ms{SCOPE}/w"
SERVER = "http://127.0.0.1:5000"


@pytest.fixture
def without(monkeypatch):
    """Let packages be missing: `without("azureml-core")`."""

    def remove(*packages):
        def version(name, find=backends.version):
            if name in packages:
                raise PackageNotFoundError(name)
            return find(name)

        monkeypatch.setattr(backends, "version", version)

    return remove


@pytest.mark.parametrize(
    ("asked", "tracking_uri", "missing", "chosen"),
    [
        ("auto", "", (), "v1"),
        ("auto", AZURE, (), "mlflow"),
        ("auto", AZURE, ("azureml-mlflow",), "v1"),
        ("auto", SERVER, ("azureml-mlflow",), "mlflow"),
        ("v1", AZURE, (), "v1"),
        ("mlflow", "", (), "mlflow"),
        ("tests.azure.fake_backend:FakeBackend", "", (), "tests.azure.fake_backend:FakeBackend"),
    ],
)
def test_the_backend_follows_from_what_is_named_and_installed(without, asked, tracking_uri, missing, chosen):
    without(*missing)
    assert backends.choose(asked, tracking_uri) == chosen


@pytest.mark.parametrize(
    ("uri", "backend"),
    [(None, "v1"), (AZURE + "?extra", "mlflow"), (AZURE.replace("/w", "/other", 1)[:-1] + "x", "v1"), (SERVER, "v1")],
    ids=["none", "its own workspace", "another workspace", "some server"],
)
def test_in_a_job_mlflow_is_taken_where_the_job_s_own_workspace_is_named(recorded, monkeypatch, uri, backend):
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = set(sys.modules)
    AzureMLLogger().log_metrics({"loss": 1.0}, 0)
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {"azureml", "mlflow"}
    (record,) = recorded.paths()
    header = read_header(record)
    assert header.backend == backend and header.address.run_id == "run-1"
    assert header.address.tracking_uri == (AZURE if backend == "mlflow" else "")


@pytest.mark.parametrize("variable", [True, False])
def test_outside_a_job_a_server_s_address_is_enough(outside, monkeypatch, variable):
    if variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER + "/")
        logger = AzureMLLogger(experiment_name="mine", backend="mlflow")
    else:
        logger = AzureMLLogger(experiment_name="mine", workspace=SERVER)
    logger.log_metrics({f"m{number}": 1.0 for number in range(51)}, 0)
    (record,) = outside.paths()
    assert (header := read_header(record)).backend == "mlflow" and header.address.interactive
    assert (header.address.tracking_uri, header.address.experiment) == (SERVER, "mine")
    assert len(outside.points()) == 51, "the limit of 50 names is SDK v1's"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "v3"}, "'v3' is no backend of AzureMLLogger's: use auto, v1, mlflow or module:Class"),
        ({"backend": "v1", "workspace": SERVER}, "backend 'v1' cannot log to the MLflow server http://127"),
        ({"workspace": "ftp://server/"}, "'ftp://server/' is no address of an MLflow server: begin it with http://"),
        ({"backend": "mlflow", "run": "abc"}, "run='abc' is the id of a run of MLflow's: name its server, workspace="),
        ({"workspace": "http://"}, "'http://' is no address of an MLflow server"),
        ({"workspace": "http://me:secret@server"}, "the address http://server must hold no password.*: set MLFLOW_TR"),
    ],
)
def test_a_mistaken_backend_or_address_is_one_line_that_says_what_next(outside, arguments, message):
    with pytest.raises(UserError, match=f"^{message}") as raised:
        AzureMLLogger(experiment_name="e", **arguments)
    assert len(str(raised.value).splitlines()) == 1 and "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("backend", "uri", "missing", "command"),
    [
        ("v1", "", "azureml-core", "pip install azureml-core"),
        ("mlflow", AZURE, "azureml-mlflow", "pip install azureml-mlflow==1.62.0.post6"),
        ("mlflow", SERVER, "mlflow-skinny", "pip install mlflow-skinny"),
    ],
)
def test_a_record_whose_backend_is_not_installed_names_the_command(
    tmp_path, without, backend, uri, missing, command, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)  # else a record could name a server of anybody's
    address = RunAddress("run-1", "e", "w", "g", "s", tracking_uri=uri)
    without(missing)
    with pytest.raises(UserError, match=f"^{missing} is not installed, .*: {command}$"):
        replay(write_record(tmp_path / "a.jsonl", 1, address, backend))
