# SPDX-License-Identifier: Apache-2.0
# A thin front of meson and ninja; `make help` lists what there is.
#
#   V=1           show the commands
#   CC=clang      build with clang, in a build folder of its own
#   CMD='…'       what `make run` runs in the VM where there is no terminal
#   BENCH='…'     what `make bench` measures, and how: bench/run --help
#   DESTDIR, PREFIX   where `make install` installs

V      ?= 0
PREFIX ?= /usr/local
CMD    ?= uname -a

ifeq ($(origin CC),default)
CC     := gcc
endif
BUILD  := $(if $(filter gcc cc,$(CC)),build,build-$(notdir $(CC)))
VIREO  := $(BUILD)/vireo
CACHE  := $(or $(VIREO_CACHE),.cache/guest)
GUEST  := $(BUILD)/guest
NO_USERLAND := echo "tests with a user land will be skipped" >&2

ifeq ($(V),0)
Q      := @
NINJA  := ninja --quiet -C
else
Q      :=
NINJA  := ninja -v -C
endif

.DEFAULT_GOAL := all
.PHONY: all run test soak lab bench guest format check install clean help \
	setup setup-test

all: $(BUILD)/build.ninja
	$(Q)$(NINJA) $(BUILD)

# Meson notices by itself when its files change.
$(BUILD)/build.ninja:
	$(Q)command -v meson ninja >/dev/null || \
		{ echo "meson or ninja is missing: run tools/setup" >&2; exit 2; }
	$(Q)CC=$(CC) meson setup --prefix=$(abspath $(PREFIX)) $(BUILD) \
		>$(BUILD).log || { cat $(BUILD).log >&2; exit 1; }
	$(Q)mv $(BUILD).log $(BUILD)/setup.log

setup:
	$(Q)tools/setup build guest

setup-test:
	$(Q)tools/setup build guest test
	$(Q)tools/setup lab || echo "the lab's tests will be skipped" >&2
	$(Q)tools/fetch-guest modules || echo "the lab's tests will be skipped" >&2

# The default guest: Debian's cloud kernel, our init, busybox.
guest: all
	$(Q)VIREO_INIT=$(GUEST)/init VIREO_CACHE=$(CACHE) \
		tools/make-guest $(GUEST)

# A shell at a terminal; else one command, whose failure is make's failure.
run: setup
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)if [ -t 0 ] && [ -t 1 ]; then $(VIREO) run; \
		else $(VIREO) run -- sh -c '$(subst ','\'',$(CMD))'; fi

test: setup-test
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)tools/fetch-guest generic memtest
	$(Q)tools/make-userland small || $(NO_USERLAND)
	$(Q)tools/run-tests --build $(BUILD)

# Everything, longer; the log stays.
soak: setup-test
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)tools/fetch-guest generic memtest
	$(Q)tools/make-userland || $(NO_USERLAND)
	$(Q)tools/run-tests --build $(BUILD) --soak --log soak.log

# Tests with real KVM and devices, in an outer host that QEMU emulates.
lab: setup-test
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)tools/run-tests --build $(BUILD) --only lab

# Vireo, QEMU and the bare host in turns.
bench:
	$(Q)tools/setup build guest lab
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)tools/fetch-guest generic
	$(Q)$(NINJA) $(BUILD) bench/guestbench bench/kvm-bare
	$(Q)bench/run --build $(BUILD) $(BENCH)

check:
	$(Q)tools/run-tests --build $(BUILD) --only tools

format:
	$(Q)tools/setup format
	$(Q)git ls-files '*.[ch]' | xargs clang-format -i

install: all
	$(Q)meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX))
	$(Q)$(NINJA) $(BUILD)
	$(Q)DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet --no-rebuild

clean:
	$(Q)rm -rf build build-*

help:
	@echo 'make           build $(VIREO)'
	@echo 'make run       set up, build, boot the default guest: a shell at'
	@echo "               a terminal, else CMD='$(CMD)'"
	@echo 'make test      all tests, one summary line'
	@echo 'make soak      all tests, longer; writes soak.log'
	@echo "make lab       the lab's tests only: KVM in an emulated host"
	@echo "make bench     measure beside QEMU and the bare host; BENCH='--quick',"
	@echo "               BENCH=guestbench/int_qsort, BENCH='--help'"
	@echo 'make guest     fetch and build the default guest'
	@echo 'make check     layer, size and style rules only'
	@echo 'make format    clang-format over the tree'
	@echo 'make install   binary, man page, default-guest recipe'
	@echo 'make clean     remove the build folders; .cache stays'
	@echo 'options        V=1 CC=clang DESTDIR= PREFIX='
