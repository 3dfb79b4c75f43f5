/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: IN, OUT, INS, OUTS.
 *
 * References: [1] Intel SDM vol. 2A-2B, the instructions' pages; vol. 1
 *                 chapter 19 (I/O protection).
 *
 * The bus is outside of the engine: an access goes between bt_leave() and
 * bt_enter(). A string goes there in a few large pieces, through c->bounce.
 */
#include "engine/bt/op_string.h"

#include "engine/bt/sys.h"
#include "engine/bt/vm.h"
#include "vmm/bus.h"

#include "bt_ops.h"

static void port_read(struct bt_cpu *c, u16 port, unsigned width,
		      unsigned count, void *buf)
{
	c->stat.device++;
	bt_leave(c);
	bus_read(&c->bvm->vm->bus, BUS_PIO, port, 1u << width, count, buf);
	bt_enter(c);
}

static void port_write(struct bt_cpu *c, u16 port, unsigned width,
		       unsigned count, const void *buf)
{
	c->stat.device++;
	bt_leave(c);
	bus_write(&c->bvm->vm->bus, BUS_PIO, port, 1u << width, count, buf);
	bt_enter(c);
}

static void in(struct bt_cpu *c, u16 port, unsigned width)
{
	bt_io_check(c, port, 1u << width);
	c->scratch = 0;
	port_read(c, port, width, 1, &c->scratch);
	bt_set_reg(c, BT_REG(X86_RAX), width, c->scratch);
}

static void out(struct bt_cpu *c, u16 port, unsigned width)
{
	bt_io_check(c, port, 1u << width);
	c->scratch = c->gpr[X86_RAX];
	port_write(c, port, width, 1, &c->scratch);
}

/* Units of one step: no more than the bounce buffer holds. */
static u64 port_span(struct bt_cpu *c, const struct bt_insn *i, struct side s,
		     u64 units)
{
	u64 span = side_span(c, i, s, units);

	return max_u64(min_u64(span, sizeof(c->bounce) >> i->width), 1);
}

/* Memory is checked before the device is read: that has side effects. */
static u64 ins_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		    u16 *flags)
{
	struct side to = target(true);
	u64 span = port_span(c, i, to, units);
	unsigned bytes = (unsigned)(span << i->width);
	gva_t va = side_address(c, i, to);

	bt_probe(c, va, bytes, true);
	port_read(c, (u16)c->gpr[X86_RDX], i->width, (unsigned)span, c->bounce);
	bt_store_bytes(c, va, c->bounce, bytes);
	side_advance(c, i, to, span);
	return span;
}

static u64 outs_step(struct bt_cpu *c, const struct bt_insn *i, u64 units,
		     u16 *flags)
{
	struct side from = source(i);
	u64 span = port_span(c, i, from, units);
	unsigned bytes = (unsigned)(span << i->width);

	bt_load_bytes(c, side_address(c, i, from), c->bounce, bytes);
	port_write(c, (u16)c->gpr[X86_RDX], i->width, (unsigned)span,
		   c->bounce);
	side_advance(c, i, from, span);
	return span;
}

static void port_string(struct bt_cpu *c, const struct bt_insn *i,
			step_fn *step)
{
	bt_io_check(c, (u16)c->gpr[X86_RDX], 1u << i->width);
	string(c, i, step, false);
}

#define DEFINE_PORT(bits, unused)                      \
	OP(in_i##bits)                                 \
	{                                              \
		in(c, (u8)i->imm, W##bits);            \
	}                                              \
	OP(in_d##bits)                                 \
	{                                              \
		in(c, (u16)c->gpr[X86_RDX], W##bits);  \
	}                                              \
	OP(out_i##bits)                                \
	{                                              \
		out(c, (u8)i->imm, W##bits);           \
	}                                              \
	OP(out_d##bits)                                \
	{                                              \
		out(c, (u16)c->gpr[X86_RDX], W##bits); \
	}                                              \
	OP(ins##bits)                                  \
	{                                              \
		port_string(c, i, ins_step);           \
	}                                              \
	OP(outs##bits)                                 \
	{                                              \
		port_string(c, i, outs_step);          \
	}

DEFINE_PORT(8, )
DEFINE_PORT(16, )
DEFINE_PORT(32, )
