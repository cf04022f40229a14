# Each target is a line that a person would type. Caches live in the user's cache folder; nothing here needs more than
# Rust, make and apt (as root or with sudo).

CARGO ?= cargo
CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/adit

.PHONY: demo test test-interop bench fuzz lint bitcoind build
.DEFAULT_GOAL := build

build:
	$(CARGO) build --release --bin adit

# Everything once on a private regtest network. ONCE=1 ends after the summary, with an exit status.
demo: tools
	$(CARGO) build --profile quick --bin adit --bin demo
	target/quick/demo $(if $(ONCE),--once)

# All tests, with a real bitcoind and a real PostgreSQL: one that is reachable, or one that is started for the tests and
# stopped after them. cargo-nextest is used where it is installed. Then pools to which everything happens at random; a
# longer run of those is `cargo run -p tests --bin calamity -- --minutes 60`. NEXTEST_PROFILE=ci gives a test of whole
# programs that failed a second try, and names it as flaky.
test: bitcoind postgres faketime xmllint python3 browser schemathesis
	$(CARGO) build --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; \
		then target/debug/postgres-test $(CARGO) nextest run --workspace --no-fail-fast; \
		else target/debug/postgres-test $(CARGO) test --workspace --no-fail-fast; fi
	$(CARGO) test --workspace --doc
	target/debug/calamity --minutes 0.3
	target/debug/postgres-test target/debug/calamity --minutes 0.3 --store postgres

# A pool under load to which everything happens, for MINUTES, on SQLite and then on PostgreSQL; then a recount to the
# share. SEED=7 repeats what happened under that seed.
MINUTES ?= 20
.PHONY: soak
soak: bitcoind postgres faketime
	$(CARGO) build --profile quick --bin adit --bin soak --bin postgres-test
	target/quick/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
	target/quick/postgres-test target/quick/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --store postgres

# The reference implementation's miner, translator and pool against Adit. They are built into the user's cache folder,
# once for each version: 10 to 30 minutes.
test-interop: bitcoind interop-tools
	$(CARGO) build --workspace --bins
	target/debug/foreign-clients
	if $(CARGO) nextest --version >/dev/null 2>&1; \
		then $(CARGO) nextest run --workspace --features tests/interop --test interop --no-fail-fast; \
		else $(CARGO) test --workspace --features tests/interop --test interop --no-fail-fast; fi

# What the pool costs: its pieces beside their floors, then the whole under load, into BENCHMARKS.md. Half an hour, and a
# gigabyte in the folder for temporary files.
bench: bitcoind
	$(CARGO) build --release --bin adit --bin bench
	target/release/bench

# The same loads on the reference implementation's pool and on this one, in turn. That pool is built into the user's cache
# folder first, once: 10 to 30 minutes.
.PHONY: bench-vs-reference
bench-vs-reference: bitcoind interop-tools
	$(CARGO) build --release --bin adit --bin bench
	target/release/bench --reference

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features tests/interop -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# A Debian package with the systemd unit, target/debian/adit_VERSION_ARCH.deb. cargo-deb is installed where it is missing.
DEB_PROFILE ?= release
DEB_FOLDER = $(or $(CARGO_TARGET_DIR),target)/debian
DEB_BUILD = $(or $(CARGO_TARGET_DIR),target)/$(DEB_PROFILE)
.PHONY: deb
deb: tools
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	$(CARGO) build --locked --profile $(DEB_PROFILE) --bin adit
	mkdir -p $(DEB_BUILD)/completions
	$(DEB_BUILD)/adit completions bash >$(DEB_BUILD)/completions/adit.bash
	$(DEB_BUILD)/adit completions fish >$(DEB_BUILD)/completions/adit.fish
	$(DEB_BUILD)/adit completions zsh >$(DEB_BUILD)/completions/_adit
	rm -f $(DEB_FOLDER)/adit_*.deb
	$(CARGO) deb --locked --package pool --profile $(DEB_PROFILE) --no-build

# The package, soon built, installed into a copy of this system that is gone afterwards, and run there on a real bitcoind.
.PHONY: test-deb
test-deb: bitcoind
	$(MAKE) deb DEB_PROFILE=quick
	bitcoind=$$($(CARGO) run --quiet -p bitcoind-regtest) || exit 1; \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root deploy/test-deb $(DEB_FOLDER)/adit_*.deb "$$bitcoind"

# What is shipped beside the binary, read by the programs that it is for or by those that look for its faults: alerts, unit,
# container, compose file. Debian's package of Prometheus is only unpacked, into the user's cache folder, because to install it
# would start a server. DL3008 would pin versions of Debian's packages, which Debian takes away when it mends them.
PROMETHEUS = $(CACHE)/prometheus
DEPLOY_LINT = $(CACHE)/deploy-lint-$(shell cksum deploy/lint.txt | cut -d ' ' -f 1)
.PHONY: lint-deploy
lint-deploy: python3
	$(call python-tools,$(DEPLOY_LINT),deploy/lint.txt)
	"$(DEPLOY_LINT)/bin/hadolint" --ignore DL3008 deploy/Dockerfile
	"$(DEPLOY_LINT)/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml
	@command -v promtool >/dev/null || [ -x "$(PROMETHEUS)/usr/bin/promtool" ] || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && mkdir -p "$(PROMETHEUS)" && cd "$(PROMETHEUS)" && \
			apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; }
	PATH="$$PATH:$(PROMETHEUS)/usr/bin" promtool check rules deploy/prometheus/alerts.yml
	PATH="$$PATH:$(PROMETHEUS)/usr/bin" promtool test rules deploy/prometheus/alerts_test.yml
	if command -v systemd-analyze >/dev/null; then \
		systemd-analyze security --offline=yes --threshold=20 deploy/adit.service >/dev/null; fi

