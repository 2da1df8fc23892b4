# Everything starts from Python 3.11+ and make. Each target sets up what it needs.
#
#   make run              a demo contact centre on 127.0.0.1; Ctrl-C ends it
#   TANDEM_FREESWITCH=PREFIX make run
#                         the same with the calls on the FreeSWITCH 1.10 that is installed there
#   make test             every test (installs SIPp, baresip and Chromium where it may)
#   make check            lint, types, import contracts and the quick tests: under two minutes
#   make kill N=10        kill -9 control plane and media node during calls, N random times and 2/5 N at each
#                         named point, counted by the phones; the table is in var/kill.json
#   make fuzz SECONDS=60  every parser against inputs that nobody would send; RUNS=... counts instead
#   make simulate SEEDS=200 FROM=0
#   make soak MINUTES=60  load at the highest rate that holds, and real phones beside it: memory, queues, stuck agents
#                         and contacts, calls that are not accounted for; var/soak.json and var/soak.svg
#   make bench            every benchmark beside its peer, 15 minutes; one alone: make bench ONLY=row2
#   make twice SEEDS=20   the same seeds under two hash seeds: their logs are the same bytes

PY := .venv/bin/python
N ?= 10
SEEDS ?= 200
FROM ?= 0
RUNS ?= 0
SECONDS ?= 0
ONLY ?=
MINUTES ?= 60
LINES ?= 20

.PHONY: run test check lane-one lane-two lint format kill fuzz simulate twice bench soak protos reference lock prompts setup
.DEFAULT_GOAL := run

run:
	@scripts/setup.sh runtime
	@TANDEM_MEDIA__FREESWITCH__PREFIX="$${TANDEM_FREESWITCH:-$$TANDEM_MEDIA__FREESWITCH__PREFIX}" exec .venv/bin/tandem up --demo

test: setup
	@scripts/test_tools.sh
	@$(PY) -m pytest tests --ignore=tests/load

# Two lanes of about the same length, because one process keeps one core busy and the machine has more.
# Each has a cache of its own: pytest writes what failed at its end.
check:
	@$(MAKE) --jobs=2 --output-sync=target --no-print-directory lane-one lane-two

lane-one: lint
	@$(PY) -m pytest -q -o cache_dir=.cache/pytest-one tests/tidy tests/unit

lane-two: setup
	@$(PY) -m pytest -q -o cache_dir=.cache/pytest-two tests/property tests/contract tests/fuzz tests/simulation/test_quick.py tests/simulation/test_found.py

lint: setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

format: setup
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

kill: setup
	@$(PY) -m pytest -q -s tests/e2e/test_kill.py tests/e2e/test_kill_media.py --kills=$(N) --kill-json=var/kill.json

fuzz: setup
	@$(PY) -m tests.fuzz.run --runs $(RUNS) --seconds $(SECONDS)

simulate: setup
	@.venv/bin/tandem simulate --seeds $(SEEDS) --from $(FROM)

twice: setup
	@mkdir -p var
	@PYTHONHASHSEED=1 .venv/bin/tandem simulate --seeds $(SEEDS) --from $(FROM) --log-hash > var/twice.1
	@PYTHONHASHSEED=4242 .venv/bin/tandem simulate --seeds $(SEEDS) --from $(FROM) --log-hash > var/twice.2
	@diff var/twice.1 var/twice.2 && echo "$(SEEDS) seeds, the same logs under two hash seeds"

bench: setup
	@$(PY) -m tests.load.bench $(ONLY)

soak: setup
	@$(PY) -m tests.load.soak --minutes $(MINUTES) --lines $(LINES) $(if $(ONLY),--only $(ONLY))

protos: setup
	@scripts/protos.sh

reference: setup
	@$(PY) scripts/reference.py

lock: setup
	@scripts/lock.sh

prompts: setup
	@$(PY) scripts/render_prompts.py

setup:
	@scripts/setup.sh dev
