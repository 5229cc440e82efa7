# Two commands do all set-up: `make demo` (the main job) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED := 1

.PHONY: env demo test check bars-spine bars-scenes bars-episodes bars-trust test-lerobot test-exports clean

env: $(VENV)/.runtime

$(VENV)/.runtime: requirements.lock pyproject.toml
	PYTHON=$(PYTHON) tools/system_packages.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<0.14"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	touch $@

demo: env
	$(BIN)/blueprint demo

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n 2

bars-spine: env
	$(BIN)/python -m bench.bars_spine

bars-scenes: $(VENV)/.dev
	$(BIN)/python -m bench.bars_scenes

bars-episodes: $(VENV)/.dev
	$(BIN)/python -m bench.bars_episodes

bars-trust: $(VENV)/.dev
	$(BIN)/python -m bench.bars_trust

# the real lerobot, in its own environment, reads every dataset given: make test-lerobot DATASETS="DIR/outputs/dataset"
test-lerobot: $(VENV)/.dev $(VENV)-lerobot/.ready
	$(BIN)/python tests/lerobot/write_datasets.py build/lerobot
	$(VENV)-lerobot/bin/python tests/lerobot/read_datasets.py build/lerobot/*/dataset $(DATASETS)

$(VENV)-lerobot/.ready: requirements-lerobot.lock tests/lerobot/install.py
	$(PYTHON) tests/lerobot/install.py $(VENV)-lerobot requirements-lerobot.lock

# robomimic and TensorFlow Datasets, each in its own environment, read what `blueprint convert` writes
test-exports: $(VENV)/.dev $(VENV)-robomimic/.ready $(VENV)-tfds/.ready
	$(BIN)/pytest -rs tests/formats/test_export_demos.py

$(VENV)-robomimic/.ready: requirements-robomimic.lock tests/lerobot/install.py
	$(PYTHON) tests/lerobot/install.py $(VENV)-robomimic requirements-robomimic.lock

$(VENV)-tfds/.ready: requirements-tfds.lock
	$(PYTHON) -m venv --clear $(VENV)-tfds
	$(VENV)-tfds/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-tfds.lock
	touch $@

clean:
	rm -rf $(VENV) out
