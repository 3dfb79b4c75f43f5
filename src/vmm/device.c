/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device registry, options by table, and the saved group.
 *
 * DEVICE_TYPE() puts a pointer to each type into the section "device_types";
 * the linker provides its bounds. Order in there means nothing.
 */
#include "vmm/device.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"
#include "util/text.h"
#include "vmm/vm.h"

/* Weak: a program without any device has no such section. */
extern const struct device_type *const __start_device_types[]
	__attribute__((weak));
extern const struct device_type *const __stop_device_types[]
	__attribute__((weak));

/* ------------------------------------------------------------------------- */
/* Registry */

const struct device_type *device_type_next(const struct device_type *prev)
{
	const struct device_type *const *at = __start_device_types;

	while (prev && at < __stop_device_types && *at++ != prev)
		;
	return at < __stop_device_types ? *at : NULL;
}

const struct device_type *device_type_find(const char *name)
{
	const struct device_type *type = NULL;

	while ((type = device_type_next(type)))
		if (!strcmp(type->name, name))
			break;
	return type;
}

struct device *device_find(struct vm *vm, const char *id)
{
	struct device *dev = vm->devices;

	while (dev && strcmp(dev->id, id))
		dev = dev->next;
	return dev;
}

/* ------------------------------------------------------------------------- */
/* Options */

static void *option_field(struct device *dev, const struct device_option *opt)
{
	return (u8 *)dev + opt->offset;
}

