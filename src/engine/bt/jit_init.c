/* SPDX-License-Identifier: Apache-2.0 */
/* The translator's memory: set up and given back outside of guest code. */
#include "engine/bt/jit_show.h"
#include "engine/bt/jit_translate.h"
#include "engine/bt/jit_verify.h"
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/host_cpu.h"

static u64 code_size(const struct bt_vm *bvm)
{
	const struct engine_options *options = bvm->vm->options;

	return options && options->bt_code ? options->bt_code
					   : bt_code_room(bvm);
}

static u64 list_bytes(const struct bt_jit *jit)
{
	return jit->most * sizeof(struct bt_trans *);
}

int bt_jit_init(struct bt_vm *bvm, struct err *err)
{
	const struct engine_options *options = bvm->vm->options;
	struct bt_jit *jit = calloc(1, sizeof(*jit));
	int ret;

	if (!jit)
		return err_set(err, -ENOMEM, "out of memory");
	bvm->jit = jit;
	jit->bmi2 = host_cpu_has(BMI2);
	/* Zen and Zen 2, and Hygon's Zen, have them in microcode. */
	jit->fast_pext = jit->bmi2 && host_cpu_family() != 0x17 &&
			 host_cpu_family() != 0x18;
	jit->most = (u32)(code_size(bvm) / BT_JIT_LEAST);
	jit->list = bt_reserve(list_bytes(jit));
	jit->work = calloc(1, sizeof(*jit->work));
	if (!jit->list || !jit->work)
		return err_set(err, -ENOMEM, "out of memory");
	ret = codebuf_init(&jit->code, code_size(bvm),
			   options && options->bt_perf_map ? CODEBUF_ANON
							   : CODEBUF_FD,
			   err);
	if (ret)
		return ret;
	bt_jit_emit_thunks(jit);
	if (jit_verify_always || (options && options->bt_verify)) {
		jit->marks = malloc(JIT_VERIFY_MAX);
		if (!jit->marks)
			return err_set(err, -ENOMEM, "out of memory");
	}
	jit->count_runs = options && options->bt_count;
	return jit_show_open(&jit->show, options, jit, err);
}

void bt_jit_fini(struct bt_vm *bvm)
{
	struct bt_jit *jit = bvm->jit;

	if (!jit)
		return;
	jit_show_close(jit->show);
	codebuf_fini(&jit->code);
	if (jit->list)
		munmap(jit->list, list_bytes(jit));
	free(jit->work);
	free(jit->marks);
	free(jit);
	bvm->jit = NULL;
}
