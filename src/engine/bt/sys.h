/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system half of the engine: exceptions and interrupts, segments, far
 * transfers, control registers, MSRs, and what the run loop asks between two
 * instructions.
 *
 * References: [1] Intel SDM vol. 3A, chapters 3, 5, 6, 17.
 *             [2] AMD APM vol. 2, chapters 4, 8, 13.
 *
 * Where the vendors differ, the policy's vendor decides (bt_is_amd) or, where
 * no operating system can tell, the common subset; noted at each place.
 */
#pragma once

#include "engine/bt/bt.h"
#include "util/log.h"

/* ---- unwinding (jmp.S, fault.c) ---------------------------------------- */

/*
 * As setjmp and longjmp, but general registers only: the FPU's state belongs
 * to the guest. bt_raise() comes back to c->jmp, where the run loop calls
 * bt_deliver_pending(), which may itself unwind to the same place: a fault
 * during delivery.
 */
int bt_setjmp(u64 jmp[8]) __attribute__((returns_twice));
_Noreturn void bt_longjmp(u64 jmp[8]);

/* The exception that bt_raise() recorded in c->exc. May raise. */
void bt_deliver_pending(struct bt_cpu *c);

/* Tell people, a few times a second at most, what a guest did. */
#define bt_complain(c, ...)             \
	do {                            \
		bt_leave(c);            \
		log_guest(__VA_ARGS__); \
		bt_enter(c);            \
	} while (0)

/* ---- delivery (deliver.c) ---------------------------------------------- */

enum bt_event_kind {
	EVENT_FAULT,	 /* RIP of the instruction; RF set in the image */
	EVENT_TRAP,	 /* #DB between two instructions */
	EVENT_SOFT,	 /* INT n, INT3, INTO: next RIP, gate's DPL counts */
	EVENT_ICEBP,	 /* INT1: next RIP, DPL does not count */
	EVENT_INTERRUPT, /* NMI, LAPIC, 8259 */
};

struct bt_event {
	u8 vector;
	u8 kind; /* enum bt_event_kind */
	bool has_error;
	u32 error;
};

/* In bt_cpu.delivering: not an exception, benign in [1] table 6-4. */
#define BT_BENIGN 0x100

void bt_deliver_event(struct bt_cpu *c, const struct bt_event *event);

/* A stack that is about to be switched to, or the present one. */
struct bt_stack {
	u64 base;
	u64 sp;
	u64 mask;		       /* of sp */
	const struct x86_segment *seg; /* its limit counts; NULL: 64-bit */
	u32 error;		       /* of the #SS that a push raises */
	u8 width;		       /* enum bt_width of a push */
};
void bt_stack_current(struct bt_cpu *c, struct bt_stack *stack, unsigned width);
void bt_stack_push(struct bt_cpu *c, struct bt_stack *stack, u64 val);

/*
 * The stack of an inner privilege level from the TSS. `ext` goes into error
 * codes. Fills ss and *sp; raises #TS or #SS.
 */
void bt_tss_stack(struct bt_cpu *c, u8 cpl, u32 ext, struct x86_segment *ss,
		  u64 *sp);
/* 64-bit TSS: stack pointer `slot` at offset 4 + 8 * slot (IST n is 3 + n). */
u64 bt_tss_rsp(struct bt_cpu *c, unsigned slot, u32 ext);
/* Task switches are not emulated: counted, and #GP(error). */
_Noreturn void bt_no_task_switch(struct bt_cpu *c, u32 error);

/*
 * Access memory with the rights of `cpl` before the switch to it is complete;
 * undone by bt_update_mode() and by whatever raises.
 */
void bt_as_cpl(struct bt_cpu *c, u8 cpl);

/* ---- between instructions (event.c) ------------------------------------ */

enum bt_next {
	BT_RUN_BLOCK, /* go on */
	BT_RUN_ONE,   /* one instruction; c->attention is set again */
	BT_LEAVE,     /* return from run(); c->exit is filled */
};

/*
 * Called at a block boundary while c->attention is set. c->gpr[17] is the next
 * instruction, before and after. ATTN_EXCLUSIVE is the caller's. May unwind to
 * the run loop. run() calls bt_attend(c, ATTN_EVENTS) first.
 */
enum bt_next bt_attend_all(struct bt_cpu *c);
/* STI or MOV SS: the next instruction runs before an interrupt is taken. */
static inline void bt_set_shadow(struct bt_cpu *c, u8 shadow)
{
	c->shadow = shadow;
	c->shadow_ip = c->gpr[17];
}
/* Data and I/O breakpoints ([1] 17.2.4): a #DB trap if one matches. */
void bt_watch_hit(struct bt_cpu *c, gva_t va, unsigned size, bool write);
void bt_watch_io(struct bt_cpu *c, u16 port, unsigned size);
/* Any enabled breakpoint of DR7 whose R/W field is in `kinds` (bit per
 * value: 1 execute, 2 write, 4 I/O, 8 read or write). */
bool bt_watches(const struct bt_cpu *c, unsigned kinds);
enum { WATCH_EXEC = 1, WATCH_WRITE = 2, WATCH_IO = 4, WATCH_ACCESS = 8 };
/* state.c: INIT and SIPI of these events, between two instructions. */
void bt_take_init(struct bt_cpu *c, u32 events);
/* c->exit of the kind, and leave run() at the next boundary. */
void bt_stop(struct bt_cpu *c, enum vcpu_exit_kind kind);

