/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the order that the host put into the initramfs. */
#include "run_file.h"

#include <asm/errno.h>
#include <asm/fcntl.h>

#include "sys.h"
#include "text.h"
#include "vireo/guest.h"

enum { CHUNK = 64 * 1024, FILE_MAX = 16 * 1024 * 1024 };

/* A list that grows by page-sized steps; always NULL-terminated. */
struct list {
	char **items;
	size_t used, size;
};

static long list_add(struct list *list, char *item)
{
	if (list->used + 2 > list->size) {
		size_t size = list->size ? list->size * 2 : 512;
		char **items = sys_alloc(size * sizeof(*items));

		if (!items)
			return -ENOMEM;
		for (size_t i = 0; i < list->used; i++)
			items[i] = list->items[i];
		list->items = items;
		list->size = size;
	}
	list->items[list->used++] = item;
	return 0;
}

static long set_number(const char *text, unsigned base, uint16_t *field)
{
	unsigned long val;

	if (!text_number(text, base, UINT16_MAX, &val))
		return -EINVAL;
	*field = (uint16_t)val;
	return 0;
}

struct order {
	struct run_file *run;
	struct list args, env, modules;
};

static long take(struct order *order, char *entry)
{
	struct run_file *run = order->run;
	const char *val;

	val = text_after(entry, "arg=");
	if (val)
		return list_add(&order->args, (char *)val);
	val = text_after(entry, "env=");
	if (val)
		return list_add(&order->env, (char *)val);
	val = text_after(entry, "module=");
	if (val)
		return list_add(&order->modules, (char *)val);
	val = text_after(entry, "rows=");
	if (val)
		return set_number(val, 10, &run->rows);
	val = text_after(entry, "cols=");
	if (val)
		return set_number(val, 10, &run->cols);
	val = text_after(entry, "exit_port=");
	if (val)
		return set_number(val, 16, &run->exit_port);
	val = text_after(entry, "ready_port=");
	if (val)
		return set_number(val, 16, &run->ready_port);
	val = text_after(entry, "stderr=");
	if (val) {
		run->err_device = val;
		return *val && !text_has(val, '/') ? 0 : -EINVAL;
	}
	val = text_after(entry, "tty=");
	if (val) {
		run->tty = text_equal(val, "1");
		return run->tty || text_equal(val, "0") ? 0 : -EINVAL;
	}
	return -EINVAL;
}

/* The whole file, NUL-terminated; its length or a negative errno. */
static long read_all(int fd, char **text)
{
	char *buf = NULL;
	size_t used = 0, size = 0;

	for (;;) {
		long got;

		if (used + 1 >= size) {
			char *bigger = sys_alloc(size + CHUNK);

			if (!bigger || size >= FILE_MAX)
				return -ENOMEM;
			for (size_t i = 0; i < used; i++)
				bigger[i] = buf[i];
			buf = bigger;
			size += CHUNK;
		}
		got = sys_read(fd, buf + used, size - 1 - used);
		if (got < 0)
			return got;
		if (!got)
			break;
		used += (size_t)got;
	}
	*text = buf;
	return (long)used;
}

/* Goes on after a bad entry: the exit port may be behind it. */
static long parse(struct order *order, char *text, size_t len)
{
	long ret = 0;
	size_t at = 0;

	while (at < len) {
		char *entry = text + at;
		long err;

		at += text_len(entry) + 1;
		/* The host may pad the file with NULs. */
		err = *entry ? take(order, entry) : 0;
		if (err < 0) {
			text_error(entry, err);
			ret = err;
		}
	}
	return ret;
}

static long add_default(struct list *env, char *entry, const char *name)
{
	for (size_t i = 0; i < env->used; i++) {
		if (text_after(env->items[i], name))
			return 0;
	}
	return list_add(env, entry);
}

static long add_defaults(struct list *env)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			     "/usr/bin:/sbin:/bin";
	static char home[] = "HOME=/root";
	static char term[] = "TERM=linux";

	return add_default(env, path, "PATH=") |
	       add_default(env, home, "HOME=") |
	       add_default(env, term, "TERM=");
}

long run_file_load(struct run_file *run)
{
	struct order order = {.run = run};
	char *text = NULL;
	long fd, len, ret;

	if (list_add(&order.args, NULL) || list_add(&order.env, NULL) ||
	    list_add(&order.modules, NULL))
		return -ENOMEM;
	order.args.used = 0;
	order.env.used = 0;
	order.modules.used = 0;
	fd = sys_open(GUEST_RUN_FILE, O_RDONLY | O_CLOEXEC);
	len = fd;
	if (fd >= 0) {
		len = read_all((int)fd, &text);
		sys_close((int)fd);
	}
	ret = len > 0 ? parse(&order, text, (size_t)len) : len;
	if (add_defaults(&order.env))
		return -ENOMEM;
	run->argv = order.args.items;
	run->envp = order.env.items;
	run->modules = order.modules.items;
	if (ret == -ENOENT) {
		run->tty = true;
		return 0;
	}
	if (ret < 0)
		text_error(GUEST_RUN_FILE, ret);
	return ret;
}
