"""What was submitted runs: on nodes that see nothing of each other, with what Azure ML gives to a job."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from scripts.emulator import isolation as isolation_module
from scripts.emulator.node import Node
from scripts.emulator.records import RunRecord


@pytest.fixture
def submit(azure: Emulator, project: Path):
    """Return a function that submits without the SDK, which would cost a second each time."""

    def send(files: dict[str, str] | None = None, **definition) -> str:
        run_id = f"job-{len(azure.runs())}"
        content = {path.relative_to(project).as_posix(): path.read_bytes() for path in project.rglob("*.py")}
        content |= {name: text.encode() for name, text in (files or {}).items()}
        azure.state.blobs.setdefault("snapshots", {}).update({f"{run_id}/{n}": c for n, c in content.items()})
        azure.state.snapshots[run_id] = {name: f"{run_id}/{name}" for name in content}
        run: RunRecord = azure.state.add_run(run_id, "jobs")
        run.snapshot, run.definition, run.status = run_id, {"target": "cpu-cluster"} | definition, "Queued"
        return run_id

    return send


def pytorch(nodes: int, processes: int | None) -> dict:
    return {
        "framework": "PyTorch",
        "communicator": "gloo",
        "nodeCount": nodes,
        "pytorch": {"processCount": processes, "nodeCount": nodes},
    }


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
import json, os, pathlib, sys, time
print("hello from rank", os.environ["RANK"], flush=True)
names = ("MASTER_ADDR", "WORLD_SIZE", "NODE_RANK", "LOCAL_RANK", "RANK", "AZUREML_RUN_ID")
said = {name: os.environ[name] for name in names}
said["data"] = sorted(os.listdir(sys.argv[2]))
said["arguments"] = sys.argv[3:]
pathlib.Path(f"outputs/rank{os.environ['RANK']}.json").write_text(json.dumps(said))
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
        said = script(WITH_THE_SDK, azure.client_environment(), project)
        (run,) = azure.runs("rehearsed")
        assert "hello from rank 0" in said and "hello from rank 1" not in said
        assert said.splitlines()[-1] == (
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
    azure.start_job(run_id)
    assert azure.wait(run_id) == "Completed"
    said = [line.split() for line in azure.job(run_id).log.splitlines()]
    assert [tuple(line[:3]) for line in said] == ranks and len({line[3] for line in said}) == 1


def test_a_job_without_distribution_has_no_ranks(azure, submit) -> None:
    run_id = submit({"say.py": "import os; print('RANK' in os.environ)"}, script="say.py")
    assert azure.start_job(run_id).wait(20) == "Completed"
    assert azure.artifacts(run_id)["user_logs/std_log.txt"] == b"False\n"


@pytest.mark.parametrize("method", [isolation_module.method(), isolation_module.RANDOM_PATHS])
def test_a_node_finds_nothing_of_another(azure, submit, monkeypatch, method: str) -> None:
    if method == isolation_module.RANDOM_PATHS:
        monkeypatch.setattr(isolation_module, "_unshare", lambda: None)
    code = """
import os, pathlib, time
rank = os.environ["RANK"]
pathlib.Path("mine.txt").write_text(rank)
time.sleep(0.5)  # until the other has written
print(rank, pathlib.Path("mine.txt").read_text(), len(list(pathlib.Path("../..").glob("*/wd/mine.txt"))))
"""
    run_id = submit({"say.py": code}, script="say.py", **pytorch(2, 2))
    job = azure.start_job(run_id)
    assert job.wait(20) == "Completed" and job.isolation == method
    # Without namespaces nothing is hidden from one who searches, but every node has its own folder.
    found = "1" if method == isolation_module.NAMESPACES else "2"
    assert job.log.split() == ["0", "0", found, "1", "1", found]
    assert len({folder.parent for folder in job.folders}) == 2
    assert all(folder.parent.stat().st_mode & 0o777 == 0o700 for folder in job.folders)


def test_mounted_data_can_be_read_and_not_written(azure, submit, tmp_path) -> None:
    (tmp_path / "cat.png").write_text("meow")
    azure.mount("cifar", tmp_path)
    code = """
import pathlib, sys
print(pathlib.Path(sys.argv[1], "cat.png").read_text())
try:
    pathlib.Path(sys.argv[1], "new").touch()
except OSError as error:
    print(error.strerror)
