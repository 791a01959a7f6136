"""Whatever is wrong with what a user gives: one line that says what, and what to do next, and nothing left behind."""

import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from tests.conftest import make_folder, run

QUICK = ("--data.val_size", 12, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar=false")
NO_MIRROR = "--data.mirrors=[http://127.0.0.1:9/archive]"  # a port where nobody listens


def refused(code: int, err: str, folder: Path, says: tuple[str, ...]) -> None:
    """Check the last line of standard error, and what is left in the folder."""
    assert code not in (0, None)
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], err
    for text in says:
        assert text in errors[0]
    assert len(errors[0]) < 600
    assert "Traceback" not in err and "usage:" not in err
    left = [path.relative_to(folder).as_posix() for path in folder.glob("**/*")]
    assert not [name for name in left if name.startswith("results") or "unfinished" in name or ".ckpt." in name]


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory) -> Path:
    """The checkpoint of a short training of `Net` on three classes."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(folder, "fit", "--data.source", images, *QUICK) == 0
    return folder / "results" / "colours" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fit --foo 3", "unrecognized arguments: --foo 3; see python -m lightning_cifar fit --help"),
        ("fit stray", "unrecognized arguments: stray; see"),
        ("fit --data.batch_size", "--data.batch_size: expected one argument; see"),
        ("fit --data.batch_size many", "--data.batch_size is many, but must be int; see"),
        ("fit --trainer.max_epochs three", "--trainer.max_epochs is three, but must be int or null; see"),
        ("fit --trainer.precision 17", "--trainer.precision is 17, but must be 64, 32, 16,"),
        ("fit --optimizer NoSuch", "--optimizer is NoSuch, but that is no Optimizer; give the name of one"),
        ("fit --optimizer.lr fast", "--optimizer.lr is fast, but must be float; see"),
        ("fit --optimizer.nolr 3", "there is no --optimizer.nolr; see"),
        ("fit --lr_scheduler CosineAnnealingLR", "needs T_max: add --lr_scheduler.T_max VALUE; see"),
        ("fit --trainer.callbacks+=EarlyStopping", "needs monitor: add --trainer.callbacks.monitor VALUE; see"),
        ("fit --model.net no.such.Net", "--model.net is no.such.Net, but that is no Module (No module named 'no')"),
        ("fit --model.net.num_classes 3x", "--model.net.num_classes is 3x, but must be int; see"),
        ("fit --model.net builtins.print", "--model.net is builtins.print, but that is no Module"),
        ("fit --model.net {odd}.untyped", "or of a function that says `-> torch.nn.Module`, with its package; see"),
        ("fit --model.net {odd}.made", "--model.net names a network made already; name the class or function"),
        (
            "fit --model.net {odd}.Failing --data.source {images}",
            "odd_nets.Failing cannot be made: no weights.bin (odd_nets.py, line 7)",
        ),
        (
            "fit --model.net {odd}.Hasty --data.source {images}",
            "cannot assign module before Module.__init__() call (",
        ),
        (
            "fit --model.net {odd}.Typo --data.source {images}",
            "no attribute 'layer' (odd_nets.py, line 23); mend",
        ),
        ("fit --model.net {odd}.Empty --data.source {images}", "Empty has no parameters, so there is nothing to train"),
        ("fit --model.net {odd}.Several --data.source {images}", "Several gives tuple in training instead of a tensor"),
        ("fit --model.net {odd}.Narrow --data.source {images}", "cannot take images of shape (N, 3, 32, 32): "),
        ("fit --optimizer LBFGS --optimizer.lr 0.1 --data.source {images}", "view size is not compatible with"),
        ("fit --model.net odd_syntax.Net", "--model.net is odd_syntax.Net, which cannot be read: invalid syntax"),
        ("fit --model.loss_window 0 --data.source {images}", "model.loss_window is 0; give a number of batches, 1 or"),
        ("", "no subcommand: give one of fit, validate, test, predict; see python -m lightning_cifar --help"),
        ("fly", "invalid choice: 'fly' (choose from 'fit', 'validate', 'test', 'predict'); see python -m"),
        ("test", "test needs a trained network: give --ckpt_path last, best or FILE"),
        ("predict", "predict needs a trained network: give --ckpt_path last, best or FILE"),
        ("predict --ckpt_path {trained}", "name a file or a folder with --data.predict_path"),
        ("predict --ckpt_path {trained} --data.predict_path nowhere", "no image nowhere: name a file or a folder"),
        ("fit --config missing.yaml", "cannot read --config missing.yaml (No such file or directory); "),
        ("fit --data.source nowhere", "no folder 'nowhere': --data.source takes cifar10, synthetic, or a folder"),
        ("fit --data.batch_size 0 --data.source {images}", "data.batch_size is 0; give a number of 1 or more"),
        ("fit --data.val_size -1 --data.source {images}", "data.val_size is -1; give a number of 0 or more"),
        ("fit --data.val_size 120 --data.source {images}", "only 120 training images; give a number below 120"),
        ("fit --data.source {images} --model.net.num_classes 5", "num_classes is 5, but the data has 3 classes; leave"),
        ("fit --data.source {images} --trainer.limit_train_batches -3", "-3 for limit_train_batches, it has to be in"),
        ("fit --data.source {images} --data.val_size 12 --trainer.val_check_interval 999", "less than or equal to"),
        ("fit --data.source {images} --trainer.accelerator cpu --trainer.devices 0", "`Trainer(devices='0')` value is"),
        ("fit --data.source {images} --trainer.accelerator gpuu", "accelerator='gpuu'`. Available names are: "),
        ("fit --data.source {images} --ckpt_path last", "no checkpoint last.ckpt in any run below results/; train"),
        ("fit --data.source {images} --ckpt_path no.ckpt", "no checkpoint no.ckpt: the file does not exist; name one"),
        (
            "test --data.source {images} --model.net torchvision.models.squeezenet1_1 --ckpt_path {trained}",
            "holds lightning_cifar.Net(); leave --model.net out",
        ),
        ("test --data.source {images} --model.net.num_classes 5 --ckpt_path {trained}", "Net(num_classes=3); leave"),
        (
            "test --data.source {five} --ckpt_path {trained}",
            "knows the classes blue, green, red, but the data has a, b",
        ),
        ("fit --data.source {five} --ckpt_path {trained}", "name the data it was trained on with --data.source"),
    ],
)
def test_a_command_line_that_cannot_be_followed(main, images, trained, five_classes, odd_nets, line, says):
    args = [word.format(images=images, trained=trained, five=five_classes, odd=odd_nets) for word in line.split()]
    code = main(*args)
    if "Several" in line or "LBFGS" in line:  # known at its first training step only, when the run has begun
        shutil.rmtree(main.folder / "results")
    refused(code, main.err, main.folder, (says,))


@pytest.fixture(scope="module")
def odd_nets(tmp_path_factory) -> Iterator[str]:
    """A module of networks that cannot be used, and one more that is no Python."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "odd_nets.py").write_text(
        "from torch import nn\n"
        "def untyped(num_classes=10):\n    return nn.Linear(3072, num_classes)\n"
        "made = nn.Linear(3072, 10)\n"
        "class Failing(nn.Module):\n    def __init__(self):\n        raise OSError('no weights.bin')\n"
        "class Narrow(nn.Linear):\n    def __init__(self):\n        super().__init__(7, 3)\n"
        "class Several(nn.Sequential):\n"
        "    def __init__(self, num_classes: int = 10):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))\n"
        "    def forward(self, x):\n"
        "        return (super().forward(x), x) if self.training else super().forward(x)\n"
        "class Hasty(nn.Module):\n    def __init__(self):\n        self.layer = nn.Linear(3072, 10)\n"
        "class Typo(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 3, 3)\n"
        "    def forward(self, x):\n        return self.layer(x)\n"
        "class Empty(nn.Flatten):\n    pass\n"
    )
    (folder / "odd_syntax.py").write_text("class Net(:\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "odd_nets"


@pytest.fixture(scope="module")
def five_classes(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "five", "abcde", 4, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(main, images):
    code = main("fit", "--data.source", images, "--trainer.accelerator", "gpu")
    refused(code, main.err, main.folder, ("no gpu here for --trainer.accelerator gpu", "leave it out"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"trainer: [1\n x: }", "is no YAML (line 2: "),
        (b"just text", "holds no sections such as trainer: or data:; python -m lightning_cifar fit --print_config"),
        (b"\x89PNG\xff", "is no text file; "),
        (b"trainer:\n  max_epoch: 3\n", "does not accept option 'trainer.max_epoch'; see"),
        (b"trainer:\n  max_epochs: three\n", "--trainer.max_epochs is three, but must be int or null; see"),
    ],
)
def test_a_config_file_that_is_none(main, content, says):
    (main.folder / "my.yaml").write_bytes(content)
    refused(main("fit", "--config", "my.yaml"), main.err, main.folder, (says,))


class Evil:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def no_images(folder: Path) -> None:
    folder.mkdir()


def no_test_folder(folder: Path) -> None:
    shutil.rmtree(make_folder(folder, "ab", 4, 2) / "test")


def one_class(folder: Path) -> None:
    make_folder(folder, "a", 4, 2)


def class_without_training_images(folder: Path) -> None:
    make_folder(folder, "ab", 4, 2)
    shutil.copytree(folder / "test" / "a", folder / "test" / "zebra")


def no_image(folder: Path) -> None:
    (make_folder(folder, "ab", 4, 2) / "train" / "b" / "002.png").write_bytes(b"\x89PNG, or so it says")


def truncated_image(folder: Path) -> None:
    image = make_folder(folder, "ab", 4, 2) / "test" / "a" / "001.png"
    image.write_bytes(image.read_bytes()[:200])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_images, ("cannot read mine/train", "a data folder holds images as train/<class>/* and test/<class>/*")),
        (no_test_folder, ("cannot read mine/test", "train/<class>/*")),
        (one_class, ("mine/train holds only one class, a: put two or more folders",)),
        (class_without_training_images, ("mine/test/zebra has no counterpart in mine/train: add training images",)),
        (no_image, ("mine/train/b/002.png is not an image", "remove or replace it")),
        (truncated_image, ("mine/test/a/001.png is not an image", "truncated", "remove or replace it")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_no_data(main, make, says):
    make(main.folder / "mine")
    refused(main("fit", "--data.source", "mine", "--data.val_size", 2), main.err, main.folder, says)


def archive(data: Path, batch: object) -> Path:
    """Make an archive in CIFAR-10's layout, of batches that are all the same."""
    folder = data / CIFAR10.base_folder
    folder.mkdir(parents=True)
    for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list):
        (folder / name).write_bytes(pickle.dumps(batch))
    with tarfile.open(data / CIFAR10.filename, "w:gz") as tar:
        tar.add(folder, CIFAR10.base_folder)
    shutil.rmtree(folder)
    return data / CIFAR10.filename


