##@ Train on Azure ML
# FLAGS holds the flags of the training, as for train-local; what only submitting knows stands before the `--`.
SUBMIT_FLAGS = $(if $(COMPUTE),--compute "$(COMPUTE)") $(if $(NODES),--nodes "$(NODES)") \
	$(if $(DEVICES),--devices "$(DEVICES)") $(if $(DATA),--data "$(DATA)") $(SUBMIT_ARGS)

.PHONY: rehearse
rehearse: .venv/installed  ## Run the job here first, by a stand-in for Azure ML; needs no account
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

# To add to the variables that `make help` prints:
#		COMPUTE=gpu-cluster 'submit: the cluster (default cpu-cluster)' \
#		NODES=2 'submit, rehearse: machines' \
#		DEVICES=4 'submit, rehearse: processes (GPUs) on each of them' \
#		'DATA=STORE:PATH' 'submit: a folder in a datastore of the workspace' \
#		'SUBMIT_ARGS="--…"' 'flags of the script itself: .venv/bin/python -m scripts.submit --help' \
#		RUN=ID 'watch, download, register, cancel: another run than the last'
