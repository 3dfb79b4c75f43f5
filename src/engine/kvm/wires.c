/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GSIs and where they lead, messages, and the ways past the run loop: irqfd
 * and ioeventfd.
 *
 * References: kvm.h [1] 4.52 (KVM_SET_GSI_ROUTING), 4.59 (KVM_IOEVENTFD), 4.75
 * (KVM_IRQFD), 4.77 (KVM_SIGNAL_MSI).
 *
 * GSIs 0 to 23 are lines, wired as irq.h says. From MSI_GSI on each stands for
 * one message.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
	MSI_GSI = IRQ_GSI_COUNT,
	PIC_PINS = 16,
	PIC_CASCADE = 2,
	IOAPIC_PIT = 2
};

int kvm_send_msi(struct kvm_machine *m, u64 addr, u32 data)
{
	struct kvm_msi msi = {
		.address_lo = (u32)addr,
		.address_hi = (u32)(addr >> 32),
		.data = data,
	};

	return kvm_ioctl(m->vm_fd, KVM_SIGNAL_MSI, &msi);
}

/* ---- routes ------------------------------------------------------------ */

static void add_pin(struct kvm_irq_routing *table, unsigned gsi, u32 chip,
		    unsigned pin)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = pin},
	};
}

static void add_lines(struct kvm_irq_routing *table)
{
	for (unsigned gsi = 0; gsi < IRQ_GSI_COUNT; gsi++) {
		if (gsi == PIC_CASCADE)
			continue;
		if (gsi < 8)
			add_pin(table, gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		else if (gsi < PIC_PINS)
			add_pin(table, gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8);
		add_pin(table, gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : IOAPIC_PIT);
	}
}

/* m->route_lock is held, but while the VM is created. */
int kvm_set_routes(struct kvm_machine *m)
{
	const size_t most = IRQ_GSI_COUNT + PIC_PINS + KVM_MAX_MSI_ROUTES;
	struct kvm_irq_routing *table;
	int ret;

	table = calloc(1, sizeof(*table) + most * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	add_lines(table);
	for (unsigned i = 0; i < KVM_MAX_MSI_ROUTES; i++) {
		if (!m->routed[i])
			continue;
		table->entries[table->nr++] = (struct kvm_irq_routing_entry){
			.gsi = MSI_GSI + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi =
				{
					.address_lo = (u32)m->routes[i].addr,
					.address_hi =
						(u32)(m->routes[i].addr >> 32),
					.data = m->routes[i].data,
				},
		};
	}
	ret = kvm_ioctl(m->vm_fd, KVM_SET_GSI_ROUTING, table);
	free(table);
	return ret;
}

int kvm_msi_route(struct vm *vm, u64 addr, u32 data)
{
	struct kvm_machine *m = kvm_machine(vm);
	unsigned i = 0;
	int ret = -ENOSPC;

	pthread_mutex_lock(&m->route_lock);
	while (i < KVM_MAX_MSI_ROUTES && m->routed[i])
		i++;
	if (i < KVM_MAX_MSI_ROUTES) {
		m->routes[i] = (struct kvm_msi_route){addr, data};
		m->routed[i] = 1;
		ret = kvm_set_routes(m);
		m->routed[i] = !ret;
	}
	pthread_mutex_unlock(&m->route_lock);
	return ret ? ret : (int)(MSI_GSI + i);
}

int kvm_msi_unroute(struct vm *vm, unsigned gsi)
{
	struct kvm_machine *m = kvm_machine(vm);
	unsigned i = gsi - MSI_GSI;
	int ret;

	if (gsi < MSI_GSI || i >= KVM_MAX_MSI_ROUTES)
		return -EINVAL;
	pthread_mutex_lock(&m->route_lock);
	m->routed[i] = 0;
	ret = kvm_set_routes(m);
	pthread_mutex_unlock(&m->route_lock);
	return ret;
}

/* ---- eventfds ---------------------------------------------------------- */

static int set_irqfd(struct kvm_machine *m, int fd, unsigned gsi, bool on)
{
	struct kvm_irqfd arg = {
		.fd = (u32)fd,
		.gsi = gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return kvm_ioctl(m->vm_fd, KVM_IRQFD, &arg);
}

/* The list's entry of fd and gsi, or a free one for -1. */
static struct kvm_wire *find_wire(struct kvm_machine *m, int fd, unsigned gsi)
{
	for (unsigned i = 0; i < KVM_MAX_IRQFDS; i++)
		if (m->irqfds[i].fd == fd &&
		    (fd < 0 || m->irqfds[i].gsi == gsi))
			return &m->irqfds[i];
	return NULL;
}

static int add_wire(struct kvm_machine *m, int fd, unsigned gsi)
{
	struct kvm_wire *wire = find_wire(m, -1, 0);
	int ret = 0;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	for (unsigned i = 0; i < KVM_MAX_IRQFDS; i++)
		if (m->irqfds[i].fd == fd)
			return -EBUSY;
	if (!wire)
		return -ENOSPC;
	if (m->wired)
		ret = set_irqfd(m, fd, gsi, true);
	if (!ret)
		*wire = (struct kvm_wire){fd, gsi};
	return ret;
}

static int remove_wire(struct kvm_machine *m, int fd, unsigned gsi)
{
	struct kvm_wire *wire = fd < 0 ? NULL : find_wire(m, fd, gsi);

	if (!wire)
		return -ENOENT;
	wire->fd = -1;
	return m->wired ? set_irqfd(m, fd, gsi, false) : 0;
}

int kvm_irqfd(struct vm *vm, int fd, unsigned gsi, bool on)
{
	struct kvm_machine *m = kvm_machine(vm);
	int ret;

	pthread_mutex_lock(&m->route_lock);
	ret = on ? add_wire(m, fd, gsi) : remove_wire(m, fd, gsi);
	pthread_mutex_unlock(&m->route_lock);
	return ret;
}

/*
 * The kernel raises what a descriptor stands for whenever it is signalled, in
 * chips and LAPICs that are to be overwritten at the next resume, too. While
 * they are not its own it has no descriptors: a signal stays in the eventfd,
 * and is seen as the descriptor is given back.
 */
int kvm_wire_up(struct kvm_machine *m, bool on)
{
	int ret = 0;

	pthread_mutex_lock(&m->route_lock);
	for (unsigned i = 0; !ret && i < KVM_MAX_IRQFDS; i++)
		if (m->irqfds[i].fd >= 0 && m->wired != on)
			ret = set_irqfd(m, m->irqfds[i].fd, m->irqfds[i].gsi,
					on);
	m->wired = on;
	pthread_mutex_unlock(&m->route_lock);
	return ret;
}

int kvm_doorbell(struct vm *vm, const struct engine_doorbell *bell, bool on)
{
	struct kvm_ioeventfd arg = {
		.addr = bell->addr,
		.len = bell->len,
		.fd = bell->fd,
		.datamatch = bell->value,
	};

	if (!bell->mmio)
		arg.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (bell->match)
		arg.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	if (!on)
		arg.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	return kvm_ioctl(kvm_machine(vm)->vm_fd, KVM_IOEVENTFD, &arg);
}