def good_batch() -> dict:
    return {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 3]}


def empty_data_dir(data: Path) -> None:
    data.mkdir()


def truncated_archive(data: Path) -> None:
    file = archive(data, {"data": np.random.default_rng(0).integers(0, 256, (99, 3072), np.uint8), "labels": [0] * 99})
    file.write_bytes(file.read_bytes()[:100_000])


def another_archive(data: Path) -> None:
    archive(data, good_batch())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (empty_data_dir, ("cannot download cifar-10-python.tar.gz (127.0.0.1: Connection refused)", "--data.")),
        (truncated_archive, ("cifar-10-python.tar.gz is truncated or not the published archive (its MD5", "delete")),
        (another_archive, ("not the published archive (its MD5 is not", "images of your own", "--data.source FOLDER")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_archive_that_is_not_cifar10(main, make, says):
    make(main.folder / "data")
    refused(main("fit", NO_MIRROR), main.err, main.folder, says)
    assert not list(main.folder.glob("data/*.part"))


def text(path: Path) -> None:
    path.write_text("hello")


def zip_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello", "there")


def bare_weights(path: Path) -> None:
    torch.save({"fc3.bias": torch.zeros(3)}, path)


def no_dict(path: Path) -> None:
    torch.save([1], path)


def code_in_a_checkpoint(path: Path) -> None:
    torch.save({"state_dict": Evil()}, path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (text, "x.ckpt is truncated, or no checkpoint at all; name another one"),
        (zip_of_something_else, "cannot read the checkpoint x.ckpt: it is damaged, or none; name another one"),
        (bare_weights, "x.ckpt is no checkpoint that Lightning saved; name another one"),
        (no_dict, "x.ckpt is no checkpoint that Lightning saved; name another one"),
        (code_in_a_checkpoint, "x.ckpt holds more than weights and plain values (posix.system)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("subcommand", ["fit", "predict"])
def test_a_file_that_is_no_checkpoint(main, images, subcommand, make, says):
    make(main.folder / "x.ckpt")
    data = ("--data.source", images) if subcommand == "fit" else ("--data.predict_path", images / "test")
    refused(main(subcommand, *data, "--ckpt_path", "x.ckpt"), main.err, main.folder, (says,))
    assert not (main.folder / "pwned").exists()


def test_a_checkpoint_cut_short_anywhere(main, images, trained):
    whole = trained.read_bytes()
    for length in (0, len(whole) // 2, len(whole) - 10):
        (main.folder / "x.ckpt").write_bytes(whole[:length])
        code = main("test", "--data.source", images, "--ckpt_path", "x.ckpt")
        refused(code, main.err, main.folder, ("x.ckpt is truncated", "name another one"))


def test_a_network_that_the_command_line_names_rightly_is_no_error(main, images, trained):
    named = ("--model.net", "lightning_cifar.Net", "--model.net.num_classes", 3)
    assert main("test", "--data.source", images, *named, "--ckpt_path", trained) == 0, main.err


def test_the_same_in_a_process_of_its_own(cli, images):
    done = cli("fit", "--data.source", images, "--data.val_size", 120)
    refused(done.returncode, done.stderr, cli.folder, ("give a number below 120",))


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of one megabyte, or a skip where none can be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = sys.platform == "linux" and shutil.which("mount")
    options = ("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    if not made or subprocess.run(["mount", *options, folder], capture_output=True, timeout=20).returncode:
        pytest.skip("no rights to mount a disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=20)


def test_a_disk_that_fills_up_while_a_checkpoint_is_saved(small_disk, main, images):
    (small_disk / "ballast").write_bytes(bytes(700_000))
    code = main("fit", "--data.source", images, *QUICK, "--trainer.default_root_dir", small_disk)
    assert code == 1
    assert main.err.splitlines()[-1].startswith("error: cannot save the checkpoint ")
    assert "free some space" in main.err.splitlines()[-1] and "Traceback" not in main.err
    assert not [path for path in small_disk.glob("**/*") if "ckpt" in path.name]


def test_a_disk_that_is_full_while_images_are_cached(small_disk, main):
    data = make_folder(small_disk / "mine", "ab", 40, 2)
    (small_disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 20_000)))
    with pytest.warns(UserWarning, match="going on without a cache"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(small_disk / "cache"))
        assert main("fit", "--data.source", data, *QUICK) == 0
    assert not list(small_disk.glob("**/train.npz")) and not list(small_disk.glob("**/*unfinished*"))


def test_a_full_disk_before_the_first_step(small_disk, main, images):
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    code = main("fit", "--data.source", images, *QUICK, "--trainer.default_root_dir", small_disk / "results")
    refused(code, main.err, small_disk, ("No space left on device", "free some space"))


def test_a_limit_on_the_size_of_files(cli, images):
    """As a full disk, but for systems where none can be mounted."""
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from lightning_cifar.cli import main; sys.exit(main())"
    )
    process = cli.start("fit", "--data.source", images, *QUICK, program=("-c", script))
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("error: cannot save the checkpoint "), err
    assert not list(cli.folder.glob("results/**/*ckpt*"))
