"""How a job ends: by a failure, when it is cancelled, by its time limit, by pre-emption, and with the emulator."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deadline import deadline, wait_until
from tests.emulator.conftest import pytorch

FOREVER = "import signal; print('up', flush=True); signal.pause()"


def gone(pid: str | int) -> bool:
    """Whether a process has ended, or is dead and was never waited for."""
    try:
        return not Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return True


@pytest.fixture
def cancel(azure, session) -> Callable[[str], None]:
    """Return a function that cancels a run, as the SDK does."""
    client = session(azure)

    def send(run_id: str) -> None:
        experiment = f"https://eastus.api.azureml.ms/execution/v1.0{azure.workspace.scope}/experiments/jobs"
        assert client.post(f"{experiment}/runs/{run_id}/cancel", timeout=deadline(1)).status_code == 200

    return send


@pytest.mark.parametrize("obedient", [True, False])
def test_cancelling_asks_the_processes_to_end_before_it_kills_them(azure, submit, cancel, obedient: bool) -> None:
    azure.grace = deadline(3) if obedient else 0.1
    code = f"""
        import signal, sys
        def stop(*_):
            print("asked to stop", flush=True)
            {"sys.exit(0)" if obedient else "pass"}
        signal.signal(signal.SIGTERM, stop)
        print("ready", flush=True)
        while True:
            signal.pause()
    """
    run_id = submit({"say.py": code}, script="say.py")
    job = azure.start_job(run_id)
    wait_until(lambda: "ready" in job.log)
    cancel(run_id)
    assert job.wait(deadline(5)) == "Canceled"
    assert job.log == "ready\nasked to stop\n" and gone(job.pids[0])


def test_a_job_can_be_cancelled_while_it_starts(azure, submit, cancel) -> None:
    for _ in range(5):
        run_id = submit({"say.py": FOREVER}, script="say.py", **pytorch(2, 4))
        job = azure.start_job(run_id)
        cancel(run_id)
        assert job.wait(deadline(5)) == "Canceled"


def test_a_job_that_takes_too_long_is_cancelled(azure, submit) -> None:
    run_id = submit({"say.py": FOREVER}, script="say.py", maxRunDurationSeconds=0.05)
    job = azure.start_job(run_id)
    assert job.wait(deadline(3)) == "Canceled" and gone(job.pids[0])


def test_after_pre_emption_a_job_starts_again_with_nothing_but_its_artifacts(azure, submit) -> None:
    code = """
        import os, pathlib, signal
        checkpoint = pathlib.Path("outputs/checkpoint")
        print(os.environ["AZUREML_RUN_ID"], checkpoint.exists(), flush=True)
        checkpoint.write_text("1")
        signal.pause()
    """
    run_id = submit({"say.py": code}, script="say.py")
    first = azure.start_job(run_id)
    wait_until(lambda: "outputs/checkpoint" in azure.artifacts(run_id))
    first.kill()
    assert azure.run(run_id).status == "Queued" and not first.folders[0].exists() and gone(first.pids[0])
    second = azure.restart_job(run_id)
    wait_until(lambda: second.log.endswith("\n"))
    assert second.log == f"{run_id} False\n" and azure.artifacts(run_id)["outputs/checkpoint"] == b"1"
    assert second.folders != first.folders
    second.cancel()
    assert second.wait(deadline(3)) == "Canceled"


LEAVING = """
    import json, os, pathlib, sys, time, urllib.request
    print("up", flush=True)
    address = os.environ["LIGHTNING_CIFAR_SCHEDULED_EVENTS"]
    request = urllib.request.Request(address, headers={"Metadata": "true"})
    while not (events := json.load(urllib.request.urlopen(request))["Events"]):
        time.sleep(0.05)
    pathlib.Path("outputs/saved").write_text(events[0]["EventType"])
    sys.exit(%d)
"""


@pytest.mark.parametrize(("code", "status"), [(143, "Queued"), (0, "Completed")])
def test_a_job_that_leaves_on_notice_is_queued_again_with_what_it_saved(azure, submit, code: int, status: str) -> None:
    run_id = submit({"say.py": LEAVING % code}, script="say.py")
    job = azure.start_job(run_id)
    wait_until(lambda: "up" in job.log)
    assert azure.preempt_job(run_id, notice=True) == (status == "Queued")
    assert azure.run(run_id).status == status and azure.artifacts(run_id)["outputs/saved"] == b"Preempt"
    assert not azure.state.events, "the next job's nodes are others"


def test_a_job_that_heeds_no_notice_loses_its_nodes(azure, submit, monkeypatch) -> None:
    monkeypatch.setattr("scripts.emulator.service.NOTICE_SECONDS", 0.1)
    run_id = submit({"say.py": FOREVER}, script="say.py")
    job = azure.start_job(run_id)
    wait_until(lambda: job.log)
    assert azure.preempt_job(run_id, notice=True)
    assert azure.run(run_id).status == "Queued" and gone(job.pids[0])


def test_what_a_job_leaves_behind_ends_with_it(azure, submit) -> None:
    code = """
        import subprocess, sys
        left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        print(left.pid)
    """
    run_id = submit({"say.py": code}, script="say.py")
    assert azure.start_job(run_id).wait(deadline(3)) == "Completed"
    assert gone(azure.job(run_id).log.strip())


def test_closing_the_emulator_ends_its_jobs(submit, azure) -> None:
    job = azure.start_job(submit({"say.py": FOREVER}, script="say.py"))
    wait_until(lambda: job.log)
    azure.close()
    with pytest.raises(ProcessLookupError):
        os.kill(job.pids[0], signal.SIG_DFL)
    assert not azure.folder.exists()
