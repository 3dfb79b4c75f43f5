/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries standard input that is no terminal to the default guest's console,
 * so that every byte and the end of input arrive (vireo/guest.h, plain bytes).
 */
#pragma once

#include <pthread.h>

#include "util/err.h"
#include "util/types.h"

/* Where the guest's current line of input stands. */
struct input_line {
	unsigned len; /* bytes since it was last handed over */
};

/* Bytes that `len` bytes of input take at most, end of input included. */
static inline size_t input_encoded_max(size_t len)
{
	return 3 * len + 2;
}
/* Both return the bytes put to out. */
size_t input_encode(struct input_line *line, const u8 *in, size_t len, u8 *out);
size_t input_encode_end(struct input_line *line, u8 *out);

struct input_pump {
	pthread_t thread;
	bool started;
	int from;     /* standard input, borrowed */
	int ready_fd; /* eventfd: the guest takes input; borrowed */
	int stop_fd;  /* eventfd */
	int pipe[2];  /* [0] is the console's in_fd */
};

/* All descriptors -1. */
void input_pump_init(struct input_pump *pump);
int input_pump_start(struct input_pump *pump, int from, int ready_fd,
		     struct err *err);
/* The thread ends; then, when the console is gone, the descriptors. */
void input_pump_stop(struct input_pump *pump);
void input_pump_close(struct input_pump *pump);
