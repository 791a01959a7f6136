"""What was submitted runs: every process with its rank, its environment and its command line."""

import pytest

from tests.deadline import deadline
from tests.emulator.conftest import pytorch


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
    assert job.wait(deadline(3)) == "Completed"
    printed = [line.split() for line in job.log.splitlines()]
    assert [tuple(line[:3]) for line in printed] == ranks
    assert len({line[3] for line in printed}) == 1


def test_a_command_and_a_scripts_arguments_get_what_the_run_defines_and_no_rank(azure, submit) -> None:
    code = "import os, sys; print(*sys.argv[1:], os.environ['FRUIT'], 'RANK' in os.environ)"
    fruit = {"environmentVariables": {"FRUIT": "apple"}}
    for how, printed in (
        ({"command": "python say.py $FRUIT"}, "apple apple False\n"),
        ({"script": "say.py", "arguments": ["--of", "$FRUIT", 1]}, "--of $FRUIT 1 apple False\n"),
    ):
        job = azure.start_job(submit({"say.py": code}, **how, environment=fruit))
        assert (job.wait(deadline(3)), job.log) == ("Completed", printed)


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
