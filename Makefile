PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
DOCS_VENV := .venv-docs
DOCS_INSTALLED := $(DOCS_VENV)/.installed

.PHONY: quickstart test lint docs clean

# Many processes import the same files: bytecode is kept, and made for what is imported alone.
export PYTHONDONTWRITEBYTECODE =

# mmcv without its compiled ops installs in seconds; lfi brings the ops that it needs.
$(INSTALLED): export MMCV_WITH_OPS = 0
$(INSTALLED): setup.py pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --no-compile -e '.[all]'
	touch $@

quickstart: $(INSTALLED)
	$(VENV)/bin/python tools/quickstart.py

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@if command -v hadolint; then hadolint Dockerfile; else echo 'hadolint is not installed: the Dockerfile is not checked'; fi
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(VENV)/bin/python -m mypy

# The sources are read and not imported: an environment of its own, without torch, is there in seconds.
$(DOCS_INSTALLED): requirements/docs.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install -r requirements/docs.txt
	touch $@

docs: $(DOCS_INSTALLED)
	$(DOCS_VENV)/bin/sphinx-build -W --keep-going docs docs/_build/html

clean:
	rm -rf $(VENV) $(DOCS_VENV) docs/_build docs/api docs/contributing.md build dist work_dirs .pytest_cache .ruff_cache .mypy_cache .hypothesis projects/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
