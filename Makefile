# The commands that a person types. `make` lists them.

.PHONY: help run test rabbitmq lint fmt up bench faults fuzz

TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

run: ## build and run everything in one process (LISTEN_ADDR, ADMIN_ADDR, DATA_DIR)
	cargo run -p standalone

# Binaries and tests in one go: some dependencies have more features for tests, and would be built twice.
test: ## run every test, on real servers
	scripts/install-packages.sh servers edge metrics browser bench
	cargo build --workspace --bins --tests
	tools=$$(scripts/install-tools.sh grpcurl envoy) && \
	    PATH="$$tools:$$PATH" $(TARGET)/debug/stack exec -- cargo test --workspace

rabbitmq: ## run once more on RabbitMQ 4 what depends on its version
	scripts/install-packages.sh servers
	cargo build --workspace --bins --tests
	scripts/test-rabbitmq-4.sh $(TARGET)/debug/stack

lint: ## check formatting, lints, licences, contracts, scripts and docker-compose.yml
	scripts/lint.sh

fmt: ## format the code
	cargo fmt --all

up: ## run the full stack natively until Ctrl-C
	scripts/install-packages.sh servers
	cargo build --release --workspace --bins
	$(TARGET)/release/stack up

bench: ## compare the service with a bare tonic echo (ARGS=--help)
	scripts/install-packages.sh servers bench
	cargo build --release --workspace --bins
	$(TARGET)/release/loadgen $(ARGS)

faults: ## count every view through random faults, for some 25 minutes (ARGS=--help)
	scripts/install-packages.sh servers
	cargo build --workspace --bins
ifdef ARGS
	$(TARGET)/debug/faults $(ARGS)
else
	$(TARGET)/debug/faults --schedules 20
	$(TARGET)/debug/faults --schedules 5 --kill-replicas
	$(TARGET)/debug/faults --schedules 5 --kill-replicas --spool
endif

fuzz: ## look for inputs that the rate limiter or the API gets wrong (SECONDS_EACH=60)
	scripts/fuzz.sh
