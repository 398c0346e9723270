# The commands of this repository: `make` lists them.

VENV = .venv
RUN = $(VENV)/bin/python
STAMP = $(VENV)/.made-from-lock
# Two at a time: the suite's own servers and browser need room as well.
PYTEST = $(RUN) -m pytest -n 2

.DEFAULT_GOAL = help
.PHONY: help setup demo serve worker test test-fast lint fix messages bench bench-scoring bench-training bench-adapter bench-policies bench-claims bench-rankings bench-toy-hps bench-control toy-weights study

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{ printf "  make %-15s %s\n", $$1, $$2 }'

setup: $(STAMP) ## make the environment in .venv, or bring it up to date

$(STAMP): pyproject.toml requirements.lock deploy/make-environment
	@deploy/make-environment $(VENV)
	@touch $(STAMP)

demo: $(STAMP) ## the whole loop on synthetic data, then the site (SERVE=0: without the site)
	$(RUN) manage.py demo $(if $(filter 0,$(SERVE)),--no-serve)

serve: $(STAMP) ## the site with its database and workers on http://127.0.0.1:8000
	$(RUN) manage.py serve

worker: $(STAMP) ## workers only, for a site that runs elsewhere with --without-worker
	$(RUN) manage.py worker

test: lint ## lint, then every test, in the browser too
	@deploy/ensure-chromium
	$(PYTEST)

test-fast: $(STAMP) ## the tests that need no browser and little time
	$(PYTEST) -m "not gpu and not e2e and not slow"

lint: $(STAMP) ## style, types, layers, templates, migrations; changes nothing
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/djlint --quiet --lint templates
	$(VENV)/bin/mypy
	$(RUN) manage.py makemigrations --check --dry-run

fix: $(STAMP) ## repair the style where a program can
	$(VENV)/bin/ruff check --fix --quiet . || true
	$(VENV)/bin/ruff format .

messages: $(STAMP) ## bring the annotators' texts in every language up to date (needs gettext)
	@deploy/make-messages $(RUN)

bench: bench-scoring bench-training bench-adapter bench-policies bench-claims bench-rankings bench-toy-hps bench-control ## every benchmark, one after the other (hours)

bench-scoring: $(STAMP) ## scoring beside the hpsv2 package's call pattern and a plain loop (BENCH="--device cuda")
	$(RUN) -m benchmarks.scoring $(BENCH)

bench-training: $(STAMP) ## training with the frozen-trunk cache beside plain loops (BENCH="--device cuda")
	$(RUN) -m benchmarks.training $(BENCH)

bench-adapter: $(STAMP) ## adapter training beside the loop of diffusers' example (BENCH="--device cuda --cases stable-diffusion")
	$(RUN) -m benchmarks.adapter $(BENCH)

bench-policies: $(STAMP) ## how many votes each pair policy needs to rank twelve generators
	$(RUN) -m benchmarks.pair_policies $(POLICIES)

bench-claims: $(STAMP) ## how long a claim takes with a thousand tasks and with a hundred thousand
	$(RUN) -m benchmarks.claims $(CLAIMS)

bench-rankings: $(STAMP) ## how long a million votes take to rank 200 generators, and how much memory
	$(RUN) -m benchmarks.rankings $(RANKINGS)

bench-toy-hps: $(STAMP) ## whether HPS beats base CLIP in the toy world with 10,000 choices, and how near it comes to people
	$(RUN) -m benchmarks.toy_hps $(TOY)

bench-control: $(STAMP) ## whether the mark works as negative prompt where it was surely learnt, at two guidances
	$(RUN) -m benchmarks.positive_control $(CONTROL)

toy-weights: $(STAMP) ## make the two tiny base models anew, from nothing
	$(RUN) -m hps_site.demo.toy_weights

study: $(STAMP) ## does the loop work? the declared study on the toy world, about half an hour (STUDY="--quick")
	$(RUN) manage.py study $(STUDY)
