"""Control scripts on a laptop: blobs and submissions."""

from scripts.emulator import Emulator
from tests.deadline import deadline


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


SUBMIT = """
import sys
from azureml.core import Environment, Experiment, ScriptRunConfig, Workspace

folder = sys.argv[1]
workspace = Workspace.from_config(folder)
experiment = Experiment(workspace, "submitted")
environment = Environment("mine")
environment.python.user_managed_dependencies = True

def config(**more):
    return ScriptRunConfig(folder, compute_target="cpu-cluster", environment=environment, **more)

first = experiment.submit(config(command=["python", "-m", "pkg"]), tags={"owner": "me"})
open(folder + "/pkg/helper.py", "a").write("CHANGED = True\\n")
open(folder + "/pkg/new.py", "w").write("")
second = experiment.submit(config(script="pkg/helper.py"))
second.cancel()
assert (first.get_status(), second.get_status()) == ("Queued", "Canceled")
assert [run.id for run in experiment.get_runs()] == [second.id, first.id]
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
    assert (first.tags, first.target) == ({"owner": "me"}, "cpu-cluster")
    assert first.definition["command"] == "python -m pkg" and second.definition["script"] == "pkg/helper.py"
    # The second snapshot is sent as a difference from the first; both are whole.
    names = {".amlignore", "pkg/__init__.py", "pkg/helper.py"}
    assert set(azure.snapshot(first.id)) == names and set(azure.snapshot(second.id)) == names | {"pkg/new.py"}
    assert azure.snapshot(first.id)["pkg/helper.py"] == b"ANSWER = 42\n"
    assert azure.snapshot(second.id)["pkg/helper.py"] == b"ANSWER = 42\nCHANGED = True\n"
    assert set(azure.environments()) == {("mine", "1")}
