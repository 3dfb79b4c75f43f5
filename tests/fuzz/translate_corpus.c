/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeds of fuzz_translate as files:
 *
 *     translate_corpus LIST
 *
 * writes LIST.d/NAME and, separated by commas, their names to LIST.
 */
#include "translate.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static int write_file(const char *name, const void *bytes, size_t len)
{
	FILE *file = fopen(name, "wb");
	bool good = file && fwrite(bytes, 1, len, file) == len;

	if (file && fclose(file))
		good = false;
	if (!good)
		perror(name);
	return good ? 0 : 1;
}

static int write_seeds(const char *list)
{
	char names[8192], path[1024];
	size_t len = 0;

	snprintf(path, sizeof(path), "%s.d", list);
	if (mkdir(path, 0777) && errno != EEXIST) {
		perror(path);
		return 1;
	}
	for (unsigned k = 0; k < xl_seed_count; k++) {
		const struct xl_seed *s = &xl_seeds[k];

		snprintf(path, sizeof(path), "%s.d/%s", list, s->name);
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s", k ? "," : "", path);
		if (len >= sizeof(names) || write_file(path, s->bytes, s->len))
			return 1;
	}
	return write_file(list, names, len);
}

int main(int argc, char **argv)
{
	return argc == 2 ? write_seeds(argv[1]) : 2;
}
