"""What a job finds in the workspace, and what is done with runs afterwards."""

import json
import re
import subprocess
import sys
from pathlib import Path

from scripts.emulator import Emulator
from tests.deadline import deadline
from tests.scripts.contract.conftest import Run


def test_environments_of_the_workspace_and_conda_files_work(service: Emulator, run: Run, project: Path) -> None:
    service.add_environment("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    (project / "conda.yml").write_text("dependencies:\n- python=3.11\n- pip:\n  - torch==2.11.0\n")
    before = len(service.runs())

    outcomes = [run("submit", "--environment=AzureML-acpt-pytorch-2.8-cuda12.6"), run("submit", "--conda=conda.yml")]
    missing = [
        run("submit", "--environment", name) for name in ("acpt-pytorch-2.9", "AzureML-acpt-pytorch-2.8-cuda12.6:9")
    ]

    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    curated, conda = ((run.definition or {})["environment"] for run in service.runs()[before:])
    assert (curated["name"], curated["version"]) == ("AzureML-acpt-pytorch-2.8-cuda12.6", "5")
    assert conda["python"]["condaDependencies"]["dependencies"] == ["python=3.11", {"pip": ["torch==2.11.0"]}]
    assert "near names: AzureML-acpt-pytorch-2.8-cuda12.6" in missing[0].last
    assert "in version 9" in missing[1].last


def test_what_the_workspace_lacks_is_named_before_anything_is_sent(service: Emulator, run: Run) -> None:
    before = len(service.runs())

    outcomes = [run("submit", "--compute", "nope")]
    outcomes += [run("submit", "--data", data) for data in ("nope:images", "workspaceblobstore:no")]

    assert [outcome.err.partition("; ")[0] for outcome in outcomes] == [
        "error: no compute 'nope' in workspace emulator",
        "error: no datastore 'nope' in workspace emulator",
        "error: nothing at workspaceblobstore:no",
    ]
    assert len(service.runs()) == before


def test_images_are_uploaded_once_and_reach_a_job_mounted_or_downloaded(
    service: Emulator, run: Run, tmp_path: Path, sdk: str
) -> None:
    images, archive = tmp_path / "my images", tmp_path / "archive"
    for path in ("train/red cats/0.png", "test/red cats/0.png"):
        (images / path).parent.mkdir(parents=True)
        (images / path).write_text(path)
    archive.mkdir()
    (archive / "cifar-10-python.tar.gz").write_bytes(b"tar")
    before = len(service.runs())

    uploads = [run("upload_data", str(folder)) for folder in (images, archive, images)]
    (images / "train/red cats/0.png").write_text("TRAIN/red cats/0.png")  # the same size
    uploads.append(run("upload_data", str(images)))
    data = [outcome.out.strip().rpartition("DATA=")[2] for outcome in uploads]
    jobs = [
        run("submit", "--data", where, f"--data-mode={mode}", "--wait")
        for where, mode in ((data[3], "mount"), (data[1], "download"))
    ]

    assert [outcome.code for outcome in (*uploads, *jobs)] == [0] * 6, (uploads, jobs)
    # Of SDK v1 the folder is changed in place, of SDK v2 each version has its own.
    sent = [re.findall(r"uploaded (\d+)", outcome.out)[0] for outcome in uploads]
    assert sent == ["2", "1", "0", "2" if sdk == "v2" else "1"]
    assert (data[0] == data[2], data[2] == data[3]) == (True, sdk == "v1")
    assert b"TRAIN/red cats/0.png" in service.datastore().values()
    assert (b"train/red cats/0.png" in service.datastore().values()) == (sdk == "v2")
    runs = service.runs()[before:]
    seen = [json.loads(service.artifacts(run.id)["outputs/rank0.json"])["arguments"] for run in runs]
    assert (seen[0][5], seen[0][6][0]) == ("--data.source", "/")
    assert seen[1][5:8] == ["--data.source", "cifar10", "--data.data_dir"]
    modes = [(run.definition or {})["dataReferences"]["training_data"]["mode"] for run in runs]
    assert modes == ["mount", "download"]


_LOG = {
    "v1": """
from azureml.core import Run
run = Run.get_context()
for step in range(1, 6):
    run.log("loss", 2 / step, step=step * 100)
run.log("val_acc", 0.3, step=500)
run.flush()
""",
    "v2": """
import mlflow
for step in range(1, 6):
    mlflow.log_metric("loss", 2 / step, step=step * 100)
mlflow.log_metric("val_acc", 0.3, step=500)
""",
}


def test_metrics_are_listed_and_checkpoints_registered(service: Emulator, run: Run, sdk: str) -> None:
    job = [sys.executable, "-c", _LOG[sdk]]
    subprocess.run(
        job,
        env=service.job_environment("logged", mlflow=sdk == "v2") | {"DO_NOT_TRACK": "true"},
        check=True,
        timeout=deadline(30),
    )
    for name in ("version_9/checkpoints/best", "version_10/checkpoints/best", "version_11/checkpoints/last"):
        service.add_artifact("logged", f"outputs/cifar10/{name}.ckpt", b"weights")

    listed, elsewhere = run("runs", "list", "-n", "1"), run("runs", "list", "--experiment", "no")
    compared = run("runs", "compare", "logged", "--metric", "loss")
    registered, unknown = run("runs", "register", "logged", "--name", "net"), run("runs", "watch", "fourth")

    (row,) = [line for line in listed.out.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in row.split("│")[1:]][:3] == ["logged", "logged", "Running"]
    assert [cell.strip() for cell in row.split("│")[-3:-1]] == ["0.3", "0.4"]
    assert "no experiment 'no' in workspace emulator; there is: cifar10" in elsewhere.last
    assert compared.code == registered.code == 0, (compared, registered)
    assert [model.name for model in service.models()] == ["net"]
    assert "version_10/checkpoints/best.ckpt of run logged" in registered.last
    assert "not found: run fourth" in unknown.last

    for name in ("MLmodel", "data/model.pth"):
        service.add_artifact("logged", f"outputs/mlflow-model/{name}", b"")
    assert "version 2, is outputs/mlflow-model of run logged" in run("runs", "register", "logged", "--name", "net").last
    assert set(service.models()[-1].content) == {"MLmodel", "data/model.pth"}
    if sdk == "v2":
        known = [service.state.resources[f"models/net/versions/{version}"]["modelType"] for version in (1, 2)]
        assert known == ["custom_model", "mlflow_model"]


def test_a_running_job_is_canceled_once(service: Emulator, run: Run) -> None:
    run("submit", "--", "--sleep")
    job = service.runs()[-1].id

    first = run("runs", "cancel")
    ended = service.job(job).wait(deadline(20))
    second, watched = run("runs", "cancel", job), run("runs", "watch")

    assert (first.code, ended) == (0, "Canceled")
    assert second.code == 1
    assert "has ended already: Canceled" in second.last
    assert watched.code == 130
