"""A loopback Azure ML: the unmodified SDKs talk to it as if it were Azure, and nothing leaves this machine.

In a test (the fixture `azureml` of `scripts.emulator.pytest_plugin` yields a running `Emulator`)::

    def test_a_metric_arrives_with_its_step(azureml):
        env = azureml.job_environment("run-1")              # what a training process needs inside a job
        subprocess.run([sys.executable, "train.py"], env=env, check=True, timeout=60)
        assert [(m.name, m.step, m.value) for m in azureml.metrics("run-1")] == [("loss", 0, 0.5)]

An environment is for a *subprocess*: the SDK keeps sessions, tokens and addresses for the life of a process, so putting
these variables into `os.environ` of the test itself is not safe. It is built from nothing (PATH, locale, a private HOME
and TMPDIR), so nothing inherited can lead to the real Azure; add to it what the process needs: `env | {"A": "1"}`.

`Emulator` has a method for whatever it offers: environments of processes, what it holds, misbehaviour, and jobs: with
`Emulator(run_jobs=True)` it runs what is submitted. "cpu-cluster" and "gpu-cluster" are its compute clusters.
Jobs of SDK v2 (`routes/arm_*.py`) are runs like those of v1: one history, one registry of environments, one node.

`python -m scripts.emulator` starts one for a person and prints the environment to export.
"""

from scripts.emulator.faults import Fault
from scripts.emulator.messages import Request
from scripts.emulator.records import Metric, ModelRecord, RunRecord, Workspace
from scripts.emulator.service import Emulator

__all__ = ["Emulator", "Fault", "Metric", "ModelRecord", "Request", "RunRecord", "Workspace"]
