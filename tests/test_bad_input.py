"""Flags, files and networks that cannot be used: one line with flag, value and cause, and an exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import make_folder, run

CHECKPOINT = {"pytorch-lightning_version": "2.6.0", "state_dict": {}}
QUICK = ("--data.val_size", 12, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar=false")


def check_refused(code: int, err: str, *parts: str) -> None:
    """Check the one line of an error, the last on standard error."""
    assert code == 1
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], err
    for part in parts:
        assert part in errors[0]
    assert len(errors[0]) < 600
    assert "Traceback" not in err and "usage:" not in err


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory) -> Path:
    """The checkpoint of a short training of `Net` on three classes."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(folder, "fit", "--data.source", images, *QUICK) == 0
    return folder / "results" / "colours" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("fit --foo 3", ("unrecognized arguments: --foo 3; see python -m lightning_cifar fit --help",)),
        ("fit --data.batch_size many", ("--data.batch_size: Expected a <class 'int'>. Got value: many",)),
        ("fit --optimizer NoSuch", ("--optimizer: ", "Given value: NoSuch")),
        ("fit --lr_scheduler CosineAnnealingLR", ("--lr_scheduler: ", "arguments are required: T_max")),
        ("fit --trainer.callbacks+=EarlyStopping", ("--trainer.callbacks: ", "are required: monitor; see")),
        ("fit --model.net odd_syntax.Net", ("--model.net: invalid syntax (odd_syntax.py, line 1)",)),
        ("fit --model.net odd_nets.made", ("--model.net names a network, not a class",)),
        ("", ("subcommand", "{fit,validate,test,predict}")),
        ("fit --config missing.yaml", ("--config: File does not exist", "missing.yaml")),
        ("fit --optimizer null --lr_scheduler ConstantLR", ("--lr_scheduler has no effect without --optimizer",)),
        ("fit --data.source nowhere", ("no folder 'nowhere': --data.source takes cifar10, synthetic, or a folder",)),
        (
            "fit --data.source cifar10 --data.mirrors=[http://127.0.0.1:9/archive]",
            ("cifar-10-python.tar.gz", "--data."),
        ),
        ("fit --data.val_size 120", ("only 120 training images; give a number below 120",)),
        ("fit --trainer.accelerator cpu --trainer.devices 0", ("`Trainer(devices='0')` value is",)),
        ("fit --ckpt_path last", ("no checkpoint last.ckpt in any run below results/; train",)),
        ("fit --ckpt_path no.ckpt", ("no checkpoint no.ckpt: the file does not exist; name one",)),
        ("test", ("test needs a trained network: give --ckpt_path last, best or FILE",)),
        ("predict --ckpt_path {trained}", ("name a file or a folder with --data.predict_path",)),
        ("predict --ckpt_path {trained} --data.predict_path nowhere", ("no image nowhere: name a file or a folder",)),
    ],
)
def test_flags(main, images, trained, odd_nets, line, parts):
    args = [word.format(trained=trained) for word in line.split()]
    if args[:1] == ["fit"] and "--data.source" not in args:
        args[1:1] = ["--data.source", str(images)]
    check_refused(main(*args), main.err, *parts)


