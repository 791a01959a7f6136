"""A loopback Azure ML: the unmodified SDK talks to it as if it were Azure, and nothing leaves this machine.

How to use it from a test (the fixture ``azure`` of ``tests/conftest.py`` yields a running `Emulator`, and
fails the test if a request came that the emulator does not know)::

    def test_a_metric_arrives_with_its_step(azure):
        env = azure.job_environment("run-1")                # what a training process needs inside a job
        subprocess.run([sys.executable, "train.py"], env=env, check=True, timeout=60)
        assert [(m.name, m.step, m.value) for m in azure.metrics("run-1")] == [("loss", 0, 0.5)]

An environment is for a *subprocess*: the SDK keeps sessions, tokens and addresses for the life of a process,
so putting these variables into `os.environ` of the test itself is not safe. It is built from nothing (PATH,
locale, a private HOME and TMPDIR), so nothing inherited can lead to the real Azure; add to it what your
process needs, for instance ``env | {"A": "1"}``. Scripts run from the repository's root need no
PYTHONPATH when started with ``-m``.

The interface::

    Emulator(run_jobs=False, mounts=None, idempotent=False)    a context manager; or .start() and .close()
      run_jobs: start every submission as soon as it arrives, as Azure ML does
      mounts: {datastore path: local folder}, as by .mount
      idempotent: keep a metric value whose id arrives again only once (what Azure ML does is not documented)
    # environments (fresh dicts)
    .job_environment(run_id, experiment="cifar10", token_seconds=...)
                                        of a process in a job that is already running; the run is made if new
    .client_environment(auth="service-principal"|"managed-identity"|"cli"|"none")    a laptop's control script
    .write_config(folder) -> Path       folder/config.json of the workspace
    .workspace: Workspace(subscription_id, resource_group, name), .ca_file, .proxy_url, .folder (scratch)
    # what it holds
    .metrics(run_id) -> list[Metric]    name, step (None without), value, arrived (time.monotonic),
                                        columns (of a row or table), id; in order of arrival
    .run(run_id) -> RunRecord           .status .tags .properties .events .display_name .parent .error
                                        .definition (as submitted) ...
    .runs(experiment=None) -> list[RunRecord]
    .artifacts(run_id) -> dict[str, bytes]           path -> content, of the run ("outputs/best.ckpt", ...)
    .add_artifact(run_id, path, content)             as if an earlier attempt had uploaded it
    .models() -> list[ModelRecord], .environments() -> dict[(name, version), definition]
    .add_compute(name, vm_size="STANDARD_DS3_V2", max_nodes=4)    "cpu-cluster" and "gpu-cluster" exist
    .add_environment(name, version="1", definition=None)          registered, as curated ones are
    .datastore(name="workspaceblobstore") -> dict[str, bytes]     path -> content
    .mount(path, folder, datastore="workspaceblobstore")          datastore path backed by a local folder
    .snapshot(run_id) -> dict[str, bytes]            files that were submitted
    .requests -> list[Request]                       route, method, host, path, status, fault, arrived, body
    .unexpected -> list[str]                         unknown hosts and routes; .forgive(pattern) takes back
    # misbehaviour, on the routes named by `on`: "metrics", "artifacts", "blobs", "history", "execution",
    # "snapshots", "environments", "computes", "datastores", "models", "management", "login", or a regular
    # expression searched in host + path; None: every route
    .misbehave(kind, on=None, requests=None, seconds=None, retry_after=None, delay=None)
                                        -> Fault(.hits, .lift())
      kind: "latency" (delay seconds), "429", "500", "503", "400", any status, "drop", "store-and-drop",
            "silence", "refuse" (the whole service: nothing listens), "expired" (401)
      requests: lifted after so many hits; seconds: lifted after so long; neither: until .behave()
    .behave()                           lift all faults; the service listens again
    # running what was submitted
    .start_job(run_id) -> Job           .wait(timeout) -> status, .kill() (SIGKILL, nodes gone: pre-emption),
                                        .cancel(), .log, .pids, .folders (one per node), .isolation
    .restart_job(run_id) -> Job         same run id, fresh empty folders, artifacts kept
    .job(run_id) -> Job                 the latest
    .wait(run_id, timeout=60) -> str    until the run's status is final

`python -m scripts.emulator` starts one for a person and prints the environment to export.
"""

from scripts.emulator.faults import Fault
from scripts.emulator.messages import Request
from scripts.emulator.records import Metric, ModelRecord, RunRecord, Workspace
from scripts.emulator.service import Emulator

__all__ = ["Emulator", "Fault", "Metric", "ModelRecord", "Request", "RunRecord", "Workspace"]
