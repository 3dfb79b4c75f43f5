/* SPDX-License-Identifier: Apache-2.0 */
/* `vireo run`, second step: check the options and bring in what they name. */
#include "cli/run_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/guest_order.h"
#include "vmm/trace.h"

static int check_combination(const struct run_options *o, struct err *err)
{
	if (o->initrd && o->module_count)
		return err_set(err, -EINVAL,
			       "--initrd and --module exclude each other");
	if (!o->kernel && (o->initrd || o->module_count))
		return err_set(err, -EINVAL, "%s needs --kernel",
			       o->initrd ? "--initrd" : "--module");
	if (o->attach.count || o->core_dir)
		return err_set(err, -EINVAL,
			       "--block, --net and --dumpcore are for Solo5 "
			       "images");
	if (o->command && o->module_count)
		return err_set(err, -EINVAL,
			       "a command runs in Linux, not with --module");
	if (o->trace && trace_enable(o->trace, STDERR_FILENO))
		return err_set(err, -EINVAL, "--trace: no such group in '%s'",
			       o->trace);
	return 0;
}

static int add_module(struct run_config *config, const char *path,
		      struct err *err)
{
	const unsigned i = config->boot.module_count;
	struct host_file *file = &config->modules[i];
	int ret = host_file_open(file, path, err);

	if (ret)
		return ret;
	config->boot.modules[i] = (struct boot_file){
		.data = file->data,
		.len = file->len,
		.name = path,
	};
	config->boot.module_count++;
	return 0;
}

static int load_files(struct run_config *config, struct err *err)
{
	const struct run_options *o = config->options;
	const char *kernel = o->kernel;
	const char *initrd = o->initrd;
	int ret = 0;

	if (config->order && !initrd) {
		ret = guest_find(&config->paths, !kernel, err);
		initrd = config->paths.initramfs;
		kernel = kernel ? kernel : config->paths.kernel;
	}
	if (!ret && o->is_word && access(kernel, F_OK))
		ret = err_set(err, -EINVAL,
			      "%s: no such file; a command goes behind --",
			      kernel);
	if (!ret)
		ret = host_file_open(&config->kernel, kernel, err);
	if (!ret && initrd)
		ret = add_module(config, initrd, err);
	for (unsigned i = 0; !ret && i < o->module_count; i++)
		ret = add_module(config, o->modules[i], err);
	config->boot.kernel = (struct boot_file){
		.data = config->kernel.data,
		.len = config->kernel.len,
		.name = kernel,
	};
	return ret;
}

/* Offset and magic of a bzImage, Linux Documentation/arch/x86/boot.rst. */
static bool is_linux(const struct host_file *file)
{
	return file->len >= 0x206 && !memcmp(file->data + 0x202, "HdrS", 4);
}

/*
 * The default guest: its console by where standard output goes; a panic or a
 * reboot ends the VM; no self-tests of the kernel's ciphers, which are two
 * thirds of a boot; mitigations off with the CPU's (cpuid.h), to save what no
 * CPUID bit can switch off. What the user adds comes last and wins.
 */
static int write_cmdline(struct run_config *config, struct err *err)
{
	const struct run_options *o = config->options;
	const char *own = o->cmdline ? o->cmdline : "";
	int len;

	if (config->order)
		len = asprintf(&config->cmdline,
			       "console=%s%s panic=-1 cryptomgr.notests%s%s%s",
			       config->tty ? "ttyS0" : "ttyS1",
			       o->verbose ? "" : " quiet",
			       o->mitigations ? "" : " mitigations=off",
			       *own ? " " : "", own);
	else if (!o->cmdline && is_linux(&config->kernel))
		len = asprintf(&config->cmdline, "console=ttyS0");
	else
		len = asprintf(&config->cmdline, "%s", own);
	if (len < 0) {
		config->cmdline = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	config->boot.cmdline = config->cmdline;
	return 0;
}

static int write_order(struct run_config *config, struct run_size size,
		       struct err *err)
{
	const char *term = getenv("TERM");
	char term_entry[128];
	const char *env[] = {NULL, NULL};
	struct guest_modules modules;
	const struct guest_order order = {
		.argv = config->options->command,
		.env = env,
		.tty = config->tty,
		.rows = size.rows,
		.cols = size.cols,
		.err_device = config->tty ? NULL : "ttyS1",
		.exit_port = RUN_EXIT_PORT,
		.ready_port = config->tty ? 0 : RUN_READY_PORT,
		.modules = &modules,
	};
	size_t len = 0;
	int ret;

	if (config->tty && term && strlen(term) < sizeof(term_entry) - 8) {
		snprintf(term_entry, sizeof(term_entry), "TERM=%s", term);
		env[0] = term_entry;
	}
	guest_modules_load(&modules, config->paths.modules,
			   (const char *const *)config->options->devices,
			   config->options->device_count);
	ret = guest_order_pack(&order, &config->tail, &len, err);
	guest_modules_free(&modules);
	config->boot.initrd_tail = (struct boot_file){
		.data = config->tail,
		.len = len,
		.name = "the order to the guest",
	};
	return ret;
}

int run_config_make(struct run_config *config,
		    const struct run_options *options, bool tty,
		    struct run_size size, struct err *err)
{
	int ret;

	memset(config, 0, sizeof(*config));
	config->options = options;
	config->order = !options->kernel || options->command;
	config->tty = tty;
	ret = check_combination(options, err);
	if (!ret)
		ret = load_files(config, err);
	if (!ret)
		ret = write_cmdline(config, err);
	if (!ret && config->order)
		ret = write_order(config, size, err);
	if (ret)
		run_config_free(config);
	return ret;
}

void run_config_drop_files(struct run_config *config)
{
	host_file_close(&config->kernel);
	for (unsigned i = 0; i < BOOT_MAX_MODULES; i++)
		host_file_close(&config->modules[i]);
	free(config->cmdline);
	free(config->tail);
	config->cmdline = NULL;
	config->tail = NULL;
	memset(&config->boot, 0, sizeof(config->boot));
}

void run_config_free(struct run_config *config)
{
	run_config_drop_files(config);
	memset(config, 0, sizeof(*config));
}
