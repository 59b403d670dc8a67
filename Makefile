# `make` or `make help` tells what there is. Needs Python 3.11 to 3.13 and nothing else.

# The Python to make .venv with, and the newest other one here, on which `make test` runs the unit tests again.
PYTHON ?= $(shell sh tools/pythons.sh main)
NEWEST ?= $(shell sh tools/pythons.sh newest)
# What pytest is given besides; `make test ARGS="-k tiff -x"`.
ARGS ?=
WORKERS ?= auto
# Where the demo keeps its files.
STORAGE ?= s3
# Tests that share a server (Prefect's) stay in one process.
DIST := --dist loadgroup

PY := .venv/bin/python
INSTALLED := .venv/.installed

.PHONY: help env lock lint quick check test test-long test-oldest test-foreign bench examples dist site demo images minio minio-down clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

env: $(INSTALLED)  ## the environment .venv, as locked, with uv; other targets make it themselves

# An environment is made again only when what it is made from changes.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)"
	test -x $(PY) || $(PYTHON) -m venv .venv
	sh tools/install.sh $(PY)
	@touch $@

.venv-%/.installed: requirements.lock pyproject.toml
	test -x .venv-$*/bin/python || "$$(sh tools/pythons.sh path $*)" -m venv .venv-$*
	sh tools/install.sh .venv-$*/bin/python
	@touch $@

lock:  ## requirements.lock anew from pyproject.toml; UPGRADE=--upgrade takes newer versions
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --group docs \
		--generate-hashes --custom-compile-command "make lock" $(UPGRADE) pyproject.toml -o requirements.lock

# Tests that need no server and take a few seconds at most.
UNITS := -m "not s3 and not gcs and not sftp and not azure and not slow and not long"

lint: env  ## lint, format, types and layers
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

quick: lint  ## lint, and the unit tests of what differs from main: under a minute
	$(PY) -m pytest -q -n $(WORKERS) $(DIST) $(UNITS) tests/test_house.py $$($(PY) -m tools.affected_tests) $(ARGS)

check: lint  ## lint, format, types, layers and the tests that need no server: 2 to 3 minutes on 2 cores
	$(PY) -m tools.architecture --check
	$(PY) -m pytest -q -n $(WORKERS) $(DIST) $(UNITS) $(ARGS)

test: env $(if $(NEWEST),.venv-$(NEWEST)/.installed)  ## every test but the long ones; on the newest Python a third of those that need no server, too
	sh tools/run_tests.sh $(PY) -n $(WORKERS) $(DIST) $(ARGS)
	$(if $(NEWEST),sh tools/run_tests.sh .venv-$(NEWEST)/bin/python -n $(WORKERS) $(DIST) $(UNITS) --one-of 3 $(ARGS))

test-long: env $(if $(NEWEST),.venv-$(NEWEST)/.installed)  ## the long tests too, many more examples of each property, and the newest Python
	$(PY) -m pytest -n $(WORKERS) $(DIST) --long --hypothesis-profile=long $(ARGS)
	$(if $(NEWEST),.venv-$(NEWEST)/bin/python -m pytest -n $(WORKERS) $(DIST) $(UNITS) $(ARGS))

# The oldest Prefect with what cpr.task needs of it (a task knows its source), and the FastAPI of its time.
OLDEST := "prefect==3.6.9" "fastapi==0.121.3"

test-oldest:  ## what is relied on in Prefect, on the oldest Prefect supported
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	sh tools/install.sh .venv-oldest/bin/python
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(OLDEST)
	.venv-oldest/bin/python -m pytest -n $(WORKERS) $(DIST) tests/prefect/test_prefect_facts.py tests/flows/test_healing.py \
		tests/prefect/test_serializer.py tests/prefect/test_task.py tests/prefect/test_cache_key_equality.py $(ARGS)

test-foreign: env  ## what cpr writes, in other programs: ImageJ, Bio-Formats, GDAL, zarrita ...; docs/interoperability.md
	$(PY) -m tests.foreign --write $(ARGS)

bench: env  ## speed and memory beside what people would use instead: docs/benchmarks.md, in about 45 minutes
	$(PY) -m bench $(ARGS)

examples: env  ## all code of README, site and docstrings, in new environments made by README's install lines
	$(PY) -m tools.fresh_examples $(ARGS)

dist: env  ## wheel and sdist in dist/, checked, and the wheel installed and tried on every Python here with each extra
	$(PY) -m tools.distribution $(ARGS)

site: env  ## the documentation as a site in build/site, to be read offline; warnings are errors
	$(PY) -m mkdocs build

demo: env  ## a flow on real images, twice: computed, then cached; STORAGE=s3, gs or ./folder
	@$(PY) -m demo --storage $(STORAGE)

images: env  ## the container images: there already, pulled, or built here
	@$(PY) -m tools.local_images

minio: images  ## MinIO up, with docker or podman; prints what to export
	@$(PY) -m tests.minio up

minio-down: env  ## MinIO down again, with its data
	@$(PY) -m tests.minio down

clean:  ## remove environments and caches (.tools stays: it takes minutes to build)
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.tools/*' -prune -exec rm -rf {} +
