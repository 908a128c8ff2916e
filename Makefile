# What a person does with this project; `make help` lists it. Everything lives in .venv and build/.

PY := .venv/bin/python
MODEL := llamacpp:smollm2:135m
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
MEMORY_TESTS := tests/models/test_memory.py tests/models/test_reload_under_load.py tests/providers/test_huggingface_memory.py

export PYTHON
# Another environment that is active in the shell is none of ours; IPython would warn of it.
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo lab test widgets check check-format check-lint check-types check-layers check-fast format docs record bench clean
.PHONY: install-kernel install-lab install-docs install-test install-dev model
MAKEFLAGS += --no-print-directory

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

install-kernel install-lab install-docs install-test install-dev:
	@sh scripts/install.sh $(@:install-%=%)

model:
	@echo "==> making sure that $(MODEL) is here (98 MB, fetched once)"
	@.venv/bin/farm pull $(MODEL)

demo: install-kernel ## install, fetch the embedded model (98 MB), run the quickstart and print its answers
	@$(MAKE) model
	@echo "==> running notebooks/quickstart.ipynb"
	@FARM_CACHE__ENABLED=0 $(PY) scripts/run_notebook.py notebooks/quickstart.ipynb build/quickstart.ipynb

widgets: install-lab ## build the panels' page side, where its sources have changed
	@$(PY) scripts/build_widgets.py

lab: install-lab widgets ## open the notebooks in JupyterLab
	@echo "==> opening notebooks/quickstart.ipynb in JupyterLab; Ctrl-C ends it"
	@$(PY) -m jupyterlab $$([ "$$(id -u)" != 0 ] || echo --allow-root) \
		--ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/quickstart.ipynb

test: install-test widgets ## install what the tests need (Chromium and Redis too, with apt-get) and run them all
	@sh scripts/install_apt.sh
	@$(MAKE) model
	@echo "==> checking the types of the panels' page side"
	@$(PY) scripts/build_widgets.py check
	@echo "==> running the tests of the panels' page side"
	@$(PY) scripts/build_widgets.py test
	@echo "==> running the tests, two files at a time"
	@$(PY) -m pytest -n 2 --dist loadfile $(MEMORY_TESTS:%=--ignore=%)
	@echo "==> running those that measure memory by themselves"
	@$(PY) -m pytest $(MEMORY_TESTS)
	@echo "==> replaying the notebooks, and comparing what they give with what they hold"
	@$(PY) -m pytest -n 2 --dist loadfile --nbval notebooks --farm-strict

check: check-format check-lint check-types check-layers check-fast ## what a commit must pass, in under a minute

check-format: install-dev
	@echo "==> checking the format (make format repairs it)"
	@$(PY) -m ruff format --check .

check-lint: install-dev
	@echo "==> checking the code's habits"
	@$(PY) -m ruff check .

check-types: install-dev
	@echo "==> checking the types"
	@$(PY) -m mypy

check-layers: install-dev
	@echo "==> checking that imports point down"
	@$(PY) -m pytest -q tests/test_layers.py

check-fast: install-dev widgets
	@echo "==> running the tests that need no model, kernel or browser"
	@$(PY) -m pytest -q -m "not model and not kernel and not browser and not slow" --ignore=tests/test_layers.py

format: install-dev ## put the code into its format
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

docs: install-docs widgets ## build the documentation in build/docs, with the gallery executed on replay
	@echo "==> building the documentation"
	@$(PY) -m sphinx -W --keep-going -q -j 2 -D gallery_replay=1 -d build/doctrees docs build/docs \
		|| { rm -rf build/doctrees; exit 1; }  # of what is kept there would be no warning again
	@echo "==> it begins at build/docs/index.html"

record: install-test ## ask the embedded model anew for every notebook, and record what it answers
	@$(MAKE) model
	@sh scripts/record_notebooks.sh $(NOTEBOOKS)

bench: install-test ## measure, each figure against a peer in the same run
	@$(MAKE) model
	@echo "==> measuring"
	@$(PY) -m benchmarks

clean: ## remove .venv, build/ and the tools' caches; fetched models stay in the user's cache folder
	@echo "==> removing .venv, build, dist and the tools' caches"
	@rm -rf .venv build dist farm_notebook/widgets/static farm_notebook/widgets/js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
