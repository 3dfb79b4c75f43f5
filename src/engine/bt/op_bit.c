/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: bit tests, bit scans and counts, byte order, CRC32, ADCX, ADOX.
 *
 * References: [1] Intel SDM vol. 2A, BT, BTS, BTR, BTC, BSF, BSR, ADCX.
 *             [2] AMD APM vol. 3, the same.
 *
 * Flags that are undefined by the manual stay as they were on some CPUs: they
 * are loaded first.
 */
#include "engine/bt/ops.h"

#include "bt_ops.h"

/* ---- BT, BTS, BTR, BTC ------------------------------------------------- */

/* With the offset in a register, memory is a bit string: the word that holds
 * the bit may lie far from the operand, in both directions ([1] BT, figure
 * 3-2). */
static inline gva_t bit_string(struct bt_cpu *c, const struct bt_insn *i,
			       s64 word, unsigned size, bool write)
{
	u64 ea = bt_ea(c, i) + (u64)word * size;

	return bt_lin(c, i->seg, ea & bt_addr_mask[i->asize], size, write);
}

#define WORD_OF(bits, offset) \
	((s##bits)(offset) >> (bits == 64 ? 6 : bits / 32 + 4))

#define DEFINE_BIT_REG(bits, op)                                          \
	static inline u##bits op##_reg##bits(struct bt_cpu *c, u##bits d, \
					     u##bits offset)              \
	{                                                                 \
		u32 flags = c->aflags;                                    \
                                                                          \
		asm(LOAD_FLAGS #op " %[s], %[d]" SAVE_FLAGS               \
		    : [d] "+r"(d), "+a"(flags)                            \
		    : [s] "r"(offset)                                     \
		    : "cc");                                              \
		c->aflags = (u16)flags;                                   \
		return d;                                                 \
	}

#define DEFINE_BIT_TEST(bits, op)                                            \
	DEFINE_BIT_REG(bits, op)                                             \
	OP(op##_rr##bits)                                                    \
	{                                                                    \
		op##_reg##bits(c, bt_get##bits(c, i->a),                     \
			       bt_get##bits(c, i->b));                       \
	}                                                                    \
	OP(op##_ri##bits)                                                    \
	{                                                                    \
		op##_reg##bits(c, bt_get##bits(c, i->a), (u##bits)i->imm);   \
	}                                                                    \
	OP(op##_mr##bits)                                                    \
	{                                                                    \
		u##bits offset = bt_get##bits(c, i->a);                      \
		gva_t va = bit_string(c, i, WORD_OF(bits, offset), bits / 8, \
				      false);                                \
                                                                             \
		op##_reg##bits(c, bt_load##bits(c, va), offset);             \
	}                                                                    \
	OP(op##_mi##bits)                                                    \
	{                                                                    \
		op##_reg##bits(c, bt_get_rm##bits(c, i), (u##bits)i->imm);   \
	}

/* The bit's number is within the word by now, so that the host's own
 * bit-string addressing stays in it. */
#define DEFINE_BIT_CHANGE(bits, op)                                          \
	DEFINE_BIT_REG(bits, op)                                             \
	static inline void op##_mem##bits(struct bt_cpu *c, gva_t va,        \
					  u##bits offset, bool locked)       \
	{                                                                    \
		u##bits##_any *p =                                           \
			bt_rmw_begin(c, va, bits / 8, locked, &c->scratch);  \
		u32 flags = c->aflags;                                       \
                                                                             \
		offset &= bits - 1;                                          \
		if (locked) {                                                \
			asm volatile(LOAD_FLAGS "lock; " #op                 \
						" %[s], %[d]" SAVE_FLAGS     \
				     : [d] "+m"(*p), "+a"(flags)             \
				     : [s] "r"(offset)                       \
				     : "cc");                                \
			c->aflags = (u16)flags;                              \
		} else {                                                     \
			*p = op##_reg##bits(c, *p, offset);                  \
		}                                                            \
		bt_rmw_end(c, va, bits / 8, locked, p, &c->scratch);         \
	}                                                                    \
	static inline void op##_string##bits(                                \
		struct bt_cpu *c, const struct bt_insn *i, bool locked)      \
	{                                                                    \
		u##bits offset = bt_get##bits(c, i->a);                      \
		gva_t va = bit_string(c, i, WORD_OF(bits, offset), bits / 8, \
				      true);                                 \
                                                                             \
		op##_mem##bits(c, va, offset, locked);                       \
	}                                                                    \
	OP(op##_rr##bits)                                                    \
	{                                                                    \
		u##bits d = op##_reg##bits(c, bt_get##bits(c, i->a),         \
					   bt_get##bits(c, i->b));           \
                                                                             \
		bt_set##bits(c, i->a, d);                                    \
	}                                                                    \
	OP(op##_ri##bits)                                                    \
	{                                                                    \
		u##bits d = op##_reg##bits(c, bt_get##bits(c, i->a),         \
					   (u##bits)i->imm);                 \
                                                                             \
		bt_set##bits(c, i->a, d);                                    \
	}                                                                    \
	OP(op##_mr##bits)                                                    \
	{                                                                    \
		op##_string##bits(c, i, false);                              \
	}                                                                    \
	OP(op##_lr##bits)                                                    \
	{                                                                    \
		op##_string##bits(c, i, true);                               \
	}                                                                    \
	OP(op##_mi##bits)                                                    \
	{                                                                    \
		op##_mem##bits(c, bt_operand(c, i, bits / 8, true),          \
			       (u##bits)i->imm, false);                      \
	}                                                                    \
	OP(op##_li##bits)                                                    \
	{                                                                    \
		op##_mem##bits(c, bt_operand(c, i, bits / 8, true),          \
			       (u##bits)i->imm, true);                       \
	}

FOR_V(DEFINE_BIT_TEST, bt)
FOR_V(DEFINE_BIT_CHANGE, bts)
FOR_V(DEFINE_BIT_CHANGE, btr)
FOR_V(DEFINE_BIT_CHANGE, btc)

/* ---- scans and counts -------------------------------------------------- */

/* The destination is handed over whole: BSF and BSR of zero leave it alone,
 * in what width is the CPU's affair ([2] BSF). */
#define DEFINE_SCAN(bits, op)                                            \
	static inline void op##_of##bits(struct bt_cpu *c,               \
					 const struct bt_insn *i, u64 s) \
	{                                                                \
		u64 d = bt_get64(c, i->a);                               \
		u32 flags = c->aflags;                                   \
                                                                         \
		asm(LOAD_FLAGS #op " " NARROW##bits "[s], " NARROW##bits \
		    "[d]" SAVE_FLAGS                                     \
		    : [d] "+r"(d), "+a"(flags)                           \
		    : [s] "r"(s)                                         \
		    : "cc");                                             \
		c->aflags = (u16)flags;                                  \
		bt_set64(c, i->a, d);                                    \
	}                                                                \
	OP(op##_rr##bits)                                                \
	{                                                                \
		op##_of##bits(c, i, bt_get##bits(c, i->b));              \
	}                                                                \
	OP(op##_rm##bits)                                                \
	{                                                                \
		op##_of##bits(c, i, bt_get_rm##bits(c, i));              \
	}

FOR_V(DEFINE_SCAN, bsf)
FOR_V(DEFINE_SCAN, bsr)
FOR_V(DEFINE_SCAN, tzcnt)
FOR_V(DEFINE_SCAN, lzcnt)
FOR_V(DEFINE_SCAN, popcnt)
FOR_Y(DEFINE_SCAN, adcx)
FOR_Y(DEFINE_SCAN, adox)

/* ---- byte order -------------------------------------------------------- */

/* 16 bits are undefined ([1] BSWAP): the host's own answer. */
OP(bswap16)
{
	u64 val = bt_get64(c, i->a);

	asm(".byte 0x66, 0x0f, 0xc8" : "+a"(val));
	bt_set64(c, i->a, val);
}

OP(bswap32)
{
	bt_set32(c, i->a, __builtin_bswap32(bt_get32(c, i->a)));
}

OP(bswap64)
{
	bt_set64(c, i->a, __builtin_bswap64(bt_get64(c, i->a)));
}

#define DEFINE_MOVBE(bits, unused)                                            \
	OP(movbe_load##bits)                                                  \
	{                                                                     \
		bt_set##bits(c, i->a,                                         \
			     __builtin_bswap##bits(bt_get_rm##bits(c, i)));   \
	}                                                                     \
	OP(movbe_store##bits)                                                 \
	{                                                                     \
		bt_store##bits(c, bt_operand(c, i, bits / 8, true),           \
			       __builtin_bswap##bits(bt_get##bits(c, i->a))); \
	}

FOR_V(DEFINE_MOVBE, )

/* ---- CRC32 ------------------------------------------------------------- */

#define DEFINE_CRC(bits, rr, rm)                                               \
	static inline void crc32_of##bits(struct bt_cpu *c, u8 off, u##bits s) \
	{                                                                      \
		u64 d = bt_get32(c, off);                                      \
                                                                               \
		asm("crc32" SUFFIX##bits " %[s], " CRC_DEST##bits              \
		    : [d] "+r"(d)                                              \
		    : [s] "r"(s));                                             \
		bt_set64(c, off, d);                                           \
	}                                                                      \
	OP(rr)                                                                 \
	{                                                                      \
		crc32_of##bits(c, i->a, bt_get##bits(c, i->b));                \
	}                                                                      \
	OP(rm)                                                                 \
	{                                                                      \
		crc32_of##bits(c, i->a, bt_get_rm##bits(c, i));                \
	}

#define CRC_DEST8 "%k[d]"
#define CRC_DEST16 "%k[d]"
#define CRC_DEST32 "%k[d]"
#define CRC_DEST64 "%q[d]"

DEFINE_CRC(8, crc32b_rr, crc32b_rm)
DEFINE_CRC(16, crc32_rr16, crc32_rm16)
DEFINE_CRC(32, crc32_rr32, crc32_rm32)
DEFINE_CRC(64, crc32_rr64, crc32_rm64)
