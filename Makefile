# A thin front of Meson; `make help` says what there is.
MESON_ARGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SOAK_SECONDS ?= 3600
SIM_SECONDS ?= 180
# The distribution's, for which setup installs what the tests import.
PYTHON ?= /usr/bin/python3
BENCH ?= fiber_switch json obs sqlite
comma := ,
export LSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/support/lsan.supp:print_suppressions=0
.DEFAULT_GOAL := help
.PHONY: bench sim help setup setup-build build run agent-image engine-images run-operator observe test test-units test-integration test-cluster \
	test-nodes lint format figures soak fuzz tsan clang valgrind hardening limits seldom install clean

# Configures a build folder, again when its options have changed here; ninja notices later changes of the build files. $(1): folder,
# $(2): environment, $(3): options.
configure = echo '$(3) $(MESON_ARGS)' | cmp -s - build/$(1)/options || { test ! -e build/$(1)/build.ninja || again=--reconfigure; \
	$(2) meson setup $$again build/$(1) $(3) $(MESON_ARGS) >build/$(1).log && echo '$(3) $(MESON_ARGS)' >build/$(1)/options; } || \
	{ tail -n 20 build/$(1).log; exit 1; }
release_options = -Dbuildtype=release -Db_lto=true -Db_ndebug=true -Dtests=false -Dstatic_hello=true -Dstatic_operator=true
test_options = -Dbuildtype=debug -Doptimization=1 --werror

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 20

# The linker warns of what static programs cannot have; what this log holds is shown when a build fails. $(1): targets, none: all.
release = $(call configure,release,CC=gcc,$(release_options)) && \
	{ ninja -C build/release --quiet $(1) >build/release-ninja.log 2>&1 || { tail -n 40 build/release-ninja.log; exit 1; }; } && \
	tools/split-debug build/release build/bin && tools/notices build/bin/NOTICES

setup: ## installs from the distribution what build and tests need (as root or with sudo)
	@tools/setup

setup-build:
	@tools/setup build

build: setup-build ## release programs in build/bin
	@$(call release)

run: setup-build ## runs the users service on http://localhost:8080 over an SQLite file
	@test -x build/bin/users || echo "run: compiling users"
	@$(call release,apps/users)
	@echo "users: http://localhost:$${PORT:-8080}/users"
	@exec ./build/bin/users

observe: build ## runs users with Prometheus and Jaeger, as far as they are installed, sends some traffic, prints what to open
	@tools/observe

operator = apps/database-operator/database-operator

# Image archives in build/images, made once. IMAGE_LOAD puts them into the cluster at hand: kubelab:DIR, kind[:NAME],
# minikube[:PROFILE], or a command that takes archives.
IMAGE_LOAD ?=
ENGINE_IMAGES ?= postgres-17 postgres-15 mariadb-10.11
archives = $(1:%=build/images/%.tar)
load = $(if $(IMAGE_LOAD),tools/image-load '$(IMAGE_LOAD)' $(call archives,$(1)))

agent-image: setup-build ## image archive of database-operator, from which instances get their agent; IMAGE_LOAD=kind loads it
	@$(call release,$(operator))
	@tools/image deploy/images/database-operator.json
	@$(call load,database-operator)

engine-images: ## image archives of PostgreSQL and MariaDB from Debian's packages, for tests; IMAGE_LOAD=kind loads them
	@tools/need mmdebstrap
	@tools/image $(ENGINE_IMAGES:%=deploy/images/%.json)
	@$(call load,$(ENGINE_IMAGES))

# With engine images made here, instances run those instead of a registry's.
local_images = $(if $(wildcard build/images/postgres-*.tar),--images.postgres=localhost/proa/postgres:{version})
run-operator: setup-build ## installs the kind Database and runs the operator against KUBECONFIG's cluster (first: agent-image engine-images)
	@$(call release,$(operator))
	@echo "run-operator: instances of postgres run $(if $(local_images),what make engine-images made,postgres:VERSION of a registry); docs/database-operator.md, Images"
	@exec ./build/bin/database-operator run --install-crd --no-leader.elect --threads=1 $(local_images) $(OPERATOR_ARGS)

test-cluster: setup ## tests against a real API server: by PROA_KUBERNETES, or KUBECONFIG and PROA_CLUSTER_TESTS=1 (tests/README.md)
	@$(call configure,test,CC=gcc,$(test_options) -Db_sanitize=address$(comma)undefined)
	@ninja -C build/test --quiet
	@tools/run-tests build/test --suite cluster
	@PROA_BUILD=$(CURDIR)/build/test $(PYTHON) -m pytest -q -rs tests/cluster
	@$(MAKE) --no-print-directory test-nodes

