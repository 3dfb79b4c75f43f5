/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables, built in host memory and written to the guest in one go:
 *
 *     RSDP -> RSDT, XSDT -> FADT -> FACS, DSDT
 *                        -> MADT
 *                        -> MCFG (with PCI)
 *
 * References: [1] ACPI Specification 6.5, 5.2 (system description tables).
 *             [2] PCI Firmware Specification 3.3, 4.1.2 (MCFG).
 *
 * Deliberately not there: hardware-reduced mode (we have PM1 blocks and a
 * PIC), SMM, GPE blocks, HPET, sleep states but S5.
 */
#include "boot/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/dsdt.h"

/* ---- table layouts ----------------------------------------------------- */

#define PACKED __attribute__((packed))

struct acpi_rsdp { /* [1] 5.2.5.3 */
	char signature[8];
	u8 checksum; /* of the first 20 bytes */
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum;
	u8 reserved[3];
} PACKED;

struct acpi_header { /* [1] 5.2.6 */
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem_id[6];
	char oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
} PACKED;

struct acpi_address { /* [1] 5.2.3.2, generic address structure */
	u8 space, bits, bit_offset, access_size;
	u64 address;
} PACKED;

struct acpi_fadt { /* [1] 5.2.9 */
	struct acpi_header header;
	u32 facs, dsdt;
	u8 reserved_44, profile;
	u16 sci;
	u32 smi_command;
	u8 acpi_enable, acpi_disable, s4bios, pstate_control;
	u32 pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	u32 pm2_control, pm_timer, gpe0, gpe1;
	u8 pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	u8 gpe0_len, gpe1_len, gpe1_base, cst_control;
	u16 c2_latency, c3_latency, flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alarm, month_alarm, century;
	u16 boot_arch;
	u8 reserved_111;
	u32 flags;
	struct acpi_address reset;
	u8 reset_value;
	u16 arm_boot_arch;
	u8 minor_revision;
	u64 x_facs, x_dsdt;
	struct acpi_address x_pm1a_event, x_pm1b_event;
	struct acpi_address x_pm1a_control, x_pm1b_control;
	struct acpi_address x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct acpi_address sleep_control, sleep_status;
	char hypervisor[8];
} PACKED;

enum acpi_fadt_values {
	FADT_REVISION = 6,
	FADT_MINOR = 5,
	FADT_PROFILE_DESKTOP = 1,
	FADT_NO_C2 = 101,  /* above 100 us: not supported */
	FADT_NO_C3 = 1001, /* above 1000 us */
	FADT_CENTURY = 0x32,
	FADT_RESET_VALUE = 6,
	/* [1] table 5.10, fixed feature flags */
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_RTC_WAKE = 1 << 6,
	FADT_TIMER_32BIT = 1 << 8,
	FADT_RESET_REG = 1 << 10,
	/* [1] table 5.11, IA-PC boot architecture flags */
	FADT_LEGACY_DEVICES = 1 << 0,
	FADT_8042 = 1 << 1,
	FADT_NO_VGA = 1 << 2,
	FADT_NO_RTC = 1 << 5,
};

struct acpi_facs { /* [1] 5.2.10 */
	char signature[4];
	u32 length, hardware_signature, waking_vector, global_lock, flags;
	u64 x_waking_vector;
	u8 version;
	u8 reserved[31];
} PACKED;

struct acpi_madt { /* [1] 5.2.12 */
	struct acpi_header header;
	u32 lapic_address;
	u32 flags;
} PACKED;
#define MADT_PCAT_COMPAT 1 /* the PICs are there too */

enum acpi_madt_types {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10,
	MADT_CPU_ENABLED = 1,
	MADT_LAPIC_IDS = 255, /* from here on x2APIC entries */
	MADT_ACTIVE_HIGH_LEVEL = 1 | 3 << 2,
};

