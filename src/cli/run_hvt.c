/* SPDX-License-Identifier: Apache-2.0 */
/* A Solo5 hvt image from file to exit status. */
#include "cli/run_hvt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/x86_state.h"
#include "cli/cli.h"
#include "cli/engine_choice.h"
#include "cli/hvt_core.h"
#include "cli/run_vm.h"
#include "util/log.h"

struct hvt_machine {
	struct run_hvt *run;
	struct hvt_image image;
	struct cpu_policy cpu;
	struct x86_state state;
	struct vm *vm;
	struct device *calls;
	char cmdline[HVT_CMDLINE_MAX];
};

/* ---- build -------------------------------------------------------------- */

static int join_args(struct hvt_machine *m, struct err *err)
{
	const char *alone[] = {m->run->cmdline ? m->run->cmdline : "", NULL};
	const char *const *word =
		m->run->args ? (const char *const *)m->run->args : alone;
	size_t at = 0;

	for (; *word; word++) {
		const size_t len = strlen(*word);

		if (at + len + 2 > sizeof(m->cmdline))
			return err_set(err, -E2BIG,
				       "Guest command line too long (max=%d "
				       "characters)",
				       HVT_CMDLINE_MAX - 1);
		if (at)
			m->cmdline[at++] = ' ';
		memcpy(m->cmdline + at, *word, len);
		at += len;
	}
	m->cmdline[at] = 0;
	return 0;
}

static int create_vm(struct hvt_machine *m, struct err *err)
{
	const struct engine_wish wish = {
		.engine = m->run->engine,
		.bt_mode = m->run->bt_mode,
		.options = &m->run->engine_options,
		.cpu_model = m->run->cpu_model,
		.mitigations = m->run->mitigations,
		.irqchip = VM_IRQCHIP_NONE,
		.ram_size = m->run->mem,
		.cpus = 1,
	};
	char why[ENGINE_WHY] = "";
	int ret = engine_create_vm(&wish, &m->cpu, &m->vm, why, err);

	log_msg(LOG_INFO, "engine %s", why);
	return ret;
}

static int load(struct hvt_machine *m, struct err *err)
{
	const struct boot_file file = {m->run->file.data, m->run->file.len,
				       m->run->path};
	const struct hvt_start start = {
		.image = &m->image,
		.file = &file,
		.cmdline = m->cmdline,
		.tsc_hz = m->vm->clock.tsc_khz * 1000,
		.mem_size = m->run->mem,
	};
	int ret = hvt_load(&m->vm->mem, &start, &m->state, err);

	host_file_close(&m->run->file);
	return ret;
}

/* What can be refused without a VM. */
static int inspect(struct hvt_machine *m, struct err *err)
{
	const struct run_hvt *run = m->run;
	const struct boot_file file = {run->file.data, run->file.len,
				       run->path};
	int ret = hvt_parse(&m->image, &file, err);

	if (!ret)
		ret = join_args(m, err);
	if (!ret &&
	    (run->mem % HVT_MEM_STEP || !run->mem || run->mem > MEM_MAX_FLAT))
		ret = err_set(err, -EINVAL,
			      "this guest's memory must be 2 MiB to 4 GiB, in "
			      "steps of 2 MiB");
	if (!ret && run->core_dir)
		ret = hvt_core_check(run->core_dir, err);
	return ret;
}

static int furnish(struct hvt_machine *m, struct err *err)
{
	const struct board_hvt_config board = {
		.image = &m->image,
		.attach = m->run->attach->items,
		.attach_count = m->run->attach->count,
	};
	int ret;

	m->vm->consoles[0].out_fd = STDOUT_FILENO;
	ret = board_hvt(m->vm, &board, &m->calls, err);
	if (!ret)
		ret = load(m, err);
	return ret ? ret : signals_attach(m->run->signals, m->vm, err);
}

/* Of what was given, and not of the host. */
static bool is_refusal(int ret)
{
	return ret == -EINVAL || ret == -ENOTSUP || ret == -E2BIG;
}

static int build(struct hvt_machine *m, struct err *err)
{
	int ret = inspect(m, err);

	m->run->refused = is_refusal(ret);
	if (ret)
		return ret;
	ret = create_vm(m, err);
	m->run->refused = ret == -EINVAL;
	if (ret)
		return ret;
	ret = furnish(m, err);
	m->run->refused = is_refusal(ret);
	return ret ? ret : vm_start(m->vm, &m->state, err);
}

/* ---- end ---------------------------------------------------------------- */

static int failed(struct hvt_machine *m, struct err *err, int status)
{
	const struct vm *vm = m->vm;

	if (!vm->engine->get_state(vm->vcpus[0], &m->state))
		err_set(err, -EIO, "%s (rip=%#llx)", vm->stop_message,
			(unsigned long long)m->state.rip);
	else
		err_set(err, -EIO, "%s", vm->stop_message);
	return status;
}

static int end_status(struct hvt_machine *m, struct err *err)
{
	const struct signals *signals = m->run->signals;
	const struct vm *vm = m->vm;

	m->run->reason = vm->stop_reason;
	switch (vm->stop_reason) {
	case VM_STOP_DEBUG_EXIT:
		if (m->run->core_dir && vm->stop_code == HVT_STATUS_ABORT)
			hvt_core_write(m->vm, m->calls, m->run->core_dir);
		return vm->stop_code;
	case VM_STOP_GUEST:
		return failed(m, err, EXIT_GUEST);
	case VM_STOP_TRIPLE_FAULT:
		return failed(m, err, EXIT_TRIPLE);
	case VM_STOP_FAIL:
		return failed(m, err, EXIT_STUCK);
	case VM_STOP_BUG:
		return failed(m, err, EXIT_BUG);
	case VM_STOP_REQUEST:
		return signals->caught ? EXIT_SIGNAL + signals->caught
				       : EXIT_OK;
	default:
		err_set(err, -EIO, "%s", vm->stop_message);
		return EXIT_HOST;
	}
}

int run_hvt(struct run_hvt *run, struct err *err)
{
	struct hvt_machine *m = calloc(1, sizeof(*m));
	int status = EXIT_HOST;

	if (!m) {
		host_file_close(&run->file);
		err_set(err, -ENOMEM, "out of memory");
		return status;
	}
	m->run = run;
	if (!build(m, err)) {
		vm_wait(m->vm);
		status = end_status(m, err);
		log_msg(LOG_INFO, "%s", m->vm->stop_message);
		if (run->stats)
			run_print_stats(m->vm);
	}
	vm_destroy(m->vm);
	host_file_close(&run->file);
	free(m);
	return status;
}
