/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose state is saved, loaded and compared at a point, "point=N", and
 * that checks afterwards that nothing happened to it. tests/lab/moves.c runs
 * it; without a host that takes part every point passes as well.
 */
#include "state.h"

int main(void)
{
	static void (*const points[POINT_COUNT])(void) = {
		[POINT_PLAIN] = point_plain,
		[POINT_STI] = point_sti,
		[POINT_MOVSS] = point_movss,
		[POINT_NMI] = point_nmi,
		[POINT_NMI_MAIL] = point_nmi_mail,
		[POINT_REP] = point_rep,
		[POINT_HLT] = point_hlt,
		[POINT_SIPI] = point_sipi,
		[POINT_ONE_SHOT] = point_one_shot,
		[POINT_PERIODIC] = point_periodic,
		[POINT_DEADLINE] = point_deadline,
		[POINT_PIT] = point_pit,
		[POINT_FPU] = point_fpu,
		[POINT_STEP] = point_step,
		[POINT_WATCH] = point_watch,
		[POINT_REAL] = point_real,
		[POINT_PAGING] = point_paging,
		[POINT_MSRS] = point_msrs,
		[POINT_CHIPS] = point_chips,
		[POINT_PAIR] = point_pair,
		[POINT_RANDOM] = point_random,
	};
	ulong point = option_number("point", POINT_PLAIN);

	pic_mask_all();
	apic_enable();
	if (expect(point < POINT_COUNT))
		points[point]();
	return 0;
}