struct madt_lapic {
	u8 type, length, uid, id;
	u32 flags;
} PACKED;
struct madt_x2apic {
	u8 type, length;
	u16 reserved;
	u32 id, flags, uid;
} PACKED;
struct madt_ioapic {
	u8 type, length, id, reserved;
	u32 address, gsi_base;
} PACKED;
struct madt_override {
	u8 type, length, bus, source;
	u32 gsi;
	u16 flags;
} PACKED;
struct madt_lapic_nmi {
	u8 type, length, uid;
	u16 flags;
	u8 lint;
} PACKED;
struct madt_x2apic_nmi {
	u8 type, length;
	u16 flags;
	u32 uid;
	u8 lint;
	u8 reserved[3];
} PACKED;

struct acpi_mcfg { /* [2] table 4-2, with one allocation */
	struct acpi_header header;
	u64 reserved;
	u64 base;
	u16 segment;
	u8 bus_first, bus_last;
	u32 reserved_56;
} PACKED;

_Static_assert(sizeof(struct acpi_rsdp) == 36, "[1] 5.2.5.3");
_Static_assert(sizeof(struct acpi_header) == 36, "[1] 5.2.6");
_Static_assert(sizeof(struct acpi_fadt) == 276, "[1] 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, boot_arch) == 109, "[1] 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_pm_timer) == 208, "[1] 5.2.9");
_Static_assert(sizeof(struct acpi_facs) == 64, "[1] 5.2.10");
_Static_assert(sizeof(struct acpi_mcfg) == 60, "[2]");

/* ---- builder ----------------------------------------------------------- */

/* The image of what goes to `gpa`; full is checked once, at the end. */
struct tables {
	u8 *data;
	u32 len;
	gpa_t gpa;
	bool full;
	gpa_t list[4]; /* for RSDT and XSDT */
	unsigned count;
};

/* Zeroed room, or NULL. */
static void *reserve(struct tables *t, u32 len, u32 align)
{
	u32 at = (u32)align_up(t->len, align);

	if (t->full || len > BOOT_ACPI_SIZE || at > BOOT_ACPI_SIZE - len) {
		t->full = true;
		return NULL;
	}
	t->len = at + len;
	return t->data + at;
}

static gpa_t address_of(const struct tables *t, const void *table)
{
	return t->gpa + (u64)((const u8 *)table - t->data);
}

static u8 checksum(const void *data, u32 len)
{
	const u8 *p = data;
	u8 sum = 0;

	for (u32 i = 0; i < len; i++)
		sum = (u8)(sum + p[i]);
	return (u8)-sum;
}

static void set_header(struct acpi_header *h, const char *signature,
		       u8 revision)
{
	*h = (struct acpi_header){
		.revision = revision,
		.oem_id = "VIREO ",
		.oem_table_id = {'V', 'I', 'R', 'E', 'O', ' ', ' ', ' '},
		.oem_revision = 1,
		.creator_id = {'V', 'I', 'R', 'E'},
		.creator_revision = 1,
	};
	memcpy(h->signature, signature, 4);
}

/* The last table ends where the image does now. */
static void finish(struct tables *t, struct acpi_header *h)
{
	if (t->full)
		return;
	h->length = (u32)(t->data + t->len - (u8 *)h);
	h->checksum = checksum(h, h->length);
}

static void finish_listed(struct tables *t, struct acpi_header *h)
{
	finish(t, h);
	if (!t->full)
		t->list[t->count++] = address_of(t, h);
}

/* ---- the tables -------------------------------------------------------- */

static gpa_t add_dsdt(struct tables *t, const struct acpi_config *config)
{
	struct acpi_header *h = reserve(t, sizeof(*h), 16);
	struct aml aml = {.data = t->data + t->len,
			  .room = BOOT_ACPI_SIZE - t->len};

	if (!h)
		return 0;
	set_header(h, "DSDT", 2); /* 2: 64-bit integers */
	dsdt_build(&aml, config);
	t->len += aml.len;
	t->full |= aml.full;
	finish(t, h);
	return address_of(t, h);
}

static gpa_t add_facs(struct tables *t)
{
	struct acpi_facs *facs = reserve(t, sizeof(*facs), 64);

	if (!facs)
		return 0;
	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 2;
	return address_of(t, facs);
}

static struct acpi_address io_address(u16 port, u8 len)
{
	const u8 io_space = 1;

