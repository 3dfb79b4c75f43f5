/* SPDX-License-Identifier: Apache-2.0 */
/* Which modules a guest's devices need, and their files. */
#include "cli/guest_modules.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *const bus_modules[] = {
	"virtio_ring",		 "virtio",     "virtio_pci_legacy_dev",
	"virtio_pci_modern_dev", "virtio_pci",
};

static const struct {
	const char *type, *module;
} device_modules[] = {
	{"virtio-blk", "virtio_blk"},
	{"virtio-rng", "virtio-rng"},
};

static void add_module(struct guest_modules *modules, const char *folder,
		       const char *name)
{
	struct host_file *file = &modules->files[modules->count];
	char path[PATH_MAX];

	for (unsigned i = 0; i < modules->count; i++)
		if (!strcmp(modules->names[i], name))
			return;
	if (modules->count == GUEST_MAX_MODULES)
		return;
	snprintf(path, sizeof(path), "%s/%s.ko", folder, name);
	if (!host_file_open(file, path, NULL))
		modules->names[modules->count++] = name;
}

static bool is_type(const char *device, const char *type)
{
	const size_t len = strlen(type);

	return !strncmp(device, type, len) &&
	       (!device[len] || device[len] == ',');
}

void guest_modules_load(struct guest_modules *modules, const char *folder,
			const char *const *devices, unsigned count)
{
	memset(modules, 0, sizeof(*modules));
	for (unsigned i = 0; count && i < ARRAY_SIZE(bus_modules); i++)
		add_module(modules, folder, bus_modules[i]);
	for (unsigned i = 0; i < count; i++)
		if (strstr(devices[i], ",mmio"))
			add_module(modules, folder, "virtio_mmio");
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < ARRAY_SIZE(device_modules); j++)
			if (is_type(devices[i], device_modules[j].type))
				add_module(modules, folder,
					   device_modules[j].module);
}

void guest_modules_free(struct guest_modules *modules)
{
	while (modules->count)
		host_file_close(&modules->files[--modules->count]);
}
