/* SPDX-License-Identifier: Apache-2.0 */
/* `vireo run`, third step: build the VM, run it, say how it ended. */
#include "cli/run_vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "board/board.h"
#include "chips/acpi_pm.h"
#include "cli/cli.h"
#include "cli/engine_choice.h"
#include "cli/guest_ready.h"
#include "engine/engine.h"
#include "util/log.h"
#include "vmm/device.h"
#include "vmm/vm.h"

enum { STATS_SIZE = 64 * 1024 };

/* ---- keys --------------------------------------------------------------- */

static void on_leave(void *arg)
{
	struct run_vm *run = arg;

	vm_stop(run->vm, VM_STOP_REQUEST, 0, "left with Ctrl-A x");
}

static void on_power_button(void *arg)
{
	struct run_vm *run = arg;

	if (run->power)
		acpi_pm_power_button(run->power);
}

/* ---- build -------------------------------------------------------------- */

static int create_vm(struct run_vm *run, struct err *err)
{
	const struct run_options *o = run->config->options;
	const struct engine_wish wish = {
		.engine = o->engine,
		.bt_mode = o->bt_mode,
		.options = &o->engine_options,
		.cpu_model = o->cpu_model,
		.mitigations = o->mitigations,
		.ram_size = o->mem,
		.cpus = (unsigned)o->cpus,
	};
	char why[ENGINE_WHY] = "";
	int ret = engine_create_vm(&wish, &run->cpu, &run->vm, why, err);

	log_msg(LOG_INFO, "engine %s", why);
	if (!ret)
		log_msg(LOG_INFO, "CPU model %s", run->cpu.model);
	return ret;
}

/*
 * Console 0 is standard input and output. With an order but no terminal,
 * console 1 is standard error and input goes by way of the pump, which needs
 * the guest's word that it listens.
 */
static int connect_consoles(struct run_vm *run, struct err *err)
{
	struct vm_console *console = run->vm->consoles;
	struct device *ready;
	int ret;

	console[0].in_fd = STDIN_FILENO;
	console[0].out_fd = STDOUT_FILENO;
	if (run->config->tty) {
		console[0].filter = terminal_filter;
		console[0].filter_arg = run->terminal;
		return 0;
	}
	if (!run->config->order)
		return 0;
	console[1].out_fd = STDERR_FILENO;
	ready = device_add(run->vm, "guest-ready", NULL, err);
	if (!ready)
		return -EINVAL;
	ret = input_pump_start(&run->pump, STDIN_FILENO, guest_ready_fd(ready),
			       err);
	console[0].in_fd = run->pump.pipe[0];
	return ret;
}

static int add_status_port(struct run_vm *run, struct err *err)
{
	char options[64];

	if (!run->config->order)
		return 0;
	snprintf(options, sizeof(options), "port=%#x,size=1,raw=on",
		 RUN_EXIT_PORT);
	return device_add(run->vm, "debug-exit", options, err) ? 0 : -EINVAL;
}

static int build_board(struct run_vm *run, struct board *made, struct err *err)
{
	const struct run_options *o = run->config->options;
	char debug_exit[64];
	const struct board_config board = {
		.serials = run->config->order && !run->config->tty ? 2 : 1,
		.debug_exit = o->debug_exit < 0 ? NULL : debug_exit,
		.devices = (const char *const *)o->devices,
		.device_count = o->device_count,
	};
	int ret;

	snprintf(debug_exit, sizeof(debug_exit), "port=%#llx",
		 (unsigned long long)o->debug_exit);
	ret = board_pc(run->vm, &board, made, err);
	run->power = ret ? NULL : made->power;
	return ret;
}

static int build_vm(struct run_vm *run, struct err *err)
{
	struct boot_config boot = run->config->boot;
	struct x86_state *bsp;
	struct board board;
	int ret;

	ret = create_vm(run, err);
	if (!ret)
		ret = connect_consoles(run, err);
	if (!ret)
		ret = build_board(run, &board, err);
	if (!ret)
		ret = add_status_port(run, err);
	if (ret)
		return ret;
	boot.acpi_rsdp = board.acpi_rsdp;
	bsp = calloc(1, sizeof(*bsp));
	if (!bsp)
		return err_set(err, -ENOMEM, "out of memory");
	ret = boot_load(&run->vm->mem, &boot, bsp, err);
	run_config_drop_files(run->config);
	if (!ret)
		ret = signals_attach(run->signals, run->vm, err);
	if (!ret)
		ret = vm_start(run->vm, bsp, err);
	free(bsp);
	return ret;
}

/* ---- end ---------------------------------------------------------------- */

/* See vireo(1) for what is in them and what is not. */
static void print_start(const struct vm *vm)
{
	const struct cli_start start = cli_start();

	fprintf(stderr,
		"start.us_before_main %llu\n"
		"start.us_to_guest %llu\n",
		(unsigned long long)start.before_ns / 1000,
		(unsigned long long)(vm->entered_ns - start.at_ns) / 1000);
}

void run_print_stats(struct vm *vm)
{
	char *text = calloc(1, STATS_SIZE);

	print_start(vm);
	if (text) {
		device_stats(vm, text, STATS_SIZE);
		fputs(text, stderr);
	}
	if (text && vm->engine->stats) {
		vm->engine->stats(vm, text, STATS_SIZE);
		fputs(text, stderr);
	}
	free(text);
}

static int failed(struct err *err, const struct vm *vm, int status)
{
	err_set(err, -EIO, "%s", vm->stop_message);
	return status;
}

/* How the VM ended as an exit status, see cli.h. */
static int end_status(const struct run_vm *run, struct err *err)
{
	const struct vm *vm = run->vm;

	switch (vm->stop_reason) {
	case VM_STOP_POWEROFF:
		return EXIT_OK;
	case VM_STOP_RESET:
		if (!run->config->order)
			return EXIT_OK;
		err_set(err, -EIO,
			"the guest reset itself before the command's status "
			"was known");
		return EXIT_LOST;
	case VM_STOP_DEBUG_EXIT:
		return vm->stop_code & 0xff;
	case VM_STOP_TRIPLE_FAULT:
		return failed(err, vm, EXIT_TRIPLE);
	case VM_STOP_GUEST:
		return failed(err, vm, EXIT_GUEST);
	case VM_STOP_FAIL:
		return failed(err, vm, EXIT_STUCK);
	case VM_STOP_BUG:
		return failed(err, vm, EXIT_BUG);
	case VM_STOP_REQUEST:
		return run->signals->caught ? EXIT_SIGNAL + run->signals->caught
					    : EXIT_OK;
	case VM_STOP_HOST:
	case VM_STOP_NONE:
		break;
	}
	return failed(err, vm, EXIT_HOST);
}

int run_vm(struct run_vm *run, struct err *err)
{
	int status = EXIT_HOST;

	run->terminal->leave = on_leave;
	run->terminal->power_button = on_power_button;
	run->terminal->arg = run;
	input_pump_init(&run->pump);
	if (!build_vm(run, err)) {
		vm_wait(run->vm);
		status = end_status(run, err);
		log_msg(LOG_INFO, "%s", run->vm->stop_message);
		if (run->config->options->stats)
			run_print_stats(run->vm);
	}
	input_pump_stop(&run->pump);
	vm_destroy(run->vm);
	input_pump_close(&run->pump);
	return status;
}