static int option_set_string(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int option_set(struct device *dev, const struct device_option *opt,
		      const char *text, struct err *err)
{
	static const char *const wanted[] = {
		[OPT_NUM] = "a number (decimal or 0x, k/m/g)",
		[OPT_BOOL] = "on or off",
		[OPT_STR] = "text",
	};
	void *field = option_field(dev, opt);
	int ret = -EINVAL;

	switch (opt->kind) {
	case OPT_NUM:
		ret = parse_u64(text, field);
		break;
	case OPT_BOOL:
		ret = parse_bool(text, field);
		break;
	case OPT_STR:
		ret = option_set_string(field, text);
		break;
	}
	if (ret)
		return err_set(err, ret, "%s: %s=%s: %s expected",
			       dev->type->name, opt->name, text,
			       wanted[opt->kind]);
	return 0;
}

static int option_set_id(struct device *dev, const char *text, struct err *err)
{
	if (!*text || strlen(text) >= sizeof(dev->id))
		return err_set(err, -EINVAL, "%s: id=%s: 1 to %zu characters",
			       dev->type->name, text, sizeof(dev->id) - 1);
	strcpy(dev->id, text);
	return 0;
}

/* `item` is "key=value", and cut in two, or the key of what is to be on.
 * given: one bit an option. */
static int option_parse(struct device *dev, char *item, u64 *given,
			struct err *err)
{
	const struct device_option *opt = dev->type->options;
	const char *val = "on";
	char *equals = strchr(item, '=');

	if (equals) {
		*equals = '\0';
		val = equals + 1;
	}
	if (equals && !strcmp(item, "id"))
		return option_set_id(dev, val, err);
	while (opt && opt->name && strcmp(opt->name, item))
		opt++;
	if (!equals && (!opt || !opt->name || opt->kind != OPT_BOOL))
		return err_set(err, -EINVAL, "%s: '%s' is not key=value",
			       dev->type->name, item);
	if (!opt || !opt->name)
		return err_set(err, -EINVAL, "%s: no option '%s'",
			       dev->type->name, item);
	if (*given & BIT(opt - dev->type->options))
		return err_set(err, -EINVAL, "%s: '%s' given twice",
			       dev->type->name, item);
	*given |= BIT(opt - dev->type->options);
	return option_set(dev, opt, val, err);
}

/* Defaults of what was not given; a missing one without default is an error. */
static int option_defaults(struct device *dev, u64 given, struct err *err)
{
	const struct device_option *opt = dev->type->options;
	int ret = 0;

	for (; !ret && opt && opt->name; opt++) {
		assert(opt - dev->type->options < 64);
		if (given & BIT(opt - dev->type->options))
			continue;
		if (!opt->value)
			return err_set(err, -EINVAL, "%s: %s= is missing (%s)",
				       dev->type->name, opt->name, opt->help);
		ret = option_set(dev, opt, opt->value, err);
	}
	return ret;
}

static int device_parse(struct device *dev, const char *options,
			struct err *err)
{
	char *text = strdup(options ? options : "");
	char *rest = text, *item;
	u64 given = 0;
	int ret = 0;

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	while (!ret && (item = strsep(&rest, ",")))
		if (*item)
			ret = option_parse(dev, item, &given, err);
	free(text);
	return ret ? ret : option_defaults(dev, given, err);
}

/* ------------------------------------------------------------------------- */
/* Life */

static int device_name(struct device *dev, struct err *err)
{
	if (*dev->id) {
		if (device_find(dev->vm, dev->id))
			return err_set(err, -EEXIST, "%s: id %s is taken",
				       dev->type->name, dev->id);
		return 0;
	}
	for (unsigned i = 0; i == 0 || device_find(dev->vm, dev->id); i++)
		snprintf(dev->id, sizeof(dev->id), "%.20s%u", dev->type->name,
			 i);
	return 0;
}

static void device_free(struct device *dev)
{
	const struct device_option *opt = dev->type->options;

	bus_remove_owner(&dev->vm->bus, dev);
	if (dev->type->destroy)
		dev->type->destroy(dev);
	for (; opt && opt->name; opt++)
		if (opt->kind == OPT_STR)
			free(*(char **)option_field(dev, opt));
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

static void device_call(struct device *dev, void (*call)(struct device *))
{
	if (!call)
		return;
	pthread_mutex_lock(&dev->lock);
	call(dev);
	pthread_mutex_unlock(&dev->lock);
}

static int device_build(struct device *dev, const char *options,
			struct err *err)
{
	int ret = device_parse(dev, options, err);

	if (!ret)
		ret = device_name(dev, err);
	if (!ret && dev->type->create)
		ret = dev->type->create(dev, err);
	if (ret)
		err_set(err, ret, "%s: %s", dev->type->name, strerror(-ret));
	return ret;
}

struct device *device_add(struct vm *vm, const char *type_name,
			  const char *options, struct err *err)
{
	const struct device_type *type = device_type_find(type_name);
	struct device **tail = &vm->devices;
	struct device *dev;

	if (!type) {
		err_set(err, -ENODEV, "no device type '%s'", type_name);
		return NULL;
	}
	assert(type->size >= sizeof(*dev));
	assert(type->regs_offset + type->regs_size <= type->size);
	dev = calloc(1, type->size);
	if (!dev) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	dev->type = type;
	dev->vm = vm;
	pthread_mutex_init(&dev->lock, NULL);
	if (device_build(dev, options, err)) {
		device_free(dev);
		return NULL;
	}
	device_call(dev, dev->type->reset);
	while (*tail)
		tail = &(*tail)->next;
	*tail = dev;
	return dev;
}

void device_destroy_all(struct vm *vm)
{
	while (vm->devices) {
		struct device **last = &vm->devices;
		struct device *dev;

		while ((*last)->next)
			last = &(*last)->next;
		dev = *last;
		*last = NULL;
		device_free(dev);
	}
}

void device_reset_all(struct vm *vm)
{
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		device_call(dev, dev->type->reset);
}

void device_quiesce_all(struct vm *vm)
{
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		device_call(dev, dev->type->quiesce);
}

void device_resume_all(struct vm *vm)
{
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		device_call(dev, dev->type->resume);
}

void device_stats(struct vm *vm, char *buf, size_t len)
{
	struct text out = {.buf = buf, .len = len};

	buf[0] = 0;
	for (struct device *dev = vm->devices; dev; dev = dev->next) {
		if (!dev->type->stats)
			continue;
		pthread_mutex_lock(&dev->lock);
		dev->type->stats(dev, &out);
		pthread_mutex_unlock(&dev->lock);
	}
}

/* ------------------------------------------------------------------------- */
/* The saved group */

static void *device_regs(struct device *dev)
{
	return (u8 *)dev + dev->type->regs_offset;
}

int device_save(struct device *dev, struct device_blob *blob, struct err *err)
{
	const struct device_type *type = dev->type;

	memset(blob, 0, sizeof(*blob));
	if (type->regs_size > sizeof(blob->data))
		return err_set(err, -E2BIG, "%s: %zu bytes of state", dev->id,
			       type->regs_size);
	blob->version = type->save_version;
	blob->size = (u32)type->regs_size;
	pthread_mutex_lock(&dev->lock);
	memcpy(blob->data, device_regs(dev), type->regs_size);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

int device_load(struct device *dev, const struct device_blob *blob,
		struct err *err)
{
	const struct device_type *type = dev->type;
	u8 before[sizeof(blob->data)];
	int ret = 0;

	if (blob->version != type->save_version)
		return err_set(err, -EINVAL,
			       "%s: saved as version %u, this is version %u",
			       dev->id, blob->version, type->save_version);
	if (blob->size != type->regs_size || blob->size > sizeof(before))
		return err_set(err, -EINVAL,
			       "%s: %u bytes of saved state, expected %zu",
			       dev->id, blob->size, type->regs_size);
	pthread_mutex_lock(&dev->lock);
	memcpy(before, device_regs(dev), blob->size);
	memcpy(device_regs(dev), blob->data, blob->size);
	if (type->loaded)
		ret = type->loaded(dev, err);
	if (ret)
		memcpy(device_regs(dev), before, blob->size);
	pthread_mutex_unlock(&dev->lock);
	if (ret)
		err_set(err, ret, "%s: saved state refused", dev->id);
	return ret;
}
