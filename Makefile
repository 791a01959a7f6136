# `make help` lists what there is; variables are given as in `make train-local EPOCHS=5`.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The environment: .venv, or one of its own for PYTHON=python3.12, .venv-3.12; VENV= names another.
ifdef PYTHON
VENV ?= .venv-$(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
VENV ?= .venv
VENV := $(VENV)
VENV_PYTHON := $(VENV)/bin/python
# TORCH=cpu: PyTorch without CUDA, from an index of PyTorch's own. An environment remembers it.
TORCH ?= $(shell cat $(VENV)/torch 2>/dev/null)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH=$(TORCH) is unknown: TORCH=cpu, or leave it out)
endif
READY := $(VENV)/installed$(if $(TORCH),-$(TORCH))

# The one translation of variables into LightningCLI's flags, for local and for remote runs alike.
# A recipe comes first: what is named beside it wins.
FLAGS = $(if $(RECIPE),--recipe $(RECIPE)) $(if $(SEEDS),--seeds $(SEEDS)) \
	$(if $(EPOCHS),--trainer.max_epochs $(EPOCHS)) \
	$(if $(ACCELERATOR),--trainer.accelerator $(ACCELERATOR)) \
	$(if $(BATCH_SIZE),--data.batch_size $(BATCH_SIZE)) \
	$(ARGS)

##@ Train here
.PHONY: train-local
train-local: $(READY)  ## Train Net on CIFAR-10, test it, draw figures: results/
	$(VENV_PYTHON) -m lightning_cifar fit \
		$(if $(DATA),--data.source "$(DATA)",--data.fallback synthetic) \
		$(if $(DEVICES),--trainer.devices $(DEVICES)) $(FLAGS)

.PHONY: recipes
recipes: $(READY)  ## List the recipes, RECIPE=NAME, with what was measured of them
	$(VENV_PYTHON) -m scripts.recipes

.PHONY: recipes-table
recipes-table: $(READY)  ## Write that list anew from the runs below RESULTS=FOLDER
	$(VENV_PYTHON) -m scripts.recipes --results "$(RESULTS)"

.PHONY: tensorboard
tensorboard: $(READY)  ## Show the curves of all runs in a browser
	$(VENV_PYTHON) -m tensorboard.main --logdir results

##@ Train on Azure ML
# FLAGS holds the flags of the training, as for train-local; what only submitting knows stands before the `--`.
SUBMIT_FLAGS = $(if $(COMPUTE),--compute "$(COMPUTE)") $(if $(NODES),--nodes "$(NODES)") \
	$(if $(DEVICES),--devices "$(DEVICES)") $(if $(DATA),--data "$(DATA)") $(SUBMIT_ARGS)
override SUBMIT_ARGS += $(if $(SDK),--sdk "$(SDK)")
ifeq ($(SDK),v2)
rehearse submit upload-data runs watch compare download register cancel: $(VENV)/installed-v2
endif

.PHONY: rehearse
rehearse: $(READY)  ## Run the job here first, by an emulator for Azure ML; needs no account
	$(VENV_PYTHON) -m scripts.rehearse $(if $(PREEMPT),--preempt $(PREEMPT)) $(SUBMIT_FLAGS) -- $(FLAGS)

.PHONY: submit
submit: $(READY)  ## Run the training as an Azure ML job; SUBMIT_ARGS=--dry-run only shows it
	$(VENV_PYTHON) -m scripts.submit $(if $(RETRIES),--retries $(RETRIES)) $(SUBMIT_FLAGS) -- $(FLAGS)

.PHONY: upload-data
upload-data: $(READY)  ## Put the images of DATA=FOLDER into the workspace's datastore
	$(VENV_PYTHON) -m scripts.upload_data "$(DATA)" $(SUBMIT_ARGS)

.PHONY: runs
runs: $(READY)  ## List the latest runs: status, duration, final metrics
	$(VENV_PYTHON) -m scripts.runs list $(SUBMIT_ARGS)