"""
    reference = {"dataStoreName": "workspaceblobstore", "pathOnDataStore": "cifar", "mode": "mount"}
    run_id = submit(
        {"say.py": code},
        script="say.py",
        arguments=["$AZUREML_DATAREFERENCE_images"],
        dataReferences={"images": reference},
    )
    assert azure.start_job(run_id).wait(20) == "Completed"
    said = azure.job(run_id).log.splitlines()
    if isolation_module.method() == isolation_module.NAMESPACES:
        assert said == ["meow", "Read-only file system"] and not (tmp_path / "new").exists()
    assert said[0] == "meow"


def test_uploaded_data_are_downloaded_and_missing_ones_fail_the_job(azure, submit) -> None:
    azure.state.blobs["azureml-blobstore-" + azure.workspace.id] = {"set/a/b.txt": b"B", "set/c.txt": b"C"}
    code = "import glob, sys; print(sorted(glob.glob('**/*.txt', root_dir=sys.argv[1], recursive=True)))"
    for path, status in (("set", "Completed"), ("nothing", "Failed")):
        reference = {"dataStoreName": "workspaceblobstore", "pathOnDataStore": path, "mode": "download"}
        run_id = submit(
            {"say.py": code},
            command="python say.py $AZUREML_DATAREFERENCE_d",
            dataReferences={"d": reference},
        )
        assert azure.start_job(run_id).wait(20) == status
    assert azure.job("job-0").log == "['a/b.txt', 'c.txt']\n"
    assert "no files at 'nothing'" in azure.run("job-1").error["error"]["message"]


def test_the_snapshots_package_is_imported_and_never_the_checkouts(azure, submit, tmp_path, monkeypatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "elsewhere").mkdir(parents=True)
    (checkout / "elsewhere" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    code = "import pkg.helper, sys; print(pkg.helper.__file__.startswith(sys.argv[1]))\nimport elsewhere"
    run_id = submit({"pkg/__main__.py": code}, command="python -m pkg $PWD")
    assert azure.start_job(run_id).wait(20) == "Failed"
    log = azure.job(run_id).log
    assert log.startswith("True") and "No module named 'elsewhere'" in log
    assert "No module named 'elsewhere'" in azure.run(run_id).error["error"]["message"]


def test_an_editable_installation_does_not_reach_into_a_job(tmp_path) -> None:
    # What `pip install --editable` leaves in an interpreter: an entry of a .pth file, or a finder of its own.
    node = Node(0, tmp_path / "node")
    node.prepare({})
    code = """if True:
        import runpy, sys, types
        class Finder: pass
        Finder.__module__ = "__editable___project_finder"
        sys.meta_path.append(Finder)
        sys.path[:0] = [sys.argv[1] + "/checkout", sys.argv[1] + "/node/wd"]
        before = len(sys.path)
        runpy.run_path(sys.argv[1] + "/node/site/sitecustomize.py")
        print(before - len(sys.path), Finder in sys.meta_path, sys.path[0].endswith("wd"))
    """
    command = [sys.executable, "-I", "-c", code, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "1 False True\n"


def test_a_failure_keeps_what_was_written_and_ends_the_other_ranks(azure, submit) -> None:
    code = """
import os, pathlib, sys, time
pathlib.Path(f"outputs/{os.environ['RANK']}.txt").write_text("done")
if os.environ["RANK"] == "1":
    time.sleep(0.3)
    print("something went wrong")
    sys.exit(3)
time.sleep(60)
"""
    run_id = submit({"say.py": code}, script="say.py", **pytorch(2, 2))
    start = time.monotonic()
    assert azure.start_job(run_id).wait(30) == "Failed"
    assert time.monotonic() - start < 15
    assert {"outputs/0.txt", "outputs/1.txt"} <= set(azure.artifacts(run_id))
    message = azure.run(run_id).error["error"]["message"]
    assert "status code 3" in message and "std_log_process_1.txt" in message and "went wrong" in message


def test_logs_and_outputs_can_be_read_while_the_job_runs(azure, submit) -> None:
    code = """
import pathlib, time
print("under way", flush=True)
pathlib.Path("outputs/early.txt").write_text("early")
while not pathlib.Path("stop").exists():
    time.sleep(0.05)
"""
    run_id = submit({"say.py": code}, script="say.py")
    job = azure.start_job(run_id)
    deadline = time.monotonic() + 20
    while "outputs/early.txt" not in azure.artifacts(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert azure.artifacts(run_id)["outputs/early.txt"] == b"early"
    assert azure.artifacts(run_id)["user_logs/std_log.txt"] == b"under way\n"
    assert azure.run(run_id).status == "Running"
    (job.folders[0] / "stop").touch()
    assert job.wait(20) == "Completed"


@pytest.mark.parametrize("obedient", [True, False])
def test_cancelling_ends_the_processes_politely_first(azure, submit, session, obedient) -> None:
    azure.grace = 1.0
    code = f"""
