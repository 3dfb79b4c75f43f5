/* SPDX-License-Identifier: Apache-2.0 */
/* Packs the order to the default guest. */
#include "cli/guest_order.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/cpio.h"
#include "vireo/guest.h"

static void put_text(FILE *out, const char *key, const char *val)
{
	fprintf(out, "%s=%s%c", key, val, 0);
}

static void put_order(FILE *out, const struct guest_order *order)
{
	for (unsigned i = 0; order->modules && i < order->modules->count; i++)
		fprintf(out, "module=" GUEST_MODULE_PATH "%c",
			order->modules->names[i], 0);
	for (char *const *arg = order->argv; arg && *arg; arg++)
		put_text(out, "arg", *arg);
	for (const char *const *env = order->env; env && *env; env++)
		put_text(out, "env", *env);
	put_text(out, "tty", order->tty ? "1" : "0");
	if (order->rows && order->cols)
		fprintf(out, "rows=%u%ccols=%u%c", order->rows, 0, order->cols,
			0);
	if (order->err_device)
		put_text(out, "stderr", order->err_device);
	fprintf(out, "exit_port=%x%c", order->exit_port, 0);
	if (order->ready_port)
		fprintf(out, "ready_port=%x%c", order->ready_port, 0);
}

static bool close_stream(FILE *out)
{
	const bool fine = !ferror(out);

	return !fclose(out) && fine;
}

static void add_modules(struct cpio *cpio, const struct guest_modules *modules)
{
	for (unsigned i = 0; modules && i < modules->count; i++) {
		const struct host_file *file = &modules->files[i];
		char name[64];

		snprintf(name, sizeof(name), GUEST_MODULE_PATH,
			 modules->names[i]);
		cpio_add(cpio, name + 1, S_IFREG | 0400, file->data, file->len);
	}
}

static bool pack_archive(const struct guest_order *order, const char *text,
			 size_t text_len, u8 **data, size_t *len)
{
	char *archive = NULL;
	FILE *out = open_memstream(&archive, len);
	struct cpio cpio;

	if (!out)
		return false;
	cpio = cpio_start(out);
	/* The path without its slash; the folder where theirs has none. */
	cpio_add(&cpio, "vireo", S_IFDIR | 0755, NULL, 0);
	cpio_add(&cpio, &GUEST_RUN_FILE[1], S_IFREG | 0400, text, text_len);
	add_modules(&cpio, order->modules);
	cpio_end(&cpio);
	*data = NULL;
	if (!close_stream(out)) {
		free(archive);
		return false;
	}
	*data = (u8 *)archive;
	return true;
}

int guest_order_pack(const struct guest_order *order, u8 **data, size_t *len,
		     struct err *err)
{
	size_t text_len = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &text_len);
	bool fine = out;

	if (out) {
		put_order(out, order);
		fine = close_stream(out);
	}
	fine = fine && pack_archive(order, text, text_len, data, len);
	free(text);
	return fine ? 0 : err_set(err, -ENOMEM, "out of memory");
}
