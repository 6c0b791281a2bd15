# Two commands on a bare machine (Python 3.11, make, git): `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# uv shares installed files between environments (hard links) where it works; pip is the way that always works.
UV_VERSION := 0.13.8
CONFIG ?= configs/demo.yaml
EXTRAS := ultralytics,segment-anything,sam3,text,serve,remote,label-studio,fiftyone,engines,test,lint

# Real images and weights, for tests, benchmarks and the configurations that name them.
ifneq ($(wildcard ../shared/data),)
export MASKLOOP_DATA ?= $(abspath ../shared/data)
endif
ifneq ($(wildcard ../shared/weights),)
export MASKLOOP_WEIGHTS ?= $(abspath ../shared/weights)
endif

.PHONY: help setup label-studio studio demo balloon test check lint types floors format benchmarks clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/installed ## make .venv with everything that the demo, tests and benchmarks need

$(VENV)/installed: pyproject.toml constraints.txt overrides.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || echo "uv is not to be had here: pip does it all"
	@if $(BIN)/uv --version >/dev/null 2>&1 && \
	   VIRTUAL_ENV=$(VENV) SSL_CERT_FILE=$${SSL_CERT_FILE:-$${PIP_CERT:-}} $(BIN)/uv pip install --quiet \
	     --constraints constraints.txt --overrides overrides.txt --editable '.[$(EXTRAS)]'; then \
	  echo "installed with uv"; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]' && \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --force-reinstall --no-deps opencv-python-headless; \
	fi
	@$(BIN)/python -c "import cv2, torch, torchvision, ultralytics" || { echo "the environment is broken: make clean setup"; exit 1; }
	@touch $@

# Label Studio pins what it needs: it lives apart, and is spoken to over HTTP alone.
STUDIO := .venv-label-studio

$(STUDIO)/installed: constraints-label-studio.txt $(VENV)/installed
	test -x $(STUDIO)/bin/python || $(PYTHON) -m venv $(STUDIO)
	@if $(BIN)/uv --version >/dev/null 2>&1 && \
	   VIRTUAL_ENV=$(STUDIO) SSL_CERT_FILE=$${SSL_CERT_FILE:-$${PIP_CERT:-}} $(BIN)/uv pip install --quiet \
	     --constraints constraints-label-studio.txt label-studio; then \
	  echo "Label Studio installed with uv"; \
	else \
	  $(STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-label-studio.txt label-studio; \
	fi
	@touch $@

label-studio: $(STUDIO)/installed ## make .venv-label-studio

studio: CONFIG = configs/studio.yaml
studio: setup label-studio ## the demo with you in it: Label Studio, its backend and the loop on this machine
	$(BIN)/pipeline studio $(CONFIG)

demo: setup ## run the whole loop on generated scenes: no weights to download, no server, no account
	$(BIN)/pipeline run $(CONFIG)

balloon: setup ## run a small loop on real photographs with real weights
	rm -rf runs/balloon-small
	$(BIN)/pipeline run configs/balloon.yaml --workspace runs/balloon-small --set trainer.epochs=4 --set trainer.imgsz=320

test: setup label-studio ## run every test
	$(BIN)/pytest

check: lint types floors ## style, types and floors

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

floors: setup
	$(BIN)/lint-imports

format: setup ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment, caches and runs
	rm -rf $(VENV) $(STUDIO) runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
