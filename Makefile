# The common actions; `make` alone lists them.
PYTHON ?= python3
RUN := .venv/bin/python -m
DEPLOY := scripts/build_and_deploy.sh
PARALLEL := -n auto --dist worksteal
CI := not docker and not faults and not browser

# Only docker compose reads .env, so that the file has only one meaning
export FLASK_SKIP_DOTENV := 1

# uv leaves it to Python to compile the packages, once; without this, it would be done at each start
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## List the actions
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run

run: .venv/run ## Serve on http://127.0.0.1:8000, with its own PostgreSQL (PORT=... for another port)
	@exec $(if $(PORT),env PORT=$(PORT)) $(RUN) tools.run

dev: .venv/run ## The same with reload and debugger
	@exec $(if $(PORT),env PORT=$(PORT)) $(RUN) tools.run --dev

##@ Check

ci: check ## What every change must pass: the checks, and all tests that run without root, a browser or Docker
	@rm -f .coverage .coverage.*
	$(RUN) pytest $(PARALLEL) -m '$(CI)' --cov --cov-report=term $(ARGS)

check: .venv/installed .venv/checkov/installed ## Run every static check of .pre-commit-config.yaml (HOOK=types for one)
	@$(RUN) pre_commit run --all-files $(HOOK)

audit: .venv/installed ## Check the pinned packages for known vulnerabilities (needs the network)
	@$(RUN) tools.audit

check-format: .venv/installed ## Check the formatting
	$(RUN) ruff format --check .

format: .venv/installed ## Format the Python code, and apply automatic fixes
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

lock: .venv/installed ## Update the lock files from their .in files (ARGS=--upgrade for newer versions)
	@$(RUN) tools.locks $(ARGS)

##@ Test

test: .venv/installed ## Run the tests but those that start whole programs (TEST_DATABASE_URL for your own server)
	$(RUN) pytest $(PARALLEL) $(ARGS)
	@echo "Without the tests that start whole programs (marker process): make ci runs them, too."

test-image: .venv/installed ## Test the image (IMAGE=... to use an existing one; needs Docker)
	REQUIRE_DOCKER=1 $(if $(IMAGE),IMAGE_UNDER_TEST=$(IMAGE)) $(RUN) pytest -m docker tests/docker/test_image.py $(ARGS)

test-docker: .venv/installed ## Run the tests of the image and of docker-compose.yml, and all rehearsals
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker -n 2 --dist loadgroup $(ARGS)

test-faults: .venv/installed ## Kill, freeze or cut off what the service needs, under load (skips what this machine lacks)
	$(RUN) pytest -q -m faults -n 2 --dist worksteal tests/faults $(ARGS)

test-browser: .venv/installed ## Try the documentation in a browser (skipped without Chromium)
	$(RUN) pytest -q -m browser $(ARGS)

bench: .venv/installed ## Measure throughput, latency, CPU and memory (needs wrk)
	$(RUN) tools.bench $(ARGS)

migration: .venv/installed ## Generate the migration that the models need, and check it (MESSAGE="Add a column")
	@$(RUN) tools.migration "$(MESSAGE)"

##@ Ship

deploy: .venv/installed ## Check, test, build, deploy to staging and to production
	@$(DEPLOY)

rehearse: .venv/installed ## Rehearse deployments: the real script and containers, AWS on loopback (needs Docker)
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker tests/rehearsal --ignore=tests/rehearsal/test_pipeline.py \
		--ignore=tests/rehearsal/test_recovery.py --ignore=tests/rehearsal/test_removal.py \
		--ignore=tests/rehearsal/test_machines.py $(ARGS)

cloud: .venv/installed ## Start AWS on loopback, to deploy to without an account (needs Docker)
	@exec $(RUN) tests.rehearsal

rehearse-pipeline: .venv/installed ## Rehearse the pipeline in the same way, from a commit to production
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker tests/rehearsal/test_pipeline.py $(ARGS)

rehearse-recovery: .venv/installed ## Rehearse the loss of a region, and the return to it, with real data
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker -s tests/rehearsal/test_recovery.py tests/rehearsal/test_removal.py $(ARGS)

rehearse-machines: .venv/installed ## Kill instances, fail databases over, drop packets, in a rehearsal's environment under load
	REQUIRE_DOCKER=1 $(RUN) pytest -m docker -s tests/rehearsal/test_machines.py $(ARGS)

rename: .venv/installed ## Give this checkout another name (NAME=your-service; docs/adopt.md)
	@$(RUN) tools.rename $(NAME) $(if $(KEEP),--keep)

diagram: .venv/installed ## Draw the diagrams docs/*.svg
	$(RUN) tools.diagram

dashboard: .venv/installed ## Draw docs/dashboard.png, with example data
	$(RUN) tests.support.dashboard

clean: ## Remove everything built and installed here, but not the data
	@[ ! -d .venv ] || find .venv -mindepth 1 -delete  # in a dev container it is a volume
	rm -rf dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: help run dev ci check check-format format lock migration test test-image test-docker test-faults test-browser bench deploy
.PHONY: cloud rehearse rehearse-pipeline rehearse-recovery rehearse-machines rename diagram dashboard clean

# The dependencies of checkov cannot be installed beside the others
.venv/checkov/installed: requirements/checkov.txt requirements/uv.txt .venv/installed
	@$(PYTHON) tools/install.py .venv/checkov requirements/checkov.txt
	@touch $@

.venv/installed: requirements/dev.txt requirements/build.txt requirements/uv.txt
	@$(PYTHON) tools/install.py .venv requirements/dev.txt
	@touch .venv/run $@

# Few packages, so that `make run` serves soon on a fresh machine
.venv/run: requirements/run.txt requirements/uv.txt
	@$(PYTHON) tools/install.py .venv requirements/run.txt
	@touch $@