@pytest.fixture(scope="module")
def odd_nets(tmp_path_factory) -> Iterator[None]:
    """Put networks that cannot be used where Python finds them, and one module that is no Python."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "odd_nets.py").write_text(
        "from torch import nn\n"
        "made = nn.Linear(3072, 10)\n"
        "class Failing(nn.Module):\n    def __init__(self):\n        raise OSError('no weights.bin')\n"
        "class Narrow(nn.Linear):\n    def __init__(self):\n        super().__init__(7, 3)\n"
        "class Several(nn.Sequential):\n"
        "    def __init__(self, num_classes: int = 10):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))\n"
        "    def forward(self, x):\n"
        "        return (super().forward(x), x) if self.training else super().forward(x)\n"
        "class Hasty(nn.Module):\n    def __init__(self):\n        self.layer = nn.Linear(3072, 10)\n"
        "class Wide(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(3072, 10))\n"
    )
    (folder / "odd_syntax.py").write_text("class Net(:\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--model.net odd_nets.Failing", ("no weights.bin (odd_nets.py, line 5; LIGHTNING_CIFAR_DEBUG=1 shows",)),
        ("--model.net odd_nets.Hasty", ("cannot assign module before Module.__init__() call (odd_nets.py, line 16;",)),
        ("--model.net odd_nets.Several", ("Several gives tuple in training instead of a tensor",)),
        ("--model.net torch.nn.Flatten", ("Flatten has no parameters to train; make its layers attributes",)),
        (
            "--model.net odd_nets.Wide",
            ("Wide maps 2 images to (2, 10), but the data has 3 classes, so (2, 3) is need",),
        ),
        ("--model.net odd_nets.Narrow", ("cannot take images of shape (N, 3, 32, 32): ",)),
        ("--optimizer LBFGS --optimizer.lr 0.1", ("view size is not compatible with",)),
    ],
)
def test_networks_of_the_users_own(main, images, odd_nets, flags, parts):
    check_refused(main("fit", "--data.source", images, *flags.split()), main.err, *parts)


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (
            "test --model.net torchvision.models.squeezenet1_1 --ckpt_path {trained}",
            ("Error(s) in loading state_dict",),
        ),
        ("test --data.source {five} --ckpt_path {trained}", ("the classes blue, green, red, but the data has a, b",)),
        ("fit --data.source {five} --ckpt_path {trained}", ("name the data it was trained on with --data.source",)),
    ],
)
def test_networks_that_do_not_fit_data_or_checkpoint(main, images, trained, tmp_path_factory, command, parts):
    five = make_folder(tmp_path_factory.mktemp("data") / "five", "abcde", 4, 2) if "{five}" in command else images
    subcommand, *words = command.format(trained=trained, five=five).split()
    check_refused(main(subcommand, "--data.source", images, *words), main.err, *parts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(main, images):
    check_refused(main("fit", "--data.source", images, "--trainer.accelerator", "gpu"), main.err, "No supported gpu")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"trainer: [1\n x: }", ("Problems parsing config", "line 2")),
        (b"just text", ("Unexpected config: just text",)),
        (b"trainer:\n  max_epoch: 3\n", ("does not accept option 'trainer.max_epoch'",)),
        (b"trainer: !!python/object/apply:os.system ['touch marker']\n", ("could not determine a constructor",)),
    ],
)
def test_config_files(main, content, parts):
    (main.folder / "my.yaml").write_bytes(content)
    check_refused(main("fit", "--config", "my.yaml"), main.err, *parts)
    assert not (main.folder / "marker").exists()


@pytest.mark.parametrize(
    "net",
    [
        "from_elsewhere.Net",
        '{"class_path": "from_elsewhere.Net"}',
        {"class_path": "from_elsewhere.Net"},
        {"class_path": "torch.nn.Sequential", "init_args": {"args": [{"class_path": "from_elsewhere.Net"}]}},
        {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "from_elsewhere"}},
    ],
    ids=str,
)
def test_a_checkpoint_from_elsewhere_runs_no_code_that_the_user_has_not_named(main, images, trained, net, monkeypatch):
    monkeypatch.syspath_prepend(main.folder)
    (main.folder / "from_elsewhere.py").write_text("from pathlib import Path\nPath('marker').touch()\n")
    content = torch.load(trained, weights_only=True)
    content["hyper_parameters"] |= {"net": net, "_instantiator": "pytorch_lightning.cli.instantiate_module"}
    torch.save(content, main.folder / "x.ckpt")
    code = main("predict", "--ckpt_path", "x.ckpt", "--data.predict_path", images / "test")
    check_refused(code, main.err, "x.ckpt would run the code ", "name it with --model.net if you trust it")
    assert not (main.folder / "marker").exists()


def test_a_checkpoint_from_elsewhere_may_name_a_network_of_torchvision_or_what_the_user_names(main, images, odd_nets):
    for net, flags in (
        ("torchvision.models.squeezenet1_1", ()),
        ("lightning_cifar.nets.ResNet18", ()),
        ("lightning_cifar.Net", ()),
        ("odd_nets.Several", ("--model.net", "odd_nets.Several")),
    ):
        from_elsewhere = {"class_path": net, "init_args": {"num_classes": 3}}
        hyper_parameters = {"net": from_elsewhere, "class_names": ["blue.1", "../green", "red"]}
        torch.save(CHECKPOINT | {"hyper_parameters": hyper_parameters}, main.folder / "x.ckpt")
        code = main("predict", "--ckpt_path", "x.ckpt", "--data.predict_path", images / "test", *flags)
        check_refused(code, main.err, "Error(s) in loading state_dict")  # that is: it was made


@pytest.mark.parametrize("subcommand", ["fit", "predict"])
def test_a_file_that_is_no_checkpoint(main, images, subcommand):
    (main.folder / "x.ckpt").write_text("hello")
    data = ("--data.source", images) if subcommand == "fit" else ("--data.predict_path", images / "test")
    code = main(subcommand, *data, "--ckpt_path", "x.ckpt")
    check_refused(code, main.err, "x.ckpt is truncated, or no checkpoint at all; name another one")


def test_a_process_of_its_own_exits_with_the_same_code_and_line(cli, images):
    done = cli("fit", "--data.source", images, "--data.val_size", 120)
    check_refused(done.returncode, done.stderr, "give a number below 120")


def test_a_results_folder_that_is_a_file(main, images):
    (main.folder / "file").touch()
    code = main("fit", "--data.source", images, *QUICK, "--trainer.default_root_dir", "file")
    check_refused(code, main.err, "cannot write", "name another place with --trainer.default_root_dir")


def test_a_disk_that_fills_up_while_a_checkpoint_is_saved(main, images, files_limited_to):
    with files_limited_to(200_000):
        code = main("fit", "--data.source", images, *QUICK)
    check_refused(code, main.err, "cannot save the checkpoint ", "free some space")
    assert not list(main.folder.glob("results/**/*ckpt*"))