# The same two clusters; as root with the first, and with IMAGE_LOAD for the second.
test-nodes: setup ## the part of test-cluster with nodes and pods: PostgreSQL under a writer, its nodes switched off and on
	@$(call configure,test,CC=gcc,$(test_options) -Db_sanitize=address$(comma)undefined)
	@ninja -C build/test --quiet apps/database-operator/database-operator
	@$(if $(PROA_KUBERNETES)$(PROA_CLUSTER_TESTS),$(MAKE) --no-print-directory agent-image engine-images ENGINE_IMAGES="postgres-17 mariadb-10.11")
	@PROA_BUILD=$(CURDIR)/build/test $(PYTHON) -m pytest -q -rs tests/nodes

test: test-units test-integration ## all tests, under the address and undefined behaviour sanitizers

test-units: setup ## unit tests, simulations, contracts, kept inputs of fuzzers, checks of documentation and tree
	@$(call configure,test,CC=gcc,$(test_options) -Db_sanitize=address$(comma)undefined)
	@ninja -C build/test --quiet
	@tools/run-tests build/test --no-suite cluster

test-integration: test-units ## whole programs with real sockets, signals and databases
	@$(PYTHON) tools/run-integration build/test

# Some tests fork processes of their own. Whole programs, with two loops also where there is one CPU:
tsan: export TSAN_OPTIONS ?= die_after_fork=0
tsan_tests = hello lifecycle users_crud postgres_faults reload secret_rotation http_hostile

tsan: setup ## the tests that use threads, under the thread sanitizer
	@$(call configure,tsan,CC=gcc,$(test_options) -Db_sanitize=thread)
	@ninja -C build/tsan --quiet
	@tools/run-tests build/tsan --suite unit --suite sim
	@THREADS=2 PROA_BUILD=$(CURDIR)/build/tsan $(PYTHON) -m pytest -q $(addprefix tests/integration/test_,$(tsan_tests:=.py))

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
	@tools/seldom --check $(seldom_map) apps/database-operator/seldom.ld

# Of the program that ran, so nothing is built here.
seldom_map = build/release/$(operator).map
seldom: ## makes the order of the operator's code anew, from its runs under valgrind: CALLGRIND_OUT='FILE...' (tools/seldom)
	@test -n "$(CALLGRIND_OUT)" && test -e $(seldom_map) || \
		{ echo "seldom: CALLGRIND_OUT must name runs of the program of make build; tools/seldom says which" >&2; exit 1; }
	@tools/seldom $(seldom_map) $(CALLGRIND_OUT) >build/seldom.ld
	@mv build/seldom.ld apps/database-operator/seldom.ld

# An address sanitizer reserves terabytes, so `make test` leaves out what limits the address space.
limits: build ## the release programs under limits of address space and descriptors
	@PROA_BUILD=$(CURDIR)/build/release $(PYTHON) -m pytest -q tests/integration/test_limits_process.py

lint: setup ## format, clang-tidy, layers, forbidden functions, shell scripts
	@$(call configure,clang,CC=clang,$(test_options))
	@tools/lint build/clang

format: ## formats the C files
	@clang-format -i $$(git ls-files '*.c' '*.h')

figures: setup build ## measures what the README quotes
	@bench/figures

bench: setup-build ## what single modules cost: fibers, JSON, logs and metrics, SQLite (BENCH=json: one)
	@$(call release,$(BENCH:%=bench/%))
	@for name in $(BENCH); do echo "== $$name" && build/release/bench/$$name || exit 1; done

fuzz: setup ## each fuzzer for 15 seconds
	@tools/fuzz 15

sim: setup ## the operator by ever new seeds of the simulation for SIM_SECONDS
	@$(call configure,clang,CC=clang,$(test_options))
	@tools/sim $(SIM_SECONDS)

soak: setup ## each fuzzer, then the simulation, for SOAK_SECONDS
	@tools/fuzz $(SOAK_SECONDS)
	@$(MAKE) --no-print-directory sim SIM_SECONDS=$(SOAK_SECONDS)

install: build ## libraries, headers and pkg-config files below PREFIX (and DESTDIR)
	@meson configure build/release -Dprefix=$(PREFIX) && ninja -C build/release --quiet >build/install.log
	@DESTDIR=$(DESTDIR) meson install -C build/release --quiet --no-rebuild
	@install -m 644 build/bin/NOTICES $(DESTDIR)$(PREFIX)/share/doc/proa/

clean: ## removes what was built, but not what setup fetched
	@mkdir -p build && find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -r {} +