.PHONY: watch
watch: $(READY)  ## Show the log of the run submitted last, or of RUN=ID
	$(VENV_PYTHON) -m scripts.runs watch $(RUN) $(SUBMIT_ARGS)

.PHONY: compare
compare: $(READY)  ## Draw the curves of RUNS="ID ID …" in one picture
	$(VENV_PYTHON) -m scripts.runs compare $(RUNS) $(SUBMIT_ARGS)

.PHONY: download
download: $(READY)  ## Bring the outputs of the run submitted last, or of RUN=ID, to downloads/
	$(VENV_PYTHON) -m scripts.runs download $(RUN) $(SUBMIT_ARGS)

.PHONY: register
register: $(READY)  ## Register the best checkpoint of the run submitted last, or of RUN=ID, as a model
	$(VENV_PYTHON) -m scripts.runs register $(RUN) $(SUBMIT_ARGS)

.PHONY: cancel
cancel: $(READY)  ## End the run submitted last, or RUN=ID
	$(VENV_PYTHON) -m scripts.runs cancel $(RUN) $(SUBMIT_ARGS)

##@ Develop
.PHONY: benchmark
benchmark: $(READY)  ## Training speed beside the tutorial's loop and the bare one
	$(VENV_PYTHON) -m scripts.benchmarks.training $(if $(DATA),--data "$(DATA)") $(BENCHMARK_ARGS)

.PHONY: test
test: $(VENV)/installed-dev  ## Run the tests
	$(VENV_PYTHON) -m pytest -n 3 --dist loadfile --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/installed-dev  ## Check style, types, declared dependencies and the arrows between packages
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) -m deptry lightning_cifar scripts
	$(VENV)/bin/lint-imports

.PHONY: format
format: $(VENV)/installed-dev  ## Put the code into shape
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

.PHONY: lock
LOCK = "$(UV)" pip compile --quiet --universal --python-version 3.11 --annotation-style line --custom-compile-command "make lock" $(LOCK_ARGS)
lock:  ## Write the three lists of packages anew from pyproject.toml; LOCK_ARGS=--upgrade: newest versions
	@$(if $(UV),true,echo "error: uv is needed to lock; install it: pipx install uv" >&2; exit 1)
	$(LOCK) pyproject.toml --extra azure --extra scripts --output-file requirements.txt
	$(LOCK) pyproject.toml --extra mlflow --constraints requirements.txt --output-file requirements-v2.txt \
		$$(grep -oE '^[a-z0-9][a-z0-9.-]*' requirements.txt | sort -u | sed 's/^/--no-emit-package=/')
	sed -i.bak '/^$$/,$$d' requirements-v2.txt && rm requirements-v2.txt.bak  # uv's list of what requirements.txt holds
	$(LOCK) --group dev --constraints requirements.txt --constraints requirements-v2.txt --output-file tests/requirements.txt

.PHONY: clean
clean:  ## Remove caches; never data or results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* build *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

##@ Set up (done by the others when needed)
# The newest that runs, not only is there: pyenv has shims of Pythons that are switched off.
PYTHONS := python3.14 python3.13 python3.12 python3.11
# Packages come by uv where it is found, quicker; byte-code is made at once, as pip does.
UV ?= $(shell command -v uv)
BASE = $(or $(PYTHON),$(shell for each in $(PYTHONS); do "$$each" -c "" 2>/dev/null && echo "$$each" && break; done))
INSTALL = $(if $(UV),"$(UV)" pip install --quiet --compile-bytecode --python $(VENV_PYTHON),$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check)

