# `make help` lists what there is; variables are given as in `make train-local EPOCHS=5`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON311 ?= $(shell command -v python3.11 || command -v python3)
PYTHON := .venv/bin/python

# The one translation of variables into LightningCLI's flags, for local and for remote runs alike.
FLAGS = $(if $(EPOCHS),--trainer.max_epochs $(EPOCHS)) \
	$(if $(ACCELERATOR),--trainer.accelerator $(ACCELERATOR)) \
	$(if $(BATCH_SIZE),--data.batch_size $(BATCH_SIZE)) \
	$(ARGS)

##@ Train here
.PHONY: train-local
train-local: .venv/installed  ## Train Net on CIFAR-10, test it, draw figures: results/
	$(PYTHON) -m lightning_cifar fit \
		$(if $(DATA),--data.source "$(DATA)",--data.fallback synthetic) \
		$(if $(DEVICES),--trainer.devices $(DEVICES)) $(FLAGS)

.PHONY: tensorboard
tensorboard: .venv/installed  ## Show the curves of all runs in a browser
	$(PYTHON) -m tensorboard.main --logdir results

##@ Train on Azure ML
# FLAGS holds the flags of the training, as for train-local; what only submitting knows stands before the `--`.
SUBMIT_FLAGS = $(if $(COMPUTE),--compute "$(COMPUTE)") $(if $(NODES),--nodes "$(NODES)") \
	$(if $(DEVICES),--devices "$(DEVICES)") $(if $(DATA),--data "$(DATA)") $(SUBMIT_ARGS)
override SUBMIT_ARGS += $(if $(SDK),--sdk "$(SDK)")
ifeq ($(SDK),v2)
rehearse submit upload-data runs watch compare download register cancel: .venv/installed-v2
endif

.PHONY: rehearse
rehearse: .venv/installed  ## Run the job here first, by an emulator for Azure ML; needs no account
	$(PYTHON) -m scripts.rehearse $(SUBMIT_FLAGS) -- $(FLAGS)

.PHONY: submit
submit: .venv/installed  ## Run the training as an Azure ML job; SUBMIT_ARGS=--dry-run only shows it
	$(PYTHON) -m scripts.submit $(SUBMIT_FLAGS) -- $(FLAGS)

.PHONY: upload-data
upload-data: .venv/installed  ## Put the images of DATA=FOLDER into the workspace's datastore
	$(PYTHON) -m scripts.upload_data "$(DATA)" $(SUBMIT_ARGS)

.PHONY: runs
runs: .venv/installed  ## List the latest runs: status, duration, final metrics
	$(PYTHON) -m scripts.runs list $(SUBMIT_ARGS)

.PHONY: watch
watch: .venv/installed  ## Show the log of the run submitted last, or of RUN=ID
	$(PYTHON) -m scripts.runs watch $(RUN) $(SUBMIT_ARGS)

.PHONY: compare
compare: .venv/installed  ## Draw the curves of RUNS="ID ID …" in one picture
	$(PYTHON) -m scripts.runs compare $(RUNS) $(SUBMIT_ARGS)

.PHONY: download
download: .venv/installed  ## Bring the outputs of the run submitted last, or of RUN=ID, to downloads/
	$(PYTHON) -m scripts.runs download $(RUN) $(SUBMIT_ARGS)

.PHONY: register
register: .venv/installed  ## Register the best checkpoint of the run submitted last, or of RUN=ID, as a model
	$(PYTHON) -m scripts.runs register $(RUN) $(SUBMIT_ARGS)

.PHONY: cancel
cancel: .venv/installed  ## End the run submitted last, or RUN=ID
	$(PYTHON) -m scripts.runs cancel $(RUN) $(SUBMIT_ARGS)

##@ Develop
.PHONY: benchmark
benchmark: .venv/installed  ## Training speed beside the tutorial's loop and the bare one
	$(PYTHON) -m scripts.benchmarks.training $(if $(DATA),--data "$(DATA)") $(BENCHMARK_ARGS)

.PHONY: test
test: .venv/installed-dev  ## Run the tests
	$(PYTHON) -m pytest -n 3 --dist loadfile --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: lint
lint: .venv/installed-dev  ## Check style, types, declared dependencies and the arrows between packages
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m deptry lightning_cifar scripts
	.venv/bin/lint-imports

.PHONY: format
format: .venv/installed-dev  ## Put the code into shape
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: clean
clean:  ## Remove caches; never data or results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

##@ Set up (done by the others when needed)
# Each stamp is made last: an installation that was cut short is done again.
.venv/installed: requirements.txt
	@$(PYTHON311) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "error: Python 3.11 is needed, but $(PYTHON311) is $$($(PYTHON311) --version); install it, or name it: make PYTHON311=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON311) -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-v2: .venv/installed scripts/azure/submitter.py
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
		$$($(PYTHON) -c 'from scripts.azure.submitter import PACKAGES; print(*PACKAGES["v2"])')
	touch $@

.venv/installed-dev: .venv/installed tests/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
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
		ACCELERATOR=gpu 'cpu, gpu, mps or auto (default)' \
		DATA=FOLDER 'cifar10, synthetic, or a folder with train/<class>/* and test/<class>/*' \
		COMPUTE=NAME 'submit: the cluster (default cpu-cluster)' \
		NODES=2 'submit, rehearse: machines' \
		DEVICES=4 'processes (GPUs) on each machine (default 1)' \
		DATA=STORE:PATH 'submit: a folder in a datastore of the workspace' \
		SDK=v2 'submit, rehearse, …: azure-ai-ml instead of azureml-core (v1, default)' \
		RUN=ID 'watch, download, register, cancel: another run than the last' \
		'SUBMIT_ARGS="--x"' 'flags of the script itself: .venv/bin/python -m scripts.submit --help' \
		'ARGS="--x y"' 'any other flag: .venv/bin/python -m lightning_cifar fit --help'
