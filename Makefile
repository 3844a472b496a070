# A thin front of Meson; `make help` says what there is.
MESON_ARGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SOAK_SECONDS ?= 3600
# The distribution's, for which setup installs what the tests import.
PYTHON ?= /usr/bin/python3
comma := ,
export LSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/support/lsan.supp:print_suppressions=0
.DEFAULT_GOAL := help
.PHONY: help setup build run run-operator observe test test-units test-integration test-cluster lint format figures soak fuzz \
	tsan clang valgrind hardening limits install clean

# Configures a build folder once; ninja notices later changes of the build files. $(1): folder, $(2): environment, $(3): options.
configure = test -e build/$(1)/build.ninja || $(2) meson setup build/$(1) $(3) $(MESON_ARGS) >build/$(1).log || \
	{ tail -n 20 build/$(1).log; exit 1; }
release_options = -Dbuildtype=release -Db_lto=true -Db_ndebug=true -Dtests=false -Dstatic_hello=true -Dstatic_operator=true
test_options = -Dbuildtype=debug -Doptimization=1 --werror

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 20

setup: ## installs from the distribution what build and tests need (as root or with sudo)
	@tools/setup

build: setup ## release programs in build/bin
	@$(call configure,release,CC=gcc,$(release_options))
	@ninja -C build/release --quiet
	@tools/split-debug build/release build/bin

run: build ## runs the users service on http://localhost:8080 over an SQLite file
	@test -x build/bin/users || { echo "make run: apps/users is not built yet: its layers are not complete"; exit 1; }
	@echo "users: http://localhost:8080/users"
	@exec ./build/bin/users

observe: build ## runs users with Prometheus and Jaeger, sends some traffic, prints what to open
	@tools/observe

# The cluster that the kubeconfig at hand names; AGENT_IMAGE must be there for instances to start.
run-operator: build ## installs the kind Database and runs the operator against KUBECONFIG's cluster
	@exec ./build/bin/database-operator run --install-crd --no-leader.elect --threads=1 $(OPERATOR_ARGS)

test-cluster: setup ## tests against a real API server: PROA_KUBERNETES=folder of kubelab, or KUBECONFIG and PROA_CLUSTER_TESTS=1
	@$(call configure,test,CC=gcc,$(test_options) -Db_sanitize=address$(comma)undefined)
	@ninja -C build/test --quiet
	@tools/run-tests build/test --suite cluster
	@PROA_BUILD=$(CURDIR)/build/test $(PYTHON) -m pytest -q -rs tests/cluster

test: test-units test-integration ## all tests, under the address and undefined behaviour sanitizers

test-units: setup
	@$(call configure,test,CC=gcc,$(test_options) -Db_sanitize=address$(comma)undefined)
	@ninja -C build/test --quiet
	@tools/run-tests build/test --no-suite cluster

test-integration: test-units
	@if [ -d tests/integration ]; then PROA_BUILD=$(CURDIR)/build/test $(PYTHON) -m pytest -q tests/integration; \
	else echo "tests/integration: none yet"; fi

# Some tests fork processes of their own. Whole programs with several loops:
tsan: export TSAN_OPTIONS ?= die_after_fork=0
tsan_tests = hello lifecycle users_crud postgres_faults

tsan: setup ## the tests that use threads, under the thread sanitizer
	@$(call configure,tsan,CC=gcc,$(test_options) -Db_sanitize=thread)
	@ninja -C build/tsan --quiet
	@tools/run-tests build/tsan --suite unit --suite sim
	@PROA_BUILD=$(CURDIR)/build/tsan $(PYTHON) -m pytest -q $(addprefix tests/integration/test_,$(tsan_tests:=.py))

clang: setup ## all unit tests built by clang, without sanitizers
	@$(call configure,clang,CC=clang,$(test_options))
	@ninja -C build/clang --quiet
	@tools/run-tests build/clang --suite unit --suite sim --suite fuzz

# Unit tests that move between stacks. Tests of faults are left out: valgrind would count their children's faults too.
valgrind_tests = base/arena base/buf rt/blocking rt/fiber rt/file rt/loop rt/loops rt/sync rt/timer
valgrind = valgrind -q --error-exitcode=9 --leak-check=full

valgrind: setup ## the fibers' unit tests under valgrind, which is told of their stacks
	@$(call configure,clang,CC=clang,$(test_options))
	@ninja -C build/clang --quiet
	@tools/run-tests build/clang --timeout-multiplier 10 --wrapper "$(valgrind)" $(valgrind_tests)

hardening: build ## reads from the release programs that they are hardened
	@tools/check-binary --self-test
	@tools/check-binary --static build/bin/hello build/bin/database-operator
	@tools/check-binary build/bin/users

# An address sanitizer reserves terabytes, so `make test` leaves out what limits the address space.
limits: build ## the release programs under limits of address space and descriptors
	@PROA_BUILD=$(CURDIR)/build/release $(PYTHON) -m pytest -q tests/integration/test_limits_process.py

lint: setup ## format, clang-tidy, layers, forbidden functions, shell scripts
	@$(call configure,clang,CC=clang,$(test_options))
	@tools/lint build/clang

format: ## formats the C files
	@clang-format -i $$(git ls-files '*.c' '*.h')

figures: build ## measures what the README quotes
	@bench/figures

fuzz: setup ## each fuzzer for 15 seconds
	@tools/fuzz 15

soak: setup ## each fuzzer for SOAK_SECONDS
	@tools/fuzz $(SOAK_SECONDS)

install: build ## libraries, headers and pkg-config files below PREFIX (and DESTDIR)
	@meson configure build/release -Dprefix=$(PREFIX) && ninja -C build/release --quiet >build/install.log
	@DESTDIR=$(DESTDIR) meson install -C build/release --quiet

clean: ## removes what was built, but not what setup fetched
	@mkdir -p build && find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -r {} +