import pathlib, signal, sys, time
def stop(*_):
    print("asked to stop", flush=True)
    {"sys.exit(0)" if obedient else "pass"}
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
    run_id = submit({"say.py": code}, script="say.py")
    job = azure.start_job(run_id)
    while "ready" not in job.log:
        time.sleep(0.02)
    url = f"https://eastus.api.azureml.ms/execution/v1.0{azure.workspace.scope}/experiments/jobs/runs/{run_id}/cancel"
    assert session(azure).post(url, timeout=5).status_code == 200
    assert azure.wait(run_id, 20) == "Canceled"
    assert job.log == "ready\nasked to stop\n"


def test_a_job_that_takes_too_long_is_canceled(azure, submit) -> None:
    run_id = submit({"say.py": "import time; time.sleep(60)"}, script="say.py", maxRunDurationSeconds=1)
    assert azure.start_job(run_id).wait(20) == "Canceled"


def test_after_pre_emption_a_job_starts_again_with_nothing_but_its_artifacts(azure, submit) -> None:
    code = """
import os, pathlib, time
from_before = pathlib.Path("outputs/checkpoint").exists()
print(os.environ["AZUREML_RUN_ID"], from_before, flush=True)
pathlib.Path("outputs/checkpoint").write_text("1")
while not from_before and not pathlib.Path("stop").exists():
    time.sleep(0.05)
"""
    run_id = submit({"say.py": code}, script="say.py")
    first = azure.start_job(run_id)
    deadline = time.monotonic() + 20
    while "outputs/checkpoint" not in azure.artifacts(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    assert azure.run(run_id).status == "Queued" and not first.folders[0].exists()
    with pytest.raises(ProcessLookupError):
        os.kill(first.pids[0], signal.SIG_DFL)
    second = azure.restart_job(run_id)
    while not second.log:
        time.sleep(0.02)
    assert second.log == f"{run_id} False\n" and azure.artifacts(run_id)["outputs/checkpoint"] == b"1"
    assert second.folders != first.folders
    (second.folders[0] / "stop").touch()
    assert azure.wait(run_id, 20) == "Completed"


def test_what_a_job_leaves_behind_ends_with_it(azure, submit) -> None:
    code = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(left.pid)
"""
    run_id = submit({"say.py": code}, script="say.py")
    assert azure.start_job(run_id).wait(20) == "Completed"
    left = Path("/proc", azure.job(run_id).log.strip(), "cmdline")
    assert not left.exists() or not left.read_bytes()  # gone, or dead and never waited for


def test_a_job_ends_when_the_stand_in_is_killed() -> None:
    code = """if True:
        import time
        from scripts.emulator import Emulator
        with Emulator() as azure:
            azure.state.blobs["snapshots"] = {"x": b"import time; print('up', flush=True); time.sleep(60)"}
            azure.state.snapshots["one"] = {"say.py": "x"}
            run = azure.state.add_run("run", "jobs")
            run.snapshot, run.definition = "one", {"script": "say.py"}
            job = azure.start_job("run")
            while "up" not in job.log:
                time.sleep(0.02)
            print(job.pids[0], azure.folder, flush=True)
            time.sleep(60)
    """
    service = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    pid, folder = service.stdout.readline().split()
    service.kill()
    service.wait()
    deadline = time.monotonic() + 5
    while (left := Path("/proc", pid, "cmdline")).exists() and left.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder)
    assert not left.exists() or not left.read_bytes()


def test_closing_the_service_ends_its_jobs(submit, azure) -> None:
    run_id = submit({"say.py": "import time; print('up', flush=True); time.sleep(60)"}, script="say.py")
    job = azure.start_job(run_id)
    while "up" not in job.log:
        time.sleep(0.02)
    azure.close()
    with pytest.raises(ProcessLookupError):
        os.kill(job.pids[0], signal.SIG_DFL)
    assert not azure.folder.exists()


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({}, "neither a command nor a script"),
        ({"script": "x.py", "communicator": "IntelMpi"}, "intelmpi"),
        ({"script": "x.py", **pytorch(2, 3)}, "evenly"),
    ],
)
def test_what_cannot_be_run_fails_with_a_reason(azure, submit, definition: dict, says: str) -> None:
    run_id = submit(**definition)
    assert azure.start_job(run_id).wait(20) == "Failed"
    assert says in azure.run(run_id).error["error"]["message"]
