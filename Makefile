# Everything there is to type. Each target sets up what it needs first (scripts/setup) and can be repeated.
#
#   make up      build a release binary and start the layer on this machine
#   make down    stop it; the data stays
#   make test    the whole test suite, real engines included
#   make lint    format, lints, floors, dependencies
#   make bench   the benchmarks, as ratios measured in one run
#   make soak    the end-to-end tests under load for MINUTES (30), and the repository killed ROUNDS times (500)
#
# MAINSTAY_DATA_DIR and the other variables of docs/configuration.md work here too.

MINUTES ?= 30
ROUNDS ?= 500
BINARY := $(or $(CARGO_TARGET_DIR),target)/release/mainstay

.PHONY: up down test lint bench soak
.DEFAULT_GOAL := up

up:
	@scripts/setup run
	cargo build --release -p mainstay
	@$(BINARY) up --detach

down:
	@test -x $(BINARY) || { echo "$(BINARY) is not built, so 'make up' has started nothing from here"; exit 1; }
	@$(BINARY) down

test:
	@scripts/setup test
	@scripts/test

lint:
	@scripts/setup lint
	@scripts/lint

bench:
	@scripts/setup bench
	cargo bench --workspace --bench '*'

soak:
	@scripts/setup test
	MAINSTAY_SOAK_ROUNDS=$(ROUNDS) scripts/test --release -p mainstay-repository --test it -- crash --nocapture
	MAINSTAY_SOAK_MINUTES=$(MINUTES) scripts/test --release -p mainstay-engine-postgresql --test it -- one_of_many
	MAINSTAY_SOAK_MINUTES=$(MINUTES) scripts/test --release -p mainstay --test it -- soak --nocapture
