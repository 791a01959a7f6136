"""What is refused before anybody is asked, in one line, and what a submission leaves behind."""

import json
import re
from pathlib import Path
from unittest.mock import Mock

import pytest

from lightning_cifar.errors import UserError
from scripts import console, submit
from tests.scripts.fakes import FakeRun, details

BAD = {
    "an accelerator of laptops": (["--", "--trainer.accelerator=mps"], r"no accelerator 'mps'; ACCELERATOR=gpu"),
    "requirements that are missing": (["--requirements", "no.txt"], r"no\.txt cannot be read"),
    "two environments": (["--environment", "a", "--conda", "bad.yml"], r"not allowed with"),
    "an image for a ready environment": (["--environment", "a", "--image", "b"], r"brings its own"),
    "a local folder": (["--data", "images"], r"make upload-data DATA=images"),
    "data of no kind": (["--data", "imagse"], r"neither cifar10, synthetic, DATASTORE:PATH nor azureml:"),
    "no nodes": (["--nodes", "0"], r"--nodes: must be a whole number of at least 1, not '0'"),
    "an unknown flag": (["--wiat"], r"--wiat; .* lists what there is"),
    "an unknown sign-in": (["--auth", "magic"], r"invalid choice: 'magic'"),
    "no duration": (["--max-duration", "long"], r"'long' is no duration"),
    "a config that is missing": (["--config", "no.json"], r"no\.json does not exist; download it"),
    "a config that lacks a key": (["--config", "nokey.json"], r"nokey\.json lacks resource_group"),
}


@pytest.mark.parametrize("case", BAD)
def test_flags_that_cannot_be_met_are_explained_in_one_line(
    here: Mock, project: Path, case: str, capsys: pytest.CaptureFixture
) -> None:
    flags, message = BAD[case]
    (project / "images").mkdir()
    (project / "nokey.json").write_text('{"subscription_id": "s", "workspace_name": "w"}')

    code = console.exit_code(submit.main, flags)

    error = capsys.readouterr().err
    assert code == 1
    assert re.fullmatch(rf"error: .*{message}.*\n", error), error
    assert not here.connect.called
    assert not (project / ".azureml").exists()


def test_a_run_is_remembered_before_it_is_waited_for(here: Mock, project: Path) -> None:
    azure = here.connect.return_value
    azure.check = Mock(side_effect=lambda job: job)
    azure.submit.return_value = FakeRun(states=[details("Failed")])

    with pytest.raises(UserError, match="run run-1 failed"):
        submit.main(["--wait", "--tag", "owner=me"])

    assert azure.check.call_args.args[0].tags == {"owner": "me"}
    assert json.loads((project / ".azureml" / "last_run.json").read_text())["run_id"] == "run-1"


def test_a_project_over_the_limits_is_refused_before_anybody_is_asked(here: Mock, project: Path) -> None:
    with (project / "film.mp4").open("wb") as film:
        film.truncate(301 << 20)

    with pytest.raises(UserError, match=r"/film\.mp4 \(301\.0 MB"):
        submit.main([])

    assert not here.connect.called


def test_the_jobs_own_parser_reads_the_flags(here: Mock) -> None:
    with pytest.raises(UserError, match=r"carrots"):
        submit.main(["--", "--trainer.carrots", "3"])
    assert submit.main(["--dry-run", "--nodes", "2", "--", "--trainer.max_epochs", "3"]) == 0


def test_ctrl_c_gives_130(capsys: pytest.CaptureFixture) -> None:
    assert console.exit_code(Mock(side_effect=KeyboardInterrupt), []) == 130
    assert capsys.readouterr().err == "interrupted\n"
