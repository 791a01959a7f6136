"""What was submitted runs: every process with its rank, its environment and its command line."""

import json

import pytest

from scripts.emulator import Emulator
from tests.deadline import deadline
from tests.emulator.definitions import pytorch

WITH_THE_SDK = """
import sys
from azureml.core import Environment, Experiment, ScriptRunConfig, Workspace
from azureml.core.runconfig import PyTorchConfiguration
from azureml.data.data_reference import DataReference

folder = sys.argv[1]
workspace = Workspace.from_config(folder)
environment = Environment("mine")
environment.python.user_managed_dependencies = True
data = DataReference(workspace.get_default_datastore(), "images", "cifar").as_mount()
config = ScriptRunConfig(
    folder,
    command=["python", "-m", "pkg", "--data", str(data), "--of", "$FRUIT"],
    compute_target="cpu-cluster",
    environment=environment,
    distributed_job_config=PyTorchConfiguration("Gloo", process_count=2, node_count=2),
)
config.run_config.data_references = {"images": data.to_config()}
config.run_config.environment_variables = {"FRUIT": "apple"}
run = Experiment(workspace, "rehearsed").submit(config)
run.wait_for_completion(show_output=True)
run.download_files(prefix="outputs", output_directory=folder + "/back")
print(run.get_status(), sorted(run.get_file_names()), run.get_metrics())
"""
IN_THE_JOB = """
import json, os, pathlib, sys
print("hello from rank", os.environ["RANK"], flush=True)
names = ("MASTER_ADDR", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK", "RANK", "AZUREML_RUN_ID")
seen = {name: os.environ[name] for name in names}
seen["data"] = sorted(os.listdir(sys.argv[2]))
seen["arguments"] = sys.argv[3:]
pathlib.Path(f"outputs/rank{os.environ['RANK']}.json").write_text(json.dumps(seen))
if os.environ["RANK"] == "0":
    from azureml.core import Run
    run = Run.get_context()
    run.log("loss", 0.5, step=1)
    run.flush()
"""


def test_a_distributed_job_runs_as_it_would_in_the_cloud(script, project, tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").touch()
    (project / "pkg" / "__main__.py").write_text(IN_THE_JOB)
    with Emulator(run_jobs=True, mounts={"cifar": tmp_path / "images"}) as azure:
        azure.write_config(project)
        printed = script(WITH_THE_SDK, azure.client_environment(), project)
        (run,) = azure.runs("rehearsed")
        assert "hello from rank 0" in printed and "hello from rank 1" not in printed
        assert printed.splitlines()[-1] == (
            "Completed ['outputs/rank0.json', 'outputs/rank1.json', 'user_logs/std_log_process_0.txt', "
            "'user_logs/std_log_process_1.txt'] {'loss': 0.5}"
        )
        assert b"hello from rank 1" in azure.artifacts(run.id)["user_logs/std_log_process_1.txt"]
        assert [(one.name, one.step, one.value) for one in azure.metrics(run.id)] == [("loss", 1, 0.5)]
        assert not azure.unexpected
    for rank in (0, 1):
        assert json.loads((project / "back" / "outputs" / f"rank{rank}.json").read_text()) == {
            "MASTER_ADDR": "127.0.0.1",
            "WORLD_SIZE": "2",
            "NODE_RANK": str(rank),
            "LOCAL_RANK": "0",
            "RANK": str(rank),
            "AZUREML_RUN_ID": run.id,
            "data": ["cat.png"],
            "arguments": ["--of", "apple"],
        }


@pytest.mark.parametrize(
    ("nodes", "processes", "ranks"),
    [
        (1, None, [("0", "0", "0")]),
        (2, None, [("0", "0", "0"), ("1", "1", "0")]),
        (2, 4, [("0", "0", "0"), ("1", "0", "1"), ("2", "1", "0"), ("3", "1", "1")]),
    ],
)
def test_every_process_knows_its_rank_and_all_meet_at_one_port(azure, submit, nodes, processes, ranks) -> None:
    code = "import os; print(*(os.environ[n] for n in ('RANK', 'NODE_RANK', 'LOCAL_RANK', 'MASTER_PORT')))"
    run_id = submit({"say.py": code}, script="say.py", **pytorch(nodes, processes))
    job = azure.start_job(run_id)
    assert azure.wait(run_id, deadline(3)) == "Completed"
    printed = [line.split() for line in job.log.splitlines()]
    assert [tuple(line[:3]) for line in printed] == ranks
    assert len({line[3] for line in printed}) == 1


def test_a_job_of_one_process_has_no_variables_of_a_distributed_one(azure, submit) -> None:
    run_id = submit(
        {"say.py": "import os; print('RANK' in os.environ or 'MASTER_ADDR' in os.environ)"}, script="say.py"
    )
    assert azure.start_job(run_id).wait(deadline(3)) == "Completed"
    assert azure.artifacts(run_id)["user_logs/std_log.txt"] == b"False\n"


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({}, "neither a command nor a script"),
        ({"script": "x.py", "communicator": "IntelMpi"}, "intelmpi"),
        ({"script": "x.py", **pytorch(2, 3)}, "evenly"),
    ],
)
def test_what_cannot_be_run_fails_with_a_reason(azure, submit, definition: dict, reason: str) -> None:
    run_id = submit(**definition)
    assert azure.start_job(run_id).wait(deadline(3)) == "Failed"
    assert reason in azure.run(run_id).error["error"]["message"]


def test_a_run_that_was_not_submitted_cannot_be_started(azure) -> None:
    azure.job_environment("run-1")
    with pytest.raises(ValueError, match="run-1 was not submitted"):
        azure.start_job("run-1")
