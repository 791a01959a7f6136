"""A loopback Azure ML: the unmodified SDK talks to it as if it were Azure, and nothing leaves this machine.

In a test (the fixture `azure` of `scripts.emulator.pytest_plugin` yields a running `Emulator`)::

    def test_a_metric_arrives_with_its_step(azure):
        env = azure.job_environment("run-1")                # what a training process needs inside a job
        subprocess.run([sys.executable, "train.py"], env=env, check=True, timeout=60)
        assert [(m.name, m.step, m.value) for m in azure.metrics("run-1")] == [("loss", 0, 0.5)]

An environment is for a *subprocess*: the SDK keeps sessions, tokens and addresses for the life of a process, so putting
these variables into `os.environ` of the test itself is not safe. It is built from nothing (PATH, locale, a private HOME
and TMPDIR), so nothing inherited can lead to the real Azure; add to it what the process needs: `env | {"A": "1"}`.

What an `Emulator` offers, beside being a context manager; its methods' docstrings have the arguments:

* environments: `job_environment`, `client_environment` (a laptop's control script), `write_config`, `workspace`,
  `ca_file`, `proxy_url`, `folder` (scratch);
* what it holds: `metrics`, `run`, `runs`, `artifacts`, `add_artifact`, `models`, `environments`, `add_environment`,
  `add_compute` ("cpu-cluster" and "gpu-cluster" exist), `datastore`, `mount`, `snapshot`, `requests`, `unexpected`
  (with `forgive`);
* misbehaviour: `misbehave` (latency, statuses, dropped connections, silence, a refused service: see `Fault`) on the
  routes "metrics", "artifacts", "blobs", "history", "execution", "snapshots", "environments", "computes",
  "datastores", "models", "management", "login"; `behave` ends it;
* running what was submitted: `Emulator(run_jobs=True)`, or `start_job`, `restart_job`, `job`, `wait`.

`python -m scripts.emulator` starts one for a person and prints the environment to export.
"""

from scripts.emulator.faults import Fault
from scripts.emulator.messages import Request
from scripts.emulator.records import Metric, ModelRecord, RunRecord, Workspace
from scripts.emulator.service import Emulator

__all__ = ["Emulator", "Fault", "Metric", "ModelRecord", "Request", "RunRecord", "Workspace"]
