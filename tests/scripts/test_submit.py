"""Submitting, above any SDK: what is read, checked, sent and said, in which order."""

import json
import re
from pathlib import Path

import pytest

from lightning_cifar import cli
from lightning_cifar.errors import UserError
from scripts import console, submit
from tests.scripts.fakes import FakeAzure

CHECK_FLAGS = cli.check_flags  # the fixture `azure` replaces it


def test_a_submission_sends_the_job_and_remembers_its_run(azure: FakeAzure, project: Path) -> None:
    flags = ["--tag", "owner=me", "--nodes", "2", "--max-duration", "1.5h", "--", "--x", "it's $HOME"]

    assert submit.main(flags) == 0

    ((job, files),) = azure.submitted
    assert job.flags == ("--x", "it's $HOME")
    assert (job.tags, job.nodes, job.max_seconds, job.gpu) == ({"owner": "me"}, 2, 5400, False)
    assert "lightning_cifar/__main__.py" in files.files
    assert azure.events == ["parsed", "connect", "check", "submit"]
    remembered = json.loads((project / ".azureml" / "last_run.json").read_text())
    assert remembered == {"run_id": "run-1", "experiment": "cifar10", "studio": azure.run.studio_url}


def test_every_long_step_says_beforehand_what_is_waited_for(
    azure: FakeAzure, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    said = []

    def noting(real):
        def step(*args):
            said.append(capsys.readouterr().out.splitlines()[-1])
            return real(*args)

        return step

    for owner, step in ((cli, "check_flags"), (azure, "connect"), (azure, "check"), (azure, "submit")):
        monkeypatch.setattr(owner, step, noting(getattr(owner, step)))

    submit.main(["--wait"])

    assert said == [
        "reading the training's flags with its own parser …",
        "signing in to workspace fake …",
        "asking for compute cpu-cluster and data cifar10 …",
        "sending the snapshot and starting the job …",
    ]
    assert "Running; waiting for the first line of its log …" in capsys.readouterr().out


BAD = {
    "a compute that is not there": (["--compute", "nope"], r"no compute 'nope'.*there is: cpu-cluster, gpu-cluster"),
    "a compute without GPU": (["--", "--trainer.accelerator", "gpu"], r"cpu-cluster \(\S+\) has no GPU.*gpu-cluster"),
    "an accelerator of laptops": (["--", "--trainer.accelerator=mps"], r"no accelerator 'mps'; ACCELERATOR=gpu"),
    "more nodes than there are": (["--nodes", "9"], r"cpu-cluster has at most 4 nodes, fewer than NODES=9"),
    "requirements that cannot be read": (["--requirements", "bad.txt"], r"bad\.txt, line 1.*torch=="),
    "requirements that are missing": (["--requirements", "no.txt"], r"no\.txt cannot be read"),
    "conda file without Python": (["--conda", "nopython.yml"], r"names no Python version; add"),
    "two environments": (["--environment", "a", "--conda", "bad.yml"], r"not allowed with"),
    "an image for a ready environment": (["--environment", "a", "--image", "b"], r"brings its own"),
    "a local folder": (["--data", "images"], r"make upload-data DATA=images"),
    "data of no kind": (["--data", "imagse"], r"neither cifar10, synthetic nor DATASTORE:PATH"),
    "a datastore that is not there": (["--data", "nope:images"], r"no datastore 'nope'.*there is: store"),
    "a path that is not there": (["--data", "store:no"], r"nothing at store:no;"),
    "no nodes": (["--nodes", "0"], r"--nodes: must be a whole number of at least 1, not '0'"),
    "an unknown flag": (["--wiat"], r"--wiat; .* lists what there is"),
    "an unknown sign-in": (["--auth", "magic"], r"invalid choice: 'magic'"),
    "no duration": (["--max-duration", "long"], r"'long' is no duration"),
    "a config that is missing": (["--config", "no.json"], r"no\.json does not exist; download it"),
    "a config that lacks a key": (["--config", "nokey.json"], r"nokey\.json lacks resource_group"),
}


@pytest.mark.parametrize("case", BAD)
def test_flags_that_cannot_be_met_are_explained_in_one_line(
    azure: FakeAzure, project: Path, case: str, capsys: pytest.CaptureFixture
) -> None:
    flags, message = BAD[case]
    (project / "images").mkdir()
    (project / "bad.txt").write_text("torch==\n")
    (project / "nopython.yml").write_text("dependencies:\n- pip\n")
    (project / "nokey.json").write_text('{"subscription_id": "s", "workspace_name": "w"}')

    code = console.exit_code(submit.main, flags)

    error = capsys.readouterr().err
    assert code == 1
    assert re.fullmatch(rf"error: .*{message}.*\n", error), error
    assert not azure.submitted
    assert not (project / ".azureml").exists()


def test_a_project_over_the_limits_is_refused_before_anybody_is_asked(azure: FakeAzure, project: Path) -> None:
    with (project / "film.mp4").open("wb") as film:
        film.truncate(301 << 20)

    with pytest.raises(UserError, match=r"/film\.mp4 \(301\.0 MB"):
        submit.main([])

    assert azure.events == []


def test_the_jobs_own_parser_reads_the_flags(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "check_flags", CHECK_FLAGS)

    with pytest.raises(UserError, match=r"carrots"):
        submit.main(["--", "--trainer.carrots", "3"])
    assert submit.main(["--nodes", "2", "--", "--trainer.max_epochs", "3"]) == 0

    assert len(azure.submitted) == 1
