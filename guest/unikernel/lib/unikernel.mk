# SPDX-License-Identifier: Apache-2.0
# How to make a unikernel: include this, then say which objects it consists of:
#
#	include /usr/local/lib/vireo/unikernel/unikernel.mk
#	app.hvt: app.o more.o
#
# Yours to set: CFLAGS (default -O2 -g -Wall), UNIKERNEL_STACK (bytes),
# UNIKERNEL_FPU=yes (allows floating point and SSE).
UNIKERNEL := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

CFLAGS ?= -O2 -g -Wall
UNIKERNEL_CFLAGS := -std=gnu17 -ffreestanding -fno-pie -fcf-protection=none \
	-fno-asynchronous-unwind-tables -fstack-protector-strong \
	-mstack-protector-guard=global -ffunction-sections -fdata-sections \
	$(if $(UNIKERNEL_FPU),,-mgeneral-regs-only) -I$(UNIKERNEL)/include
UNIKERNEL_LDFLAGS := -nostdlib -static -no-pie -T $(UNIKERNEL)/unikernel.ld \
	-Wl,--gc-sections -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
	$(if $(UNIKERNEL_STACK),-Wl$(,)--defsym=STACK_SIZE=$(UNIKERNEL_STACK))
, := ,

%.o: %.c
	$(CC) $(UNIKERNEL_CFLAGS) $(CFLAGS) -c -o $@ $<

%.hvt: $(UNIKERNEL)/unikernel.ld $(UNIKERNEL)/libunikernel.a
	$(CC) $(UNIKERNEL_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) \
		$(UNIKERNEL)/libunikernel.a
