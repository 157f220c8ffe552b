# A fresh machine needs Python 3.11 or newer and make; everything else is set up here, in .venv.
#
#   make demo     simulate a recording, train on it, reconstruct, complete, evaluate, decode, view
#   make test     lint, types, tests

VENV ?= .venv
DEMO ?= demo
DEMO_MINUTES ?= 20
# "default" also trains networks, which takes some minutes more.
DEMO_PRESET ?= gaussian

# The first of these that is new enough; `make PYTHON=...` overrides.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)

PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test lint types tests hooks clean
.DELETE_ON_ERROR:

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# One stamp file per set of packages, so that each is installed once, and again when its list changes.
INSTALLED := $(VENV)/installed
INSTALLED_DEV := $(VENV)/installed-dev

install: $(INSTALLED)  ## the package and what it needs, in .venv

install-dev: $(INSTALLED_DEV)  ## that, and what testing and linting need

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "neuroframes needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@# Some distributions split venv's own pip off: then the interpreter's pip puts one there.
	@$(PYTHON) -m venv $(VENV) >/dev/null || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; } || { \
		rm -rf $(VENV); echo "$(PYTHON) has neither venv nor pip; on Debian: apt install python3-venv" >&2; exit 1; }

$(INSTALLED): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing neuroframes in $(VENV)"
	@$(PIP) --editable '.[diffusion,decoding]'
	@touch $@

$(INSTALLED_DEV): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing neuroframes, with what its tests need, in $(VENV)"
	@$(PIP) --editable '.[diffusion,decoding,benchmark,test,dev]'
	@touch $@ $(INSTALLED)

test: lint types tests  ## lint, types and tests

lint: $(INSTALLED_DEV)  ## ruff
	$(VENV)/bin/ruff check .

types: $(INSTALLED_DEV)  ## mypy
	$(VENV)/bin/mypy

# Matrices of the tests are small: more threads on one of them wait for each other longer than they compute.
tests: $(INSTALLED_DEV)  ## pytest
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest

hooks: $(INSTALLED_DEV)  ## ruff and mypy before each commit
	$(VENV)/bin/pre-commit install

NEUROFRAMES := $(VENV)/bin/neuroframes
RECORDING := $(DEMO)/recording
STORE := $(DEMO)/stores/sub-01.zarr
RUN := sub-01_task-movie_run-4
EEG := $(RECORDING)/sub-01/eeg/$(RUN)_eeg.vhdr
FMRIPREP := $(RECORDING)/derivatives/fmriprep/sub-01/func/$(RUN)
GRID := space-fsLR_den-32k
RECONSTRUCTED := $(DEMO)/$(RUN)_$(GRID)_desc-reconstructed_bold.dtseries.nii
COMPLETED := $(DEMO)/$(RUN)_$(GRID)_desc-completed_bold.dtseries.nii

demo: $(INSTALLED)  ## the whole chain on a simulated recording, in demo/
	@# Starts anew, but removes only what an earlier demo made.
	@test ! -e $(DEMO) || test -e $(DEMO)/.started || { echo "$(DEMO) is no demo of ours: make DEMO=..." >&2; exit 1; }
	@rm -rf $(DEMO) && mkdir -p $(DEMO) && date +%s > $(DEMO)/.started
	$(NEUROFRAMES) simulate $(RECORDING) --minutes $(DEMO_MINUTES) --tr 0.8 --space fsLR --seed 0 --linear --film
	$(NEUROFRAMES) prepare $(RECORDING) --out $(DEMO)/stores --stimulus $(RECORDING)/stimuli --category kind
	$(NEUROFRAMES) train $(STORE) --out $(DEMO)/model --preset $(DEMO_PRESET)
	$(NEUROFRAMES) reconstruct $(DEMO)/model --eeg $(EEG) --out $(RECONSTRUCTED)
	$(NEUROFRAMES) complete $(FMRIPREP)_$(GRID)_bold.dtseries.nii --out $(COMPLETED) \
		--model $(DEMO)/model --eeg $(EEG) --confounds $(FMRIPREP)_desc-confounds_timeseries.tsv
	$(NEUROFRAMES) evaluate $(STORE) --model $(DEMO)/model --out $(DEMO)/evaluation
	$(NEUROFRAMES) decode fit $(STORE) --out $(DEMO)/decoder
	$(NEUROFRAMES) decode score $(DEMO)/decoder $(FMRIPREP)_$(GRID)_bold.dtseries.nii $(COMPLETED) $(RECONSTRUCTED) \
		--stimulus $(STORE) --out $(DEMO)/decoding
	$(NEUROFRAMES) view $(COMPLETED) --out $(DEMO)/view.html
	@echo
	@echo "Done in $$(( $$(date +%s) - $$(cat $(DEMO)/.started) )) s. Written to $(DEMO)/:"
	@printf '  %-88s %s\n' \
		'$(RECORDING)' 'simulated EEG and fMRI of somebody who watches a film, with the truth' \
		'$(STORE)' 'the recording, aligned and prepared' \
		'$(DEMO)/model' 'what was learned from it' \
		'$(RECONSTRUCTED)' 'run 4 from its EEG alone' \
		'$(COMPLETED)' 'run 4, censored frames filled' \
		'$(DEMO)/evaluation' 'how good that is on held-out time, beside simpler methods' \
		'$(DEMO)/decoding' 'what the frames of run 4 tell of its film: open retrieval.html' \
		'$(DEMO)/view.html' 'the completed run on the cortex: open it in a browser'

clean:  ## removes the environment, the demo and caches
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache build dist
