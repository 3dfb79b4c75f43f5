/* SPDX-License-Identifier: Apache-2.0 */
/* Block and network devices by the calls of vireo/hvt_abi.h. */
#include "internal.h"

uint32_t device_find(uint32_t type, const char *name)
{
	const struct hvt_manifest *manifest = boot_manifest();

	for (uint32_t i = 1; i < manifest->count && i < HVT_ENTRIES_MAX; i++)
		if (manifest->entries[i].type == type &&
		    manifest->entries[i].attached &&
		    !strcmp(manifest->entries[i].name, name))
			return i;
	return 0;
}

/* ---- block ------------------------------------------------------------- */

bool block_open(struct block *block, const char *name)
{
	uint32_t handle = device_find(HVT_ENTRY_BLOCK, name);
	const struct hvt_block_properties *p =
		&boot_manifest()->entries[handle].block;

	if (!handle || !p->block_size)
		return false;
	*block = (struct block){handle, p->block_size, p->capacity};
	return true;
}

/* One block a call is what every host of the interface takes. */
static bool block_move(const struct block *block, struct hvt_block_io io,
		       size_t len, enum hvt_call call)
{
	uint64_t mask = block->block_size - 1;

	if ((io.offset | len) & mask || io.offset > block->capacity ||
	    len > block->capacity - io.offset)
		return false;
	io.handle = block->handle;
	io.len = block->block_size;
	for (; len; len -= io.len) {
		hvt_call(call, &io);
		if (io.result != HVT_OK)
			return false;
		io.offset += io.len;
		io.data += io.len;
	}
	return true;
}

bool block_read(const struct block *block, uint64_t off, void *data, size_t len)
{
	struct hvt_block_io io = {.offset = off, .data = (uintptr_t)data};

	return block_move(block, io, len, HVT_CALL_BLOCK_READ);
}

bool block_write(const struct block *block, uint64_t off, const void *data,
		 size_t len)
{
	struct hvt_block_io io = {.offset = off, .data = (uintptr_t)data};

	return block_move(block, io, len, HVT_CALL_BLOCK_WRITE);
}

/* ---- network ----------------------------------------------------------- */

bool net_open(struct net *net, const char *name)
{
	uint32_t handle = device_find(HVT_ENTRY_NET, name);
	const struct hvt_net_properties *p =
		&boot_manifest()->entries[handle].net;

	if (!handle)
		return false;
	net->handle = handle;
	net->mtu = p->mtu;
	memcpy(net->mac, p->mac, sizeof(net->mac));
	return true;
}

bool net_send(const struct net *net, const void *frame, size_t len)
{
	struct hvt_net_io io = {
		.handle = net->handle, .data = (uintptr_t)frame, .len = len};

	if (len < NET_HEADER || len > (size_t)net->mtu + NET_HEADER)
		return false;
	hvt_call(HVT_CALL_NET_WRITE, &io);
	return io.result == HVT_OK;
}

size_t net_receive(const struct net *net, void *frame, size_t room)
{
	struct hvt_net_io io = {
		.handle = net->handle, .data = (uintptr_t)frame, .len = room};

	hvt_call(HVT_CALL_NET_READ, &io);
	return io.result == HVT_OK && io.len <= room ? io.len : 0;
}
