/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default guest's init: prepares the system, runs the one command that
 * vireo/guest.h describes, passes its status on and ends the VM.
 */
#include "command.h"
#include "console.h"
#include "run_file.h"
#include "sys.h"
#include "system.h"
#include "text.h"
#include "vireo/guest.h"

__attribute__((noreturn)) void init_main(void);

/* The kernel enters here with no return address; the stack is aligned. */
__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	call init_main\n"
	"	ud2\n");

static long open_streams(const struct run_file *run, struct streams *streams)
{
	long fd = console_open(run);

	if (fd < 0) {
		text_error(CONSOLE_DEVICE, fd);
		return fd;
	}
	streams->out = (int)fd;
	streams->err = (int)fd;
	if (!run->err_device)
		return 0;
	fd = console_open_error(run->err_device);
	if (fd < 0) {
		text_error(run->err_device, fd);
		return fd;
	}
	streams->err = (int)fd;
	return 0;
}

static int run_command(struct run_file *run)
{
	struct streams streams;
	int status;

	if (system_start() < 0 || run_file_load(run) < 0 ||
	    open_streams(run, &streams) < 0)
		return GUEST_STATUS_INIT;
	for (char **module = run->modules; module && *module; module++)
		system_load_module(*module);
	if (run->ready_port)
		system_outb(run->ready_port, 1);
	status = command_run(run, &streams);
	console_drain(streams.out);
	console_drain(streams.err);
	return status;
}

void init_main(void)
{
	struct run_file run = {.tty = false};
	int status = run_command(&run);

	if (status == GUEST_STATUS_INIT)
		console_drain(2);
	if (run.exit_port)
		system_outb(run.exit_port, (unsigned char)status);
	/* Not asked for, or nothing listens there. */
	for (;;)
		system_power_off();
}