	return (struct acpi_address){
		.space = io_space,
		.bits = (u8)(len * 8),
		.access_size = len == 4	  ? 3
			       : len == 2 ? 2
					  : 1,
		.address = port,
	};
}

/* The event block is two 16-bit registers. */
static void set_pm_blocks(struct acpi_fadt *fadt)
{
	fadt->pm1a_event = PLAT_PM_EVT;
	fadt->pm1_event_len = 4;
	fadt->x_pm1a_event = io_address(PLAT_PM_EVT, 4);
	fadt->x_pm1a_event.access_size = 2;
	fadt->pm1a_control = PLAT_PM_CNT;
	fadt->pm1_control_len = 2;
	fadt->x_pm1a_control = io_address(PLAT_PM_CNT, 2);
	fadt->pm_timer = PLAT_PM_TMR;
	fadt->pm_timer_len = 4;
	fadt->x_pm_timer = io_address(PLAT_PM_TMR, 4);
}

static void add_fadt(struct tables *t, const struct acpi_config *config,
		     gpa_t facs, gpa_t dsdt)
{
	struct acpi_fadt *fadt = reserve(t, sizeof(*fadt), 16);

	if (!fadt)
		return;
	set_header(&fadt->header, "FACP", FADT_REVISION);
	fadt->minor_revision = FADT_MINOR;
	fadt->facs = (u32)facs;
	fadt->dsdt = (u32)dsdt;
	fadt->x_dsdt = dsdt;
	fadt->profile = FADT_PROFILE_DESKTOP;
	fadt->sci = PLAT_ACPI_SCI;
	set_pm_blocks(fadt);
	fadt->c2_latency = FADT_NO_C2;
	fadt->c3_latency = FADT_NO_C3;
	fadt->century = config->rtc ? FADT_CENTURY : 0;
	fadt->boot_arch = FADT_LEGACY_DEVICES | FADT_NO_VGA;
	fadt->boot_arch |= config->i8042 ? FADT_8042 : 0;
	fadt->boot_arch |= config->rtc ? 0 : FADT_NO_RTC;
	fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON |
		      FADT_NO_RTC_WAKE | FADT_TIMER_32BIT | FADT_RESET_REG;
	fadt->reset = io_address(PLAT_RESET_PORT, 1);
	fadt->reset_value = FADT_RESET_VALUE;
	memcpy(fadt->hypervisor, "VIREO   ", sizeof(fadt->hypervisor));
	finish_listed(t, &fadt->header);
}

static void add_entry(struct tables *t, const void *entry, u32 len)
{
	void *at = reserve(t, len, 1);

	if (at)
		memcpy(at, entry, len);
}

static void add_cpu(struct tables *t, u32 id)
{
	const struct madt_lapic lapic = {
		.type = MADT_LAPIC,
		.length = sizeof(lapic),
		.uid = (u8)id,
		.id = (u8)id,
		.flags = MADT_CPU_ENABLED,
	};
	const struct madt_x2apic x2apic = {
		.type = MADT_X2APIC,
		.length = sizeof(x2apic),
		.id = id,
		.flags = MADT_CPU_ENABLED,
		.uid = id,
	};

	if (id < MADT_LAPIC_IDS)
		add_entry(t, &lapic, sizeof(lapic));
	else
		add_entry(t, &x2apic, sizeof(x2apic));
}

/* The PIT's line reaches the IOAPIC at pin 2, the SCI is level-triggered. */
static void add_interrupts(struct tables *t)
{
	const struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC,
		.length = sizeof(ioapic),
		.id = PLAT_IOAPIC_ID,
		.address = PLAT_IOAPIC_BASE,
	};
	const struct madt_override pit = {
		.type = MADT_OVERRIDE,
		.length = sizeof(pit),
		.source = 0,
		.gsi = 2,
	};
	const struct madt_override sci = {
		.type = MADT_OVERRIDE,
		.length = sizeof(sci),
		.source = PLAT_ACPI_SCI,
		.gsi = PLAT_ACPI_SCI,
		.flags = MADT_ACTIVE_HIGH_LEVEL,
	};

	add_entry(t, &ioapic, sizeof(ioapic));
	add_entry(t, &pit, sizeof(pit));
	add_entry(t, &sci, sizeof(sci));
}

