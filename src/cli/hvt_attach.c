/* SPDX-License-Identifier: Apache-2.0 */
/* Back ends for the devices of a Solo5 image. */
#include "cli/hvt_attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

struct board_hvt_attach *hvt_attach_get(struct hvt_attach_list *list, u32 type,
					const char *text, size_t len,
					struct err *err)
{
	struct board_hvt_attach *a;

	if (!len || len >= HVT_NAME_SIZE) {
		err_set(err, -EINVAL, "'%s': a device's name has 1 to %d bytes",
			text, HVT_NAME_SIZE - 1);
		return NULL;
	}
	for (unsigned i = 0; i < list->count; i++) {
		a = &list->items[i];
		if (a->type == type && strlen(a->name) == len &&
		    !memcmp(a->name, text, len))
			return a;
	}
	if (list->count == ARRAY_SIZE(list->items)) {
		err_set(err, -EINVAL, "more than %zu devices",
			ARRAY_SIZE(list->items));
		return NULL;
	}
	a = &list->items[list->count++];
	*a = (struct board_hvt_attach){.type = type};
	memcpy(a->name, text, len);
	return a;
}

int hvt_attach_target(struct board_hvt_attach *a, const char *target,
		      struct err *err)
{
	if (!*target)
		return err_set(err, -EINVAL, "'%s' is attached to nothing",
			       a->name);
	if (a->target)
		return err_set(err, -EINVAL, "'%s' is attached twice", a->name);
	a->target = target;
	return 0;
}

int hvt_attach_block_size(struct board_hvt_attach *a, const char *text,
			  struct err *err)
{
	u64 size;

	if (parse_u64(text, &size) || size < 512 || size > UINT16_MAX ||
	    size & (size - 1))
		return err_set(err, -EINVAL,
			       "Block size must be a multiple of 2 greater "
			       "than or equal 512, and at most 32768: '%s'",
			       text);
	a->block_size = (u16)size;
	return 0;
}

int hvt_attach_mac(struct board_hvt_attach *a, const char *text,
		   struct err *err)
{
	u8 *m = a->mac;
	int len = -1;

	sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &m[0], &m[1],
	       &m[2], &m[3], &m[4], &m[5], &len);
	if (len != 17 || text[len])
		return err_set(
			err, -EINVAL,
			"'%s' is no hardware address (02:00:00:ab:cd:ef)",
			text);
	a->has_mac = true;
	return 0;
}

/* The text behind ",key=" at the end, cut off; NULL: there is none. */
static const char *take_suffix(char *text, const char *key)
{
	char *comma = strrchr(text, ',');
	const size_t len = strlen(key);

	if (!comma || strncmp(comma + 1, key, len) != 0)
		return NULL;
	*comma = 0;
	return comma + 1 + len;
}

int hvt_attach_block_option(struct hvt_attach_list *list, char *text,
			    struct err *err)
{
	const char *size = take_suffix(text, "block-size=");
	const char *equals = strchr(text, '=');
	struct board_hvt_attach *a;
	int ret;

	if (!equals)
		return err_set(err, -EINVAL, "--block: '%s' is not NAME=FILE",
			       text);
	a = hvt_attach_get(list, HVT_ENTRY_BLOCK, text, (size_t)(equals - text),
			   err);
	ret = a ? hvt_attach_target(a, equals + 1, err) : -EINVAL;
	return ret || !size ? ret : hvt_attach_block_size(a, size, err);
}

int hvt_attach_net_option(struct hvt_attach_list *list, char *text,
			  struct err *err)
{
	static const char kind[] = "tap=";
	const char *mac = take_suffix(text, "mac=");
	const char *equals = strchr(text, '=');
	struct board_hvt_attach *a;
	int ret;

	if (!equals || strncmp(equals + 1, kind, sizeof(kind) - 1) != 0)
		return err_set(err, -EINVAL,
			       "--net: '%s' is not NAME=tap=INTERFACE", text);
	a = hvt_attach_get(list, HVT_ENTRY_NET, text, (size_t)(equals - text),
			   err);
	ret = a ? hvt_attach_target(a, equals + sizeof(kind), err) : -EINVAL;
	return ret || !mac ? ret : hvt_attach_mac(a, mac, err);
}
