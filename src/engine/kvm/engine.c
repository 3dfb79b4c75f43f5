/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM engine behind engine.h: creation, destruction, counters.
 *
 * References: kvm.h [1], sections 4.1 to 4.10.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fd.h"

#define KVM_API 12 /* the stable one, since 2007 */

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

bool kvm_has_cap(int fd, int cap)
{
	return kvm_ioctl_num(fd, KVM_CHECK_EXTENSION, (unsigned long)cap) > 0;
}

/* ---- the device -------------------------------------------------------- */

static int open_failed(int error, struct err *err)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(err, -error,
			       "there is no KVM on this host (/dev/kvm: %s)",
			       strerror(error));
	case EACCES:
	case EPERM:
		return err_set(err, -error,
			       "/dev/kvm may not be opened: %s; join the group "
			       "that owns it (often 'kvm')",
			       strerror(error));
	default:
		return err_set(err, -error, "/dev/kvm: %s", strerror(error));
	}
}

/* The descriptor, or -errno. */
static int open_kvm(struct err *err)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
		{KVM_CAP_PIT2, "KVM_CAP_PIT2"},
		{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
		{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
		{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
		{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
		{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
		{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
	};
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), version;

	if (fd < 0)
		return open_failed(errno, err);
	version = kvm_ioctl_num(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API) {
		close(fd);
		return err_set(err, -ENOTSUP,
			       "/dev/kvm speaks version %d, not %d", version,
			       KVM_API);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
		if (kvm_has_cap(fd, needed[i].cap))
			continue;
		close(fd);
		return err_set(err, -ENOTSUP,
			       "this host's KVM is too old: it has no %s",
			       needed[i].name);
	}
	return fd;
}

static int probe(struct err *err)
{
	int fd = open_kvm(err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int kvm_cpu_offer(struct cpu_offer *offer, struct err *err)
{
	int fd = open_kvm(err), ret;

	if (fd < 0)
		return fd;
	ret = kvm_read_offer(fd, offer, err);
	close(fd);
	return ret;
}

/* ---- VM ---------------------------------------------------------------- */

static void vm_fini(struct vm *vm)
{
	struct kvm_machine *m = vm->engine_vm;

	if (!m)
		return;
	kvm_mem_fini(m);
	fd_close(&m->vm_fd);
	fd_close(&m->kvm_fd);
	pthread_mutex_destroy(&m->route_lock);
	pthread_mutex_destroy(&m->refused_lock);
	free(m->pit_given);
	free(m->offer);
	free(m);
	vm->engine_vm = NULL;
}

static struct kvm_machine *machine_alloc(struct vm *vm)
{
	struct kvm_machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->offer = calloc(1, sizeof(*m->offer));
	if (!m->offer) {
		free(m);
		return NULL;
	}
	m->vm = vm;
	m->kvm_fd = m->vm_fd = -1;
	for (unsigned i = 0; i < KVM_MAX_IRQFDS; i++)
		m->irqfds[i].fd = -1;
	pthread_mutex_init(&m->route_lock, NULL);
	pthread_mutex_init(&m->refused_lock, NULL);
	return m;
}

static void read_caps(struct kvm_machine *m)
{
	int fd = m->kvm_fd;

	m->caps = (struct kvm_caps){
		.sregs2 = kvm_has_cap(fd, KVM_CAP_SREGS2),
		.tsc_deadline = kvm_has_cap(fd, KVM_CAP_TSC_DEADLINE_TIMER),
		.xcrs = kvm_has_cap(fd, KVM_CAP_XCRS),
		.readonly_mem = kvm_has_cap(fd, KVM_CAP_READONLY_MEM),
		.debug = kvm_has_cap(fd, KVM_CAP_SET_GUEST_DEBUG),
	};
}

static int create_vm(struct kvm_machine *m, struct err *err)
{
	int ret;

	do
		ret = kvm_ioctl_num(m->kvm_fd, KVM_CREATE_VM, 0);
	while (ret == -EINTR);
	if (ret < 0)
		return err_set(err, ret, "KVM cannot create a VM: %s",
			       strerror(-ret));
	m->vm_fd = ret;
	ret = kvm_ioctl_num(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < (int)sizeof(struct kvm_run))
		return err_set(err, -EIO, "KVM_GET_VCPU_MMAP_SIZE: %d", ret);
	m->run_size = (size_t)ret;
	return 0;
}

static int vm_init(struct vm *vm, struct err *err)
{
	struct kvm_machine *m = machine_alloc(vm);
	int ret;

	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	vm->engine_vm = m;
	ret = m->kvm_fd = open_kvm(err);
	if (ret >= 0) {
		read_caps(m);
		ret = 0;
		if (vm->offer)
			*m->offer = *vm->offer;
		else
			ret = kvm_read_offer(m->kvm_fd, m->offer, err);
	}
	if (!ret)
		ret = create_vm(m, err);
	if (!ret)
		ret = kvm_filter_msrs(m, err);
	if (!ret && kvm_has_irqchip(m))
		ret = kvm_chips_init(m, err);
	if (!ret)
		kvm_mem_init(m);
	else
		vm_fini(vm);
	return ret;
}

/* ---- vCPU -------------------------------------------------------------- */

static void cpu_fini(struct vcpu *vcpu)
{
	struct kvm_cpu *k = vcpu->engine;

	if (!k)
		return;
	vcpu->engine = NULL;
	if (k->run)
		munmap(k->run, k->machine->run_size);
	fd_close(&k->fd);
	free(k);
}

/* The kick's signal, and none else, is let through in KVM_RUN. */
static int set_signal_mask(struct kvm_cpu *k, struct err *err)
{
	union {
		struct kvm_signal_mask mask;
		u8 bytes[sizeof(struct kvm_signal_mask) + 8];
	} arg = {.mask = {.len = 8}};
	u64 blocked = ~(1ull << (kvm_signal() - 1));
	int ret;

	memcpy(arg.mask.sigset, &blocked, sizeof(blocked));
	ret = kvm_ioctl(k->fd, KVM_SET_SIGNAL_MASK, &arg);
	return ret ? err_set(err, ret, "KVM_SET_SIGNAL_MASK: %s",
			     strerror(-ret))
		   : 0;
}

static int open_vcpu(struct kvm_cpu *k, struct err *err)
{
	struct kvm_machine *m = k->machine;
	void *run;
	int ret;

	do
		ret = kvm_ioctl_num(m->vm_fd, KVM_CREATE_VCPU, k->vcpu->id);
	while (ret == -EINTR);
	if (ret < 0)
		return err_set(err, ret, "KVM cannot create vcpu%u: %s",
			       k->vcpu->id, strerror(-ret));
	k->fd = ret;
	run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
		   0);
	if (run == MAP_FAILED)
		return err_set(err, -errno, "cannot map vcpu%u: %s",
			       k->vcpu->id, strerror(errno));
	k->run = run;
	return 0;
}

static int cpu_init(struct vcpu *vcpu, struct err *err)
{
	struct kvm_cpu *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return err_set(err, -ENOMEM, "out of memory");
	k->vcpu = vcpu;
	k->machine = kvm_machine(vcpu->vm);
	k->fd = -1;
	vcpu->engine = k;
	ret = open_vcpu(k, err);
	if (!ret)
		ret = set_signal_mask(k, err);
	if (!ret)
		ret = kvm_set_cpuid(k, err);
	if (!ret)
		ret = kvm_check_tsc(k, err);
	if (ret)
		cpu_fini(vcpu);
	return ret;
}

static void stats(struct vm *vm, char *buf, size_t len)
{
	static const char *const names[KVM_STAT_COUNT] = {
		"exits", "port_exits", "mmio_exits", "signals", "unknown_msrs",
	};
	size_t used = 0;

	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		const struct kvm_cpu *k = vm->vcpus[i]->engine;

		for (unsigned s = 0; s < KVM_STAT_COUNT && used < len; s++)
			used += (size_t)snprintf(buf + used, len - used,
						 "vcpu%u.%s %" PRIu64 "\n", i,
						 names[s], k->stats[s]);
	}
	if (used < len)
		snprintf(buf + used, len - used, "refused_msrs %u\n",
			 kvm_machine(vm)->refused.count);
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.probe = probe,
	.vm_create = vm_init,
	.vm_destroy = vm_fini,
	.vcpu_create = cpu_init,
	.vcpu_destroy = cpu_fini,
	.run = kvm_run,
	.kick = kvm_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.stats = stats,
	.resume = kvm_resume,
	.pause = kvm_pause,
	.cpu_offer = kvm_cpu_offer,
	.clock_source = clock_probe_tsc,
	.speed = kvm_speed,
	.set_debug = kvm_set_debug,
	.irqfd = kvm_irqfd,
	.msi_route = kvm_msi_route,
	.msi_unroute = kvm_msi_unroute,
	.doorbell = kvm_doorbell,
	.dirty_log = kvm_dirty_log,
	.dirty_get = kvm_dirty_get,
};