# Each stamp is made last: an installation that was cut short is done again.
$(VENV)/installed $(VENV)/installed-cpu: requirements.txt
	@$(if $(UV)$(BASE),true,echo "error: no Python from 3.11 on is here; install one, or uv (https://docs.astral.sh/uv), which brings one" >&2; exit 1)
	@$(if $(BASE),"$(BASE)" -c 'import sys; sys.exit(sys.version_info < (3, 11))',true) || \
		{ echo "error: Python 3.11 or newer is needed, but $(BASE) is $$("$(BASE)" --version 2>&1); name another: make PYTHON=/path/to/python3.13" >&2; exit 1; }
	@$(VENV_PYTHON) -m pip --version >/dev/null 2>&1 || \
		$(if $(UV),"$(UV)" venv --quiet --seed --allow-existing --python "$(or $(BASE),3.13)" $(VENV),"$(BASE)" -m venv $(VENV))
ifeq ($(TORCH),cpu)
	@test ! -e $(VENV)/installed || { echo "error: $(VENV) holds PyTorch with CUDA; remove it, or name another: VENV=.venv-cpu" >&2; exit 1; }
	$(INSTALL) --no-deps --index-url "$(TORCH_INDEX)" $$(grep -oE '^torch(vision)?==[^ ]+' requirements.txt) || \
		{ echo "error: $(TORCH_INDEX) has no such PyTorch for the CPU, or cannot be reached; name another by TORCH_INDEX=URL, or leave out TORCH=cpu" >&2; exit 1; }
	echo cpu > $(VENV)/torch
	grep -vE '^(cuda|nvidia|triton)' requirements.txt > $(VENV)/requirements.txt
	$(INSTALL) -r $(VENV)/requirements.txt
else
	$(INSTALL) -r requirements.txt
endif
	touch $@

$(VENV)/installed-v2: $(READY) requirements-v2.txt scripts/azure/submitter.py
	$(INSTALL) -r requirements-v2.txt $$($(VENV_PYTHON) -c 'from scripts.azure.submitter import PACKAGES; print(*PACKAGES["v2"])')
	touch $@

$(VENV)/installed-dev: $(READY) tests/requirements.txt
	$(INSTALL) -r tests/requirements.txt
	touch $@

.PHONY: help
help:  ## List targets and variables
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables\n'
	@printf '  %-18s %s\n' \
		EPOCHS=5 'passes over the training images (default 2)' \
		BATCH_SIZE=64 'images in a batch (default 4)' \
		RECIPE=resnet18 'settings of a known accuracy: make recipes' \
		SEEDS=0,1,2 'train once with each seed; a table with mean and standard deviation' \
		RESULTS=FOLDER 'recipes-table: where the runs are, results/cifar10 for instance' \
		ACCELERATOR=gpu 'cpu, gpu, mps or auto (default)' \
		DATA=FOLDER 'cifar10, synthetic, or a folder with train/<class>/* and test/<class>/*' \
		COMPUTE=NAME 'submit: the cluster (default cpu-cluster)' \
		NODES=2 'submit, rehearse: machines' \
		RETRIES=2 'submit: wait, and submit again what fails by the platform, not by its own code' \
		PREEMPT=2 'rehearse: then take its nodes away so often, and compare with the undisturbed job' \
		DEVICES=4 'processes (GPUs) on each machine (default 1)' \
		DATA=STORE:PATH 'submit: a folder in a datastore of the workspace' \
		SDK=v2 'submit, rehearse, …: azure-ai-ml instead of azureml-core (v1, default)' \
		PYTHON=python3.12 'the Python of the environment (default: the newest from 3.11 on that is here)' \
		VENV=FOLDER 'the environment (default .venv; with PYTHON= .venv-3.12)' \
		UV= 'without uv, or UV=FILE: that one' \
		TORCH=cpu 'PyTorch without 3 GB of CUDA; TORCH_INDEX=URL says from where' \
		'RUNS="ID ID"' 'compare: which runs' \
		RUN=ID 'watch, download, register, cancel: another run than the last' \
		'SUBMIT_ARGS="--x"' 'flags of the script itself: .venv/bin/python -m scripts.submit --help' \
		'BENCHMARK_ARGS="--x"' 'flags of benchmark' \
		'PYTEST_ARGS="-k x"' 'flags of test' \
		'ARGS="--x y"' 'any other flag: .venv/bin/python -m lightning_cifar fit --help'
