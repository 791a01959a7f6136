"""Control scripts on a laptop: environments, computes, datastores, submissions, and looking after runs."""

from pathlib import Path

from scripts.emulator import Emulator
from tests.deadline import deadline

RESOURCES = """
import os, sys
from azureml.core import Environment, Workspace
from azureml.core.compute import ComputeTarget
from azureml.exceptions import ComputeTargetException

folder = sys.argv[1]
workspace = Workspace.from_config(folder)
assert sorted(workspace.compute_targets) == ["big", "cpu-cluster", "gpu-cluster"]
assert ComputeTarget(workspace, "gpu-cluster").vm_size == "STANDARD_NC6S_V3"
assert workspace.compute_targets["big"].scale_settings.maximum_node_count == 8
try:
    ComputeTarget(workspace, "absent")
except ComputeTargetException as error:
    print("no compute:", "absent" in str(error))

environment = Environment("mine")
environment.python.user_managed_dependencies = True
assert environment.register(workspace).version == "1"
assert environment.register(workspace).version == "1"  # unchanged: not a second time
environment.docker.base_image = "another"
assert environment.register(workspace).version == "2"
assert Environment.get(workspace, "mine").docker.base_image == "another"
assert Environment.get(workspace, "mine", "1").docker.base_image != "another"
assert Environment.get(workspace, "curated").version == "7"
assert sorted(Environment.list(workspace)) == ["curated", "mine"]
try:
    Environment.get(workspace, "absent")
except Exception as error:
    print("no environment:", "absent" in str(error))

store = workspace.get_default_datastore()
store.upload(folder + "/pkg", "data/set", show_progress=False)
store.upload_files([folder + "/secret.txt"], target_path="data/set", show_progress=False)
assert store.download(folder + "/back", "data/set", show_progress=False) == 3
assert open(folder + "/back/data/set/helper.py").read() == open(folder + "/pkg/helper.py").read()
assert store.download(folder + "/mounted", "local", show_progress=False) == 1
"""


def test_environments_computes_and_datastores_work_from_a_control_script(
    azure: Emulator, script, project: Path, tmp_path
) -> None:
    azure.add_compute("big", max_nodes=8)
    azure.add_environment("curated", "7")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").write_bytes(b"meow")
    azure.mount("local", tmp_path / "images")
    azure.write_config(project)
    assert script(RESOURCES, azure.client_environment(), project).splitlines() == [
        "no compute: True",
        "no environment: True",
    ]
    assert azure.datastore() == {
        "data/set/__init__.py": b"",
        "data/set/helper.py": b"ANSWER = 42\n",
        "data/set/secret.txt": b"keep me out",
        "local/cat.png": b"meow",
    }
    assert set(azure.environments()) == {("curated", "7"), ("mine", "1"), ("mine", "2")}


def test_a_large_file_goes_up_in_blocks_and_comes_back_in_ranges(azure: Emulator, session) -> None:
    client, url = session(azure), "https://emulatorstorage.blob.core.windows.net/container/a/large%20file"
    blocks = {"AAAA": b"first ", "BBBB": b"second"}
    for name, content in reversed(blocks.items()):
        assert client.put(f"{url}?comp=block&blockid={name}", data=content, timeout=deadline(1)).status_code == 201
    assert client.get(url, timeout=deadline(1)).status_code == 404
    listed = "".join(f"<Latest>{name}</Latest>" for name in blocks)
    client.put(f"{url}?comp=blocklist", data=f"<BlockList>{listed}</BlockList>", timeout=deadline(1))
    part = client.get(url, headers={"x-ms-range": "bytes=3-7"}, timeout=deadline(1))
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"st se", "bytes 3-7/12")
    assert client.get(url, timeout=deadline(1)).content == b"first second"
    assert client.get(url, headers={"Range": "bytes=12-"}, timeout=deadline(1)).status_code == 416


def test_a_blob_that_has_content_is_not_replaced_where_none_may_be_there(azure: Emulator, session) -> None:
    client, url = session(azure), "https://emulatorstorage.blob.core.windows.net/container/artifact"
    only_new = {"If-None-Match": "*"}
    sent = [client.put(url, data=data, headers=only_new, timeout=deadline(1)) for data in (b"", b"first", b"second")]
    assert [answer.status_code for answer in sent] == [201, 201, 409]
    assert sent[2].headers["x-ms-error-code"] == "BlobAlreadyExists" and "BlobAlreadyExists" in sent[2].text
    assert client.get(url, timeout=deadline(1)).content == b"first"
    assert client.put(url, data=b"second", timeout=deadline(1)).status_code == 201
    assert client.get(url, timeout=deadline(1)).content == b"second"


SUBMIT = """
import sys
from azureml.core import Environment, Experiment, Run, ScriptRunConfig, Workspace
from azureml.core.runconfig import PyTorchConfiguration

folder = sys.argv[1]
workspace = Workspace.from_config(folder)
experiment = Experiment(workspace, "submitted")
environment = Environment("mine")
environment.python.user_managed_dependencies = True

def config(**more):
    return ScriptRunConfig(folder, compute_target="cpu-cluster", environment=environment, **more)

first = experiment.submit(config(command=["python", "-m", "pkg"]), tags={"owner": "me"})
first.display_name = "first"
open(folder + "/pkg/helper.py", "a").write("CHANGED = True\\n")
open(folder + "/pkg/new.py", "w").write("")
four_on_two = PyTorchConfiguration("Gloo", process_count=4, node_count=2)
distributed = config(script="pkg/helper.py", arguments=["--x", 1], distributed_job_config=four_on_two)
second = experiment.submit(distributed)
assert (first.get_status(), second.get_status()) == ("Queued", "Queued")
second.cancel()
assert second.get_status() == "Canceled"
assert [run.id for run in experiment.get_runs(tags={"owner": "me"})] == [first.id]
assert Run.get(workspace, second.id).id == second.id
assert first.get_details()["runDefinition"]["command"] == "python -m pkg"
for target, nodes in (("absent", 1), ("cpu-cluster", 5)):
    try:
        wrong = config(script="pkg/helper.py")
        wrong.run_config.node_count = nodes
        wrong.run_config.target = target
        experiment.submit(wrong)
    except Exception as error:
        print(type(error).__name__, target in str(error))
"""


def test_a_submission_is_kept_as_it_was_sent(azure: Emulator, script, project) -> None:
    azure.write_config(project)
    printed = script(SUBMIT, azure.client_environment(), project).splitlines()
    assert printed == ["ExperimentExecutionException True"] * 2
    first, second = azure.runs("submitted")
    assert (first.status, second.status) == ("Queued", "Canceled")
    assert (first.display_name, first.tags, first.target) == ("first", {"owner": "me"}, "cpu-cluster")
    assert first.definition["command"] == "python -m pkg" and first.definition["nodeCount"] == 1
    assert second.definition["pytorch"]["processCount"] == 4 and second.definition["nodeCount"] == 2
    # The second snapshot is sent as a difference from the first; both are whole.
    names = {".amlignore", "pkg/__init__.py", "pkg/helper.py"}
    assert set(azure.snapshot(first.id)) == names and set(azure.snapshot(second.id)) == names | {"pkg/new.py"}
    assert azure.snapshot(first.id)["pkg/helper.py"] == b"ANSWER = 42\n"
    assert azure.snapshot(second.id)["pkg/helper.py"] == b"ANSWER = 42\nCHANGED = True\n"
    assert set(azure.environments()) == {("mine", "1")}
