/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board "hvt": one CPU, memory, and calls. No interrupt, no timer, no
 * firmware. Of the devices that the image's manifest names each gets a back
 * end, or there is no machine.
 */
#include "board/hvt.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "backend/block.h"
#include "backend/net.h"
#include "chips/hvt.h"
#include "vmm/device.h"
#include "vmm/vm.h"

#define DEFAULT_BLOCK_SIZE 512

static const char *type_name(u32 type)
{
	return type == HVT_ENTRY_BLOCK ? "BLOCK_BASIC" : "NET_BASIC";
}

static const struct board_hvt_attach *find_attach(
	const struct board_hvt_config *config,
	const struct hvt_manifest_entry *entry)
{
	for (unsigned i = 0; i < config->attach_count; i++) {
		const struct board_hvt_attach *a = &config->attach[i];

		if (a->type == entry->type && !strcmp(a->name, entry->name))
			return a;
	}
	return NULL;
}

/* What the user named and the image does not know. */
static int check_surplus(const struct board_hvt_config *config, struct err *err)
{
	for (unsigned i = 0; i < config->attach_count; i++) {
		const struct board_hvt_attach *a = &config->attach[i];
		bool known = false;

		for (u32 k = 1; k < config->image->count; k++)
			known |= find_attach(config,
					     &config->image->entries[k]) == a;
		if (!known)
			return err_set(err, -EINVAL,
				       "Resource not declared in manifest, or "
				       "given twice: '%s' of type %s",
				       a->name, type_name(a->type));
	}
	return 0;
}

static int check_missing(const struct board_hvt_config *config, struct err *err)
{
	for (u32 k = 1; k < config->image->count; k++) {
		const struct hvt_manifest_entry *e = &config->image->entries[k];
		const struct board_hvt_attach *a = find_attach(config, e);

		if (!a || !a->target)
			return err_set(err, -EINVAL,
				       "Device '%s' of type %s declared but "
				       "not attached. All declared devices "
				       "must be attached",
				       e->name, type_name(e->type));
	}
	return 0;
}

static int attach_block(struct device *dev, unsigned handle,
			struct hvt_manifest_entry *entry,
			const struct board_hvt_attach *a, struct err *err)
{
	const u16 size = a->block_size ? a->block_size : DEFAULT_BLOCK_SIZE;
	struct block *block;
	const struct block_config config = {.path = a->target};
	int ret = block_open(&block, &config, err);

	if (ret)
		return ret;
	hvt_attach_block(dev, handle, block);
	if (block->size % size)
		return err_set(err, -EINVAL,
			       "%s: Backing storage size must be block "
			       "aligned (%u bytes)",
			       entry->name, size);
	if (!block->size)
		return err_set(err, -EINVAL,
			       "%s: Backing storage must be at least 1 block "
			       "(%u bytes) in size",
			       entry->name, size);
	entry->block = (struct hvt_block_properties){
		.capacity = block->size,
		.block_size = size,
	};
	return 0;
}

static int attach_net(struct device *dev, unsigned handle,
		      struct hvt_manifest_entry *entry,
		      const struct board_hvt_attach *a, struct err *err)
{
	struct net *net;
	int ret = net_open_tap(&net, a->target, err);

	if (ret)
		return ret;
	hvt_attach_net(dev, handle, net);
	entry->net = (struct hvt_net_properties){.mtu = (u16)net->mtu};
	memcpy(entry->net.mac, a->mac, sizeof(a->mac));
	if (a->has_mac)
		return 0;
	if (getrandom(entry->net.mac, sizeof(entry->net.mac), 0) !=
	    sizeof(entry->net.mac))
		return err_set(err, -EIO, "no random address: %s",
			       strerror(errno));
	/* Locally administered, of one station. */
	entry->net.mac[0] = (entry->net.mac[0] & 0xfe) | 0x02;
	return 0;
}

int board_hvt(struct vm *vm, const struct board_hvt_config *config,
	      struct device **calls, struct err *err)
{
	int ret = check_surplus(config, err);
	struct device *dev;

	if (!ret)
		ret = check_missing(config, err);
	if (ret)
		return ret;
	dev = device_add(vm, "hvt-calls", NULL, err);
	if (!dev)
		return -EINVAL;
	for (u32 i = 1; !ret && i < config->image->count; i++) {
		struct hvt_manifest_entry *e = &config->image->entries[i];
		const struct board_hvt_attach *a = find_attach(config, e);

		/* Nothing that lay in the file is the guest's business. */
		memset(&e->block, 0, sizeof(e->block));
		e->host = 0;
		ret = e->type == HVT_ENTRY_BLOCK
			      ? attach_block(dev, i, e, a, err)
			      : attach_net(dev, i, e, a, err);
		e->attached = 1;
	}
	*calls = dev;
	return ret;
}