# Each fuzz target of protocol and payouts for SECONDS, from the committed corpus and what earlier runs found. Nothing is written to
# the source: builds, corpus and what made a target fail are in the user's cache folder. No sanitizer, because there is
# no unsafe code to watch, and because this way the stable toolchain does.
SECONDS ?= 60
PROTOCOL_TARGETS ?= handshake frame messages connection
PAYOUTS_TARGETS ?= ofac_advanced ofac_sdn_xml ofac_sdn_csv eu_fsf uk_csv supplement
FUZZ_CACHE ?= $(CACHE)/fuzz
fuzz: tools
	@command -v c++ >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends g++; }
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd protocol && $(CARGO) fuzz build --sanitizer none --target-dir "$(FUZZ_CACHE)/target"
	cd payouts && $(CARGO) fuzz build --sanitizer none --target-dir "$(FUZZ_CACHE)/target"
	@for target in $(PROTOCOL_TARGETS:%=protocol/%) $(PAYOUTS_TARGETS:%=payouts/%); do \
		echo "== $$target"; \
		crate=$${target%/*} target=$${target#*/}; \
		mkdir -p "$(FUZZ_CACHE)/corpus/$$target" "$(FUZZ_CACHE)/artifacts/$$target"; \
		"$(FUZZ_CACHE)"/target/*/release/$$target -max_total_time=$(SECONDS) -max_len=1024 -len_control=20 \
			-rss_limit_mb=1024 -timeout=10 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix="$(FUZZ_CACHE)/artifacts/$$target/" \
			"$(FUZZ_CACHE)/corpus/$$target" "$$crate/fuzz/corpus/$$target" || exit 1; \
	done

# Finds bitcoind, or builds it (4 to 10 minutes, once).
bitcoind: tools
	$(CARGO) run --quiet -p bitcoind-regtest

# Installs PostgreSQL's server where there is none.
.PHONY: postgres
postgres: tools
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends postgresql; }

# Installs the library by which tests set the clock of a pool.
.PHONY: faketime
faketime:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends libfaketime; }

# Installs the program by which tests check XML against its schema.
.PHONY: xmllint
xmllint:
	@command -v xmllint >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends libxml2-utils; }

# Installs the language of the script that recounts reports, and the time zones that it looks up.
.PHONY: python3
python3:
	@command -v python3 >/dev/null && python3 -c 'import zoneinfo; zoneinfo.ZoneInfo("Europe/Brussels")' 2>/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends python3 tzdata; }

# Installs the browser in which tests look at pages, and the program that steers it; then the script that looks for what bars
# people from them.
.PHONY: browser
browser: axe
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && \
			$$as_root apt-get install -y -qq --no-install-recommends chromium chromium-driver; }

# Fetches axe-core into the user's cache folder, in the version and with the hash of tests/axe-core.sha256.
AXE = $(notdir $(patsubst %/axe.min.js,%,$(lastword $(shell cat tests/axe-core.sha256))))
.PHONY: axe
axe:
	@mkdir -p "$(CACHE)" && cd "$(CACHE)" && \
	sha256sum --status --check "$(CURDIR)/tests/axe-core.sha256" 2>/dev/null || { \
		command -v npm >/dev/null || { \
			as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
			$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends npm; }; \
		mkdir -p $(AXE) && npm pack --silent $(subst axe-core-,axe-core@,$(AXE)) >/dev/null && \
		tar --extract --gzip --file $(AXE).tgz --directory $(AXE) --strip-components 1 package/axe.min.js && \
		rm $(AXE).tgz && sha256sum --quiet --check "$(CURDIR)/tests/axe-core.sha256"; }

# $(call python-tools,FOLDER,FILE) installs what a file of versions and hashes names into a folder of the user's cache.
define python-tools
	@[ -e "$(1)/is-complete" ] || { \
		python3 -c 'import ensurepip' 2>/dev/null || { \
			as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
			$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends python3-venv; }; \
		rm -rf "$(1)" && python3 -m venv "$(1)" && \
		"$(1)/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r $(2) && touch "$(1)/is-complete"; }
endef

# Installs the program that tries the API by its description, with the versions and hashes of tests/schemathesis.txt.
SCHEMATHESIS = $(CACHE)/$(shell sed -n 's/^\(schemathesis\)==\([^ ]*\).*/\1-\2/p' tests/schemathesis.txt)
.PHONY: schemathesis
schemathesis: python3
	$(call python-tools,$(SCHEMATHESIS),tests/schemathesis.txt)

# The API alone, as a program sees it that knows its description and nothing else: some minutes.
.PHONY: test-api
test-api: bitcoind schemathesis
	$(CARGO) build --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; \
		then $(CARGO) nextest run --workspace --test pool conformance::; \
		else $(CARGO) test --workspace --test pool conformance::; fi

# The pages alone, in a browser. Pictures of them are left in target/screenshots.
.PHONY: test-pages
test-pages: bitcoind browser
	$(CARGO) build --workspace --bins
	if $(CARGO) nextest --version >/dev/null 2>&1; \
		then $(CARGO) nextest run --workspace --test browser; \
		else $(CARGO) test --workspace --test browser; fi

# What the build scripts of the reference implementation run.
.PHONY: interop-tools
interop-tools: tools
	@command -v capnp >/dev/null && command -v cmake >/dev/null && command -v c++ >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && \
			$$as_root apt-get install -y -qq --no-install-recommends capnproto libcapnp-dev cmake g++; }

# A C compiler for the crates that carry C code; everything else comes with cargo.
.PHONY: tools
tools:
	@command -v cc >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends gcc libc6-dev; }