/* ---- segments (desc.c, seg.c) ------------------------------------------ */

#define SEL_RPL 3u
#define SEL_TI 4u
#define SEL_ERR(sel) ((u32)(sel)&0xfffcu)

static inline bool bt_sel_null(u16 sel)
{
	return !(sel & ~SEL_RPL);
}

static inline unsigned bt_seg_dpl(const struct x86_segment *s)
{
	return s->attr >> SEG_DPL_SHIFT & 3;
}

/* A descriptor as it stands in its table. */
struct bt_desc {
	u64 raw;
	u64 high; /* second half of a 16-byte system descriptor */
	gva_t va;
};

/* False: the selector is null or beyond its table's limit. */
bool bt_desc_find(struct bt_cpu *c, u16 sel, unsigned bytes, gva_t *va);
/* As that, but raises `vector` with SEL_ERR(sel) | ext. */
void bt_desc_load(struct bt_cpu *c, u16 sel, u32 ext, u8 vector,
		  struct bt_desc *d);
/* The second half of a system descriptor in long mode; #GP if malformed. */
void bt_desc_load_high(struct bt_cpu *c, u16 sel, u32 ext, struct bt_desc *d);
void bt_desc_set_accessed(struct bt_cpu *c, const struct bt_desc *d);
void bt_desc_to_segment(const struct bt_desc *d, u16 sel,
			struct x86_segment *s);

static inline u16 bt_desc_attr(const struct bt_desc *d)
{
	return d->raw >> 40 & 0xf0ff;
}
static inline unsigned bt_desc_dpl(const struct bt_desc *d)
{
	return d->raw >> 45 & 3;
}
static inline bool bt_desc_is_code(const struct bt_desc *d)
{
	return (bt_desc_attr(d) & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

/* MOV, POP, LxS to a segment register but CS; all checks. */
void bt_load_segment(struct bt_cpu *c, unsigned seg, u16 sel);
/* What a failing check of SS raises: #GP or #TS, with EXT in the code. */
struct bt_blame {
	u8 vector;
	u8 ext;
};
/* The checks of SS for privilege `cpl`. Fills *s, does not load. */
void bt_check_ss(struct bt_cpu *c, u16 sel, u8 cpl, struct bt_blame blame,
		 struct x86_segment *s);
void bt_null_segment(struct x86_segment *s, u16 sel);
/* Real mode: base is sixteen times the selector. */
void bt_real_segment(struct x86_segment *s, u16 sel);
/* Flat ones, as SYSCALL and its kin load them. */
void bt_flat_code(struct x86_segment *s, u16 sel, unsigned dpl, bool code64);
void bt_flat_stack(struct x86_segment *s, u16 sel, unsigned dpl);
/* One segment register other than CS and SS has a new value. */
void bt_update_segment(struct bt_cpu *c, unsigned seg);
bool bt_seg_fits(const struct x86_segment *s, u64 off, unsigned size);
/* I/O permission for [port, port+size) and I/O breakpoints; #GP(0). */
void bt_io_check(struct bt_cpu *c, u16 port, unsigned size);

/* ---- state (state.c) --------------------------------------------------- */

void bt_update_tlb(struct bt_cpu *c); /* after CPL, AC, DR7 changed */
/* engine_ops.get_state and set_state: outside of bt_enter()..bt_leave(). */
int bt_get_state(struct vcpu *vcpu, struct x86_state *state);
int bt_set_state(struct vcpu *vcpu, const struct x86_state *state,
		 struct err *err);

/* ---- the rest ---------------------------------------------------------- */

/* AMD's or Hygon's CPU: [2] holds where it differs from [1]. */
bool bt_is_amd(const struct bt_cpu *c);

static inline void bt_need_cpl0(struct bt_cpu *c)
{
	if (unlikely(c->cpl))
		bt_gp(c);
}
static inline void bt_need_protected(struct bt_cpu *c)
{
	if (unlikely(!bt_protected(c)))
		bt_ud(c);
}

u32 bt_cpu_signature(struct bt_cpu *c); /* family, model and stepping */
u64 bt_rdtsc(struct bt_cpu *c); /* the vCPU's TSC: the VM's plus TSC_ADJUST */
/* After the clock, TSC_ADJUST or CR4.TSD changed: what RDTSC in translated code
 * does. */
void bt_update_rdtsc(struct bt_cpu *c);

/* cr.c: rules of [1] 2.5; raise #GP(0). */
void bt_write_cr0(struct bt_cpu *c, u64 val);
void bt_write_efer(struct bt_cpu *c, u64 val);

/* pv.c: [3] Linux Documentation/virt/kvm/x86/msr.rst */
bool bt_pv_set_system_time(struct bt_cpu *c, u64 val);
bool bt_pv_set_wall_clock(struct bt_cpu *c, u64 val);
bool bt_pv_set_eoi(struct bt_cpu *c, u64 val);
void bt_pv_write_clock(struct bt_cpu *c);
int bt_pv_resume(struct vm *vm, struct err *err); /* engine.h: resume */
/* Has the guest ended its interrupt? Before anyone looks at the LAPIC. */
void bt_pv_eoi_sync(struct bt_cpu *c);
/* The interrupt just acknowledged may be ended in memory. */
void bt_pv_eoi_offer(struct bt_cpu *c);
