"""What a training process in a job sends with the unmodified SDK is there, and can be read back."""

import time

from scripts.emulator import Emulator

IN_A_JOB = """
import pathlib, sys
from azureml.core import Run

run = Run.get_context()
for step in range(100):
    run.log("loss", step / 100, step=step)
run.log("accuracy", 0.5)
run.log_row("row", a=1, b="two")
run.log_list("list", [1, 2, 3])
run.log_table("table", {"x": [1, 2], "y": [3.5, 4.5]})
run.flush()
run.tag("owner", "me")
run.add_properties({"key": "value"})
run.display_name = "a fine run"

file = pathlib.Path(sys.argv[1]) / "weights.bin"
file.write_bytes(bytes(range(256)) * 1000)
run.upload_file("outputs/weights.bin", str(file))
run.download_file("outputs/weights.bin", str(file.with_name("back.bin")))
assert file.with_name("back.bin").read_bytes() == file.read_bytes()
assert run.get_file_names() == ["outputs/weights.bin"]

metrics = run.get_metrics()
assert metrics["loss"] == [step / 100 for step in range(100)], metrics["loss"]
assert metrics["accuracy"] == 0.5 and metrics["row"] == {"a": 1, "b": "two"} and metrics["list"] == [1, 2, 3]
assert metrics["table"] == {"x": [1, 2], "y": [3.5, 4.5]}
assert run.get_tags() == {"owner": "me"} and run.get_properties()["key"] == "value"
assert run.get_status() == "Running"
run.complete()  # leaves the status alone: a job's run ends with the job
"""


def test_a_job_logs_metrics_artifacts_and_tags(azure: Emulator, script, tmp_path) -> None:
    script(IN_A_JOB, azure.job_environment("run-1"), tmp_path)

    metrics = azure.metrics("run-1")
    losses = sorted((one.step, one.value) for one in metrics if one.name == "loss")
    assert losses == [(step, step / 100) for step in range(100)]
    assert [one.step for one in metrics if one.name == "accuracy"] == [None]
    assert next(one for one in metrics if one.name == "row").columns == {"a": 1, "b": "two"}
    assert all(one.arrived <= time.monotonic() for one in metrics)
    assert azure.artifacts("run-1") == {"outputs/weights.bin": bytes(range(256)) * 1000}
    run = azure.run("run-1")
    assert (run.status, run.tags, run.display_name) == ("Running", {"owner": "me"}, "a fine run")


SIGNED_IN_BY_CODE = """
    import os, sys
    from azureml.core import Workspace
    from azureml.core.authentication import ServicePrincipalAuthentication
    from lightning_cifar import AzureMLLogger
    parts = ("TENANT_ID", "ID", "PASSWORD")
    auth = ServicePrincipalAuthentication(*(os.environ.pop(f"AZUREML_SERVICE_PRINCIPAL_{part}") for part in parts))
    workspace = Workspace.from_config(sys.argv[1], auth=auth)
    logger = AzureMLLogger(experiment_name="mine", workspace=workspace, save_dir=sys.argv[1])
    logger.log_metrics({"loss": 1.5}, 0)
    logger.close()
    print(logger.experiment.get_status(), logger.experiment.get_metrics())
"""


def test_the_logger_sends_with_a_sign_in_that_was_made_in_code(azure: Emulator, script, project) -> None:
    azure.write_config(project)
    assert script(SIGNED_IN_BY_CODE, azure.client_environment(), project).splitlines()[-1] == "Completed {'loss': 1.5}"
