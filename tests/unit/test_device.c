/* SPDX-License-Identifier: Apache-2.0 */
/* Device registry, options by table, order of life, save and load. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/device.h"
#include "vmm/vm.h"

struct gadget {
	struct device dev;
	/* config */
	u64 port;
	bool loud;
	char *label;
	/* regs */
	struct gadget_regs {
		u32 count;
		u32 limit;
	} regs;
	/* host */
	u32 rebuilt;
};

static char diary[512];

static void note(const struct device *dev, const char *what)
{
	size_t used = strlen(diary);

	snprintf(diary + used, sizeof(diary) - used, "%s:%s ", dev->id, what);
}

static int gadget_create(struct device *dev, struct err *err)
{
	struct gadget *g = container_of(dev, struct gadget, dev);
	struct bus_region region = {
		.name = dev->id,
		.space = BUS_PIO,
		.base = g->port,
		.size = 2,
		.widths = BUS_W1,
		.dev = dev,
	};

	note(dev, "create");
	if (bus_add(&dev->vm->bus, &region, err))
		return -EEXIST;
	if (g->port == 0x666)
		return -EIO;
	return 0;
}

static void gadget_destroy(struct device *dev)
{
	note(dev, "destroy");
}

static void gadget_reset(struct device *dev)
{
	struct gadget *g = container_of(dev, struct gadget, dev);

	assert_int_equal(pthread_mutex_trylock(&dev->lock), EBUSY);
	note(dev, "reset");
	g->regs = (struct gadget_regs){.limit = 10};
}

static int gadget_loaded(struct device *dev, struct err *err)
{
	struct gadget *g = container_of(dev, struct gadget, dev);

	if (g->regs.count > g->regs.limit)
		return err_set(err, -EINVAL, "%s: count past limit", dev->id);
	g->rebuilt = g->regs.count;
	return 0;
}

static void gadget_quiesce(struct device *dev)
{
	note(dev, "quiesce");
}

static void gadget_resume(struct device *dev)
{
	note(dev, "resume");
}

static const struct device_option gadget_options[] = {
	{"port", OPT_NUM, offsetof(struct gadget, port), NULL, "first port"},
	{"loud", OPT_BOOL, offsetof(struct gadget, loud), "off", "say more"},
	{"label", OPT_STR, offsetof(struct gadget, label), "none", "a name"},
	{0},
};

static const struct device_type gadget_type = {
	.name = "gadget",
	.help = "test device",
	.size = sizeof(struct gadget),
	.options = gadget_options,
	.save_version = 3,
	.regs_offset = offsetof(struct gadget, regs),
	.regs_size = sizeof(struct gadget_regs),
	.create = gadget_create,
	.destroy = gadget_destroy,
	.reset = gadget_reset,
	.loaded = gadget_loaded,
	.quiesce = gadget_quiesce,
	.resume = gadget_resume,
};
DEVICE_TYPE(gadget_type);

/* Absent callbacks and no options mean nothing to do. */
static const struct device_type bare_type = {
	.name = "bare",
	.help = "nothing at all",
	.size = sizeof(struct device),
};
DEVICE_TYPE(bare_type);

static int setup(void **state)
{
	static struct vm vm;

	memset(&vm, 0, sizeof(vm));
	*diary = '\0';
	*state = &vm;
	return bus_init(&vm.bus);
}

static int teardown(void **state)
{
	struct vm *vm = *state;

	device_destroy_all(vm);
	bus_fini(&vm->bus);
	return vm->devices != NULL;
}

static struct gadget *add(struct vm *vm, const char *options)
{
	struct err err = {0};
	struct device *dev = device_add(vm, "gadget", options, &err);

	if (!dev)
		fail_msg("%s: %s", options, err.msg);
	return container_of(dev, struct gadget, dev);
}

static void test_registry(void **state)
{
	const struct device_type *type = NULL;
	unsigned seen = 0;

	assert_ptr_equal(device_type_find("gadget"), &gadget_type);
	assert_ptr_equal(device_type_find("bare"), &bare_type);
	assert_null(device_type_find("gadge"));
	while ((type = device_type_next(type)))
		seen += type == &gadget_type || type == &bare_type;
	assert_int_equal(seen, 2);
}

static void test_options(void **state)
{
	struct vm *vm = *state;
	const struct gadget *g = add(vm, "port=0x3f8");

	assert_int_equal(g->port, 0x3f8);
	assert_false(g->loud);
	assert_string_equal(g->label, "none");
	assert_string_equal(g->dev.id, "gadget0");
	g = add(vm, "label=a=b,loud=on,port=4k,");
	assert_int_equal(g->port, 4096);
	assert_true(g->loud);
	assert_string_equal(g->label, "a=b");
	assert_string_equal(g->dev.id, "gadget1");
	g = add(vm, "id=mine,port=1,label=");
	assert_string_equal(g->label, "");
	assert_ptr_equal(device_find(vm, "mine"), &g->dev);
	assert_null(device_find(vm, "gadget2"));
	assert_non_null(device_add(vm, "bare", NULL, NULL));
	assert_non_null(device_find(vm, "bare0"));
}

