# Each target is a line that a person would type. Caches live in the user's cache folder; nothing here needs more than
# Rust, make and apt (as root or with sudo).

CARGO ?= cargo

.PHONY: demo test lint bitcoind build
.DEFAULT_GOAL := build

build:
	$(CARGO) build --release --bin adit

# Everything once on a private regtest network. ONCE=1 ends after the summary, with an exit status.
demo: tools
	$(CARGO) build --release --bin adit --bin demo
	target/release/demo $(if $(ONCE),--once)

# All tests, with a real bitcoind and a real PostgreSQL: one that is reachable, or one that is started for the tests and
# stopped after them. cargo-nextest is used where it is installed.
test: bitcoind postgres
	$(CARGO) build --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; \
		then $(CARGO) run --quiet -p postgres-test -- $(CARGO) nextest run --workspace --no-fail-fast; \
		else $(CARGO) run --quiet -p postgres-test -- $(CARGO) test --workspace --no-fail-fast; fi
	$(CARGO) test --workspace --doc

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# Finds bitcoind, or builds it (4 to 10 minutes, once).
bitcoind: tools
	$(CARGO) run --quiet -p bitcoind-regtest

# Installs PostgreSQL's server where there is none.
.PHONY: postgres
postgres: tools
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends postgresql; }

# A C compiler for the crates that carry C code; everything else comes with cargo.
.PHONY: tools
tools:
	@command -v cc >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends gcc libc6-dev; }