/* NMI on LINT1 of every CPU. */
static void add_nmi(struct tables *t, unsigned cpus)
{
	const struct madt_lapic_nmi lapic = {
		.type = MADT_LAPIC_NMI,
		.length = sizeof(lapic),
		.uid = 0xff,
		.lint = 1,
	};
	const struct madt_x2apic_nmi x2apic = {
		.type = MADT_X2APIC_NMI,
		.length = sizeof(x2apic),
		.uid = 0xffffffff,
		.lint = 1,
	};

	add_entry(t, &lapic, sizeof(lapic));
	if (cpus > MADT_LAPIC_IDS)
		add_entry(t, &x2apic, sizeof(x2apic));
}

static void add_madt(struct tables *t, const struct acpi_config *config)
{
	struct acpi_madt *madt = reserve(t, sizeof(*madt), 16);

	if (!madt)
		return;
	set_header(&madt->header, "APIC", 5);
	madt->lapic_address = PLAT_LAPIC_BASE;
	madt->flags = MADT_PCAT_COMPAT;
	for (unsigned i = 0; i < config->cpus; i++)
		add_cpu(t, i);
	add_interrupts(t);
	add_nmi(t, config->cpus);
	finish_listed(t, &madt->header);
}

static void add_mcfg(struct tables *t)
{
	struct acpi_mcfg *mcfg = reserve(t, sizeof(*mcfg), 16);

	if (!mcfg)
		return;
	set_header(&mcfg->header, "MCFG", 1);
	mcfg->base = PLAT_ECAM_BASE;
	mcfg->bus_last = PLAT_PCI_BUSES - 1;
	finish_listed(t, &mcfg->header);
}

/* RSDT or XSDT: the same list in 4 or 8 bytes each. */
static gpa_t add_list(struct tables *t, const char *signature, u32 width)
{
	struct acpi_header *h = reserve(t, sizeof(*h), 16);

	if (!h)
		return 0;
	set_header(h, signature, 1);
	for (unsigned i = 0; i < t->count; i++)
		add_entry(t, &t->list[i], width);
	finish(t, h);
	return address_of(t, h);
}

static void set_rsdp(struct acpi_rsdp *rsdp, gpa_t rsdt, gpa_t xsdt)
{
	const u32 first_version_len = 20;

	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "VIREO ", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->rsdt = (u32)rsdt;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = xsdt;
	rsdp->checksum = checksum(rsdp, first_version_len);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

static void build(struct tables *t, const struct acpi_config *config)
{
	struct acpi_rsdp *rsdp = reserve(t, sizeof(*rsdp), 16);
	gpa_t dsdt = add_dsdt(t, config);
	gpa_t facs = add_facs(t);
	gpa_t rsdt, xsdt;

	add_fadt(t, config, facs, dsdt);
	add_madt(t, config);
	if (config->pci)
		add_mcfg(t);
	rsdt = add_list(t, "RSDT", sizeof(u32));
	xsdt = add_list(t, "XSDT", sizeof(u64));
	if (!t->full)
		set_rsdp(rsdp, rsdt, xsdt);
}

int acpi_build(struct guest_mem *mem, gpa_t gpa,
	       const struct acpi_config *config, gpa_t *rsdp, struct err *err)
{
	struct tables t = {.data = calloc(1, BOOT_ACPI_SIZE), .gpa = gpa};
	int ret = 0;

	if (!t.data)
		return err_set(err, -ENOMEM, "no memory for the ACPI tables");
	build(&t, config);
	if (t.full)
		ret = err_set(err, -E2BIG,
			      "the ACPI tables of %u CPUs need more than %d "
			      "bytes",
			      config->cpus, BOOT_ACPI_SIZE);
	else if (!mem_write(mem, gpa, t.data, t.len))
		ret = err_set(err, -EFAULT,
			      "the guest has no RAM for the ACPI tables at "
			      "%#lx",
			      gpa);
	*rsdp = gpa;
	free(t.data);
	return ret;
}
