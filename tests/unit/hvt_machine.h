/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that serves hvt's calls, without an engine: handle 1 is a disk of
 * HVT_MACHINE_DISK bytes, handle 2 the network at whose other end wire[1] is,
 * and what is put out is in out[0].
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/block.h"
#include "backend/net.h"
#include "chips/hvt.h"
#include "vireo/hvt_abi.h"
#include "vm_fixture.h"

#define HVT_MACHINE_RAM MIB(4)
#define HVT_MACHINE_DISK 4096
#define HVT_MACHINE_BLOCK 0x200000 /* of a call */
#define HVT_MACHINE_BUFFER 0x201000
#define HVT_MACHINE_CODE 0x300000 /* a page that may not be written */

struct hvt_machine {
	struct vm *vm;
	struct device *dev;
	int out[2], wire[2];
	char path[32];
};

static inline void hvt_machine_disk(struct hvt_machine *m)
{
	const struct block_config config = {.path = m->path};
	struct block *block;
	int fd;

	strcpy(m->path, "/tmp/hvt_machine.XXXXXX");
	fd = mkstemp(m->path);
	if (fd < 0 || ftruncate(fd, HVT_MACHINE_DISK) || close(fd) ||
	    block_open(&block, &config, NULL))
		fail_msg("no disk");
	hvt_attach_block(m->dev, 1, block);
}

static inline void hvt_machine_net(struct hvt_machine *m)
{
	struct net *net;
	char name[16];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, m->wire))
		fail_msg("no sockets");
	snprintf(name, sizeof(name), "@%d", m->wire[0]);
	if (net_open_tap(&net, name, NULL))
		fail_msg("no network");
	hvt_attach_net(m->dev, 2, net);
}

static inline void hvt_machine_make(struct hvt_machine *m)
{
	const struct vm_config config = {
		.engine = &fixture_engine,
		.irqchip = VM_IRQCHIP_NONE,
		.ram_size = HVT_MACHINE_RAM,
		.cpus = 1,
		.cpu = &fixture_cpu,
		.clock = {1000000, false, "test"},
	};

	if (vm_create(&config, &m->vm, NULL) || pipe2(m->out, O_CLOEXEC))
		fail_msg("no machine");
	m->vm->consoles[0].out_fd = m->out[1];
	m->dev = fixture_device(m->vm, "hvt-calls", NULL);
	hvt_machine_disk(m);
	hvt_machine_net(m);
	if (mem_protect(&m->vm->mem, HVT_MACHINE_CODE, HVT_PAGE, MEM_R | MEM_X))
		fail_msg("no rights");
}

static inline void hvt_machine_drop(struct hvt_machine *m)
{
	vm_destroy(m->vm);
	close(m->out[0]);
	close(m->out[1]);
	close(m->wire[0]);
	close(m->wire[1]);
	unlink(m->path);
}

static inline void hvt_machine_out(struct hvt_machine *m, u16 port, u32 val)
{
	bus_write(&m->vm->bus, BUS_PIO, port, 4, 1, &val);
}
