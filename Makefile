# Every common action; `make` alone lists them.
PYTHON ?= python3
RUN := .venv/bin/python -m
SHELL_SCRIPTS := .ci/run scripts/build_and_deploy.sh scripts/setup.sh .platform/hooks/predeploy/10_migrate.sh

# Only docker compose reads .env, so that one file does not mean two things
export FLASK_SKIP_DOTENV := 1

.DEFAULT_GOAL := help
.PHONY: help run dev test test-faults test-browser test-docker check format lint types design shell dockerfile templates owner secrets requirements pre-commit lock bench rehearse rehearse-pipeline diagram clean

help: ## List the actions
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run ## Serve on http://127.0.0.1:8000, with a PostgreSQL of its own (PORT=... for another port)
	@exec $(if $(PORT),env PORT=$(PORT)) $(RUN) scripts.run

dev: .venv/run ## The same with reload and debugger
	@exec $(if $(PORT),env PORT=$(PORT)) $(RUN) scripts.run --dev

test: .venv/installed ## Run the tests in parallel, with coverage (TEST_DATABASE_URL for a server of yours)
	@rm -f .coverage .coverage.*
	$(RUN) pytest -n auto --dist worksteal -m 'not docker and not faults and not browser' --cov --cov-report=term $(ARGS)

test-faults: .venv/installed ## Kill, freeze and fill what the service needs, under load (skips what this machine lacks)
	$(RUN) pytest -q -m faults $(ARGS)

test-browser: .venv/installed ## Try the documentation in a browser (skipped where there is no Chromium)
	$(RUN) pytest -q -m browser $(ARGS)

test-docker: .venv/installed ## Run the tests of the image and of docker-compose.yml, and both rehearsals
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker -s $(ARGS)

rehearse: .venv/installed ## Rehearse deployments: the real script and containers, AWS on loopback (needs Docker)
	REQUIRE_DOCKER=1 $(RUN) pytest tests/rehearsal/test_rehearsal.py $(ARGS)

rehearse-pipeline: .venv/installed ## Rehearse the pipeline in the same way, from a commit to production
	REQUIRE_DOCKER=1 $(RUN) pytest tests/rehearsal/test_pipeline.py $(ARGS)

check: format lint types design shell dockerfile templates owner secrets requirements ## All that can be checked without running it

format: .venv/installed ## Check the formatting (.venv/bin/ruff format . mends it)
	$(RUN) ruff format --check .

lint: .venv/installed ## Check the Python code
	$(RUN) ruff check .

types: .venv/installed ## Check the types
	$(RUN) mypy

design: .venv/installed ## Check who imports what, and where SQL is
	$(RUN) pytest -q tests/test_design.py

shell: .venv/installed ## Check the shell scripts
	.venv/bin/shellcheck $(SHELL_SCRIPTS)

dockerfile: .venv/installed ## Check the Dockerfiles
	.venv/bin/hadolint Dockerfile tests/rehearsal/machine/Dockerfile tests/rehearsal/codebuild/Dockerfile .devcontainer/Dockerfile

templates: .venv/installed .venv/checkov/installed ## Check CloudFormation, that of .ebextensions included
	$(RUN) scripts.templates dist/templates
	.venv/bin/cfn-lint --regions eu-west-1 -- dist/templates/*
	.venv/checkov/bin/python -m checkov.main --directory dist/templates --framework cloudformation --quiet --compact --skip-download

owner: .venv/installed ## Check devops/owner.json and devops/release_window.toml
	@$(RUN) scripts.owner check
	@$(RUN) scripts.release_window check

pre-commit: .venv/installed ## Run everything that runs before a commit, on all files
	$(RUN) pre_commit run --all-files

# .secrets.baseline holds no findings; its pattern names the placeholders of documents and tests
secrets: .venv/installed ## Look for secrets in the files that git knows
	git ls-files -z | xargs -0 $(RUN) detect_secrets.pre_commit_hook --no-verify --baseline .secrets.baseline

requirements: .venv/installed ## Check that the locks are up to date with their .in files
	@$(RUN) scripts.lock --check

lock: .venv/installed ## Bring the locks up to date with their .in files (ARGS=--upgrade for newer versions)
	@$(RUN) scripts.lock $(ARGS)

bench: .venv/installed ## Measure throughput, latency, CPU and memory (needs wrk)
	$(RUN) benchmarks $(ARGS)

diagram: .venv/installed ## Draw docs/production.png (needs Graphviz)
	$(RUN) docs.production

clean: ## Remove what was built and installed here, but not the data
	@[ ! -d .venv ] || find .venv -mindepth 1 -delete  # in a dev container it is a volume
	rm -rf dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# checkov's dependencies fit with nobody else's
.venv/checkov/installed: requirements-checkov.txt .venv/installed
	@.venv/bin/python -m venv .venv/checkov
	@.venv/checkov/bin/python scripts/install.py requirements-checkov.txt
	@touch $@

.venv/installed: requirements-dev.txt .venv/run
	@.venv/bin/python scripts/install.py requirements-dev.txt
	@touch $@

# Little, so that `make run` serves soon on a fresh machine
.venv/run: requirements-run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This project needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
		echo "If a newer one is installed, name it: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@.venv/bin/python scripts/install.py requirements-run.txt
	@touch $@