static void test_bad_options(void **state)
{
	static const struct {
		const char *options, *says;
	} cases[] = {
		{NULL, "port= is missing"},
		{"", "port= is missing"},
		{"port", "not key=value"},
		{"port=", "a number"},
		{"port=12z", "a number"},
		{"port=1,loud=maybe", "on or off"},
		{"port=1,colour=red", "no option 'colour'"},
		{"port=1,por=2", "no option 'por'"},
		{"port=1,port=2", "given twice"},
		{"port=1,id=", "1 to 31"},
		{"port=1,id=0123456789012345678901234567890x", "1 to 31"},
		{"port=1,id=taken", "is taken"},
		{"port=0x3f9", "overlaps"},
		{"port=0x666", "gadget: "},
	};
	struct vm *vm = *state;

	add(vm, "port=0x3f8,id=taken");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		assert_null(device_add(vm, "gadget", cases[i].options, &err));
		assert_true(err.code < 0);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("%s: %s", cases[i].options, err.msg);
	}
	assert_null(device_add(vm, "widget", NULL, NULL));
	/* What failed left no region behind. */
	assert_null(device_add(vm, "gadget", "port=0x666", NULL));
	add(vm, "port=0x667");
}

static void test_order(void **state)
{
	struct vm *vm = *state;

	add(vm, "port=1,id=a");
	add(vm, "port=3,id=b");
	assert_string_equal(diary, "a:create a:reset b:create b:reset ");
	*diary = '\0';
	device_reset_all(vm);
	device_quiesce_all(vm);
	device_resume_all(vm);
	device_destroy_all(vm);
	assert_string_equal(diary, "a:reset b:reset a:quiesce b:quiesce "
				   "a:resume b:resume b:destroy a:destroy ");
}

static void test_save_load(void **state)
{
	struct vm *vm = *state;
	struct gadget *from = add(vm, "port=1"), *to = add(vm, "port=3");
	struct device_blob blob, bad;
	struct err err = {0};

	from->regs.count = 7;
	memset(&blob, 0xee, sizeof(blob));
	assert_int_equal(device_save(&from->dev, &blob, &err), 0);
	assert_int_equal(blob.version, 3);
	assert_int_equal(blob.size, sizeof(struct gadget_regs));
	/* No byte of ours beyond the group leaves the process. */
	for (unsigned i = blob.size; i < sizeof(blob.data); i++)
		assert_int_equal(blob.data[i], 0);
	assert_int_equal(device_load(&to->dev, &blob, &err), 0);
	assert_memory_equal(&from->regs, &to->regs, sizeof(from->regs));
	assert_int_equal(to->rebuilt, 7);

	bad = blob;
	bad.version = 4;
	assert_int_equal(device_load(&to->dev, &bad, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "version 4"));
	bad = blob;
	bad.size = UINT32_MAX;
	assert_int_equal(device_load(&to->dev, &bad, NULL), -EINVAL);
	bad.size = blob.size - 1;
	assert_int_equal(device_load(&to->dev, &bad, NULL), -EINVAL);
	bad = blob;
	bad.data[0] = 11; /* count past limit */
	err.code = 0;
	assert_int_equal(device_load(&to->dev, &bad, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "count past limit"));
	assert_int_equal(to->regs.count, 7);
	assert_int_equal(to->rebuilt, 7);
}

/* Every bit of the group: accepted or refused whole, nothing in between. */
static void test_bit_flips(void **state)
{
	struct gadget *g = add(*state, "port=1");
	struct gadget_regs before;
	struct device_blob blob;

	g->regs.count = 5;
	assert_int_equal(device_save(&g->dev, &blob, NULL), 0);
	for (unsigned bit = 0;
	     bit < 8 * sizeof(blob.version) + 8 * sizeof(blob.size) +
			   8 * sizeof(g->regs);
	     bit++) {
		struct device_blob bad = blob;
		u8 *bytes = (u8 *)&bad;

		before = g->regs;
		bytes[bit / 8] ^= (u8)(1 << bit % 8);
		if (device_load(&g->dev, &bad, NULL))
			assert_memory_equal(&g->regs, &before, sizeof(before));
		assert_true(g->regs.count <= g->regs.limit);
		assert_int_equal(device_load(&g->dev, &blob, NULL), 0);
	}
}

#define device_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		device_test(test_registry),    device_test(test_options),
		device_test(test_bad_options), device_test(test_order),
		device_test(test_save_load),   device_test(test_bit_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
