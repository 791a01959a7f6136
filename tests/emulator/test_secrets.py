"""What a job signs in with is in no file, log, command line or crash text: searched for while it runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from tests.deadline import deadline

ROOT = Path(__file__).parents[2]
TRAIN = """
import sys
from pathlib import Path
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from lightning_cifar import AzureMLLogger

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)["loss"]
        self.log("loss", loss)
        return loss

    def on_train_end(self):
        self.logger.log_text("note", "hello")
        self.logger.log_hyperparams({"lr": 0.1})
        Path("more.txt").write_text("x")
        self.logger.log_artifact("more.txt")

    def on_fit_end(self):
        raise RuntimeError("crash of the training")

quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
Trainer(logger=AzureMLLogger(timeout=float(sys.argv[1])), max_steps=20, log_every_n_steps=1, **quiet).fit(Model())
"""
SIGNATURE = b"sig=emulator"
"""What signs an address of blob storage, as its state has it: whoever has it may write there."""


def secrets_of(environment: dict[str, str]) -> set[bytes]:
    """Return what must be nowhere: tokens, and the password of the proxy."""
    password = re.findall(r"//\w+:(\w+)@", environment["HTTPS_PROXY"])
    tokens = [value for name, value in environment.items() if name.endswith("_TOKEN")]
    assert len(password) == 1 and tokens
    return {SIGNATURE, *(text.encode() for text in (*password, *tokens))}


def command_lines() -> bytes:
    """Return the command lines of all processes of this machine."""
    found = b""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += entry.read_bytes()
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the system shows no command lines")
@pytest.mark.parametrize("fault", [None, ("403", "blobs"), ("400", "metrics|tracking")], ids=str)
@pytest.mark.parametrize("mlflow", [False, True], ids=["v1", "mlflow"])
def test_no_secret_of_a_job_is_written_printed_or_in_a_command_line(
    azure: Emulator, tmp_path: Path, mlflow: bool, fault: tuple[str, str] | None
) -> None:
    environment = azure.job_environment("run-1", mlflow=mlflow)
    secrets = secrets_of(environment)
    if fault:
        azure.misbehave(*fault)
    (tmp_path / "train.py").write_text(TRAIN)
    shown = b""
    with (tmp_path / "log.txt").open("wb") as log:
        job = subprocess.Popen(
            [sys.executable, "train.py", str(deadline(0.5 if fault else 10))],  # what a fault holds up never arrives
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
        while job.poll() is None:
            shown += command_lines()
    printed = (tmp_path / "log.txt").read_bytes()
    assert b"crash of the training" in printed and b"lightning_cifar.azure.relay" in shown, printed.decode()
    written = {
        path: path.read_bytes() for folder in (tmp_path, azure.folder) for path in folder.rglob("*") if path.is_file()
    }
    assert any(path.name.endswith("-media.jsonl") for path in written)
    found = [str(path) for path, content in written.items() if any(secret in content for secret in secrets)]
    assert not found and not any(secret in shown for secret in secrets), printed.decode()
    if fault is None:
        assert azure.artifacts("run-1")["texts/note.txt"] == b"hello", printed.decode()
