"""What people write with MLflow itself in a job: the unmodified packages find the run and its files."""

import inspect
import subprocess
import sys

from tests.deadline import deadline

SCRIPT = inspect.cleandoc(
    """
    import os
    import mlflow
    from pytorch_lightning.loggers import MLFlowLogger

    run_id = os.environ["MLFLOW_RUN_ID"]  # mlflow.end_run() takes it away
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_param("lr", 0.1)
    mlflow.set_tag("best", "x")
    mlflow.log_text("hello", "texts/note.txt")
    mlflow.end_run()
    logger = MLFlowLogger(run_id=run_id)
    logger.log_metrics({"acc": 1.0}, step=2)
    logger.finalize("success")
    client = mlflow.MlflowClient()
    assert client.get_metric_history(run_id, "loss")[0].value == 0.5
    assert client.get_run(run_id).data.params == {"lr": "0.1"}
    os._exit(0)
    """
)


def test_mlflow_s_own_functions_and_lightning_s_logger_log_to_the_job_s_run(azure, tmp_path):
    env = azure.job_environment("run-1", mlflow=True) | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=deadline(60)
    )
    assert done.returncode == 0, done.stderr
    assert [(m.name, m.step, m.value) for m in azure.metrics("run-1")] == [("loss", 1, 0.5), ("acc", 2, 1.0)]
    assert azure.run("run-1").tags["best"] == "x" and azure.artifacts("run-1") == {"texts/note.txt": b"hello"}
    assert azure.run("run-1").status == "Running", "the job owns it"
    assert len(azure.runs()) == 1, "no twin"
