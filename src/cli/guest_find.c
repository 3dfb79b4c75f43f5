/* SPDX-License-Identifier: Apache-2.0 */
/* Where the default guest lies. */
#include "cli/guest_find.h"

#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FOLDERS = 4 };

struct folders {
	char path[MAX_FOLDERS][PATH_MAX];
	unsigned count;
};

/* A path that does not fit is not looked at: there is nothing. */
__attribute__((format(printf, 2, 3))) static void add_folder(
	struct folders *folders, const char *fmt, ...)
{
	char *path = folders->path[folders->count];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(path, PATH_MAX, fmt, ap);
	va_end(ap);
	if (len > 0 && len < PATH_MAX)
		folders->count++;
}

static void list_folders(struct folders *folders)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *only = getenv("VIREO_GUEST_DIR");
	const char *home = getenv("HOME");
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash = NULL;

	folders->count = 0;
	if (only && *only) {
		add_folder(folders, "%s", only);
		return;
	}
	if (len > 0) {
		program[len] = 0;
		slash = strrchr(program, '/');
	}
	if (slash) {
		*slash = 0;
		add_folder(folders, "%s/guest", program);
	}
	if (cache && *cache)
		add_folder(folders, "%s/vireo", cache);
	else if (home && *home)
		add_folder(folders, "%s/.cache/vireo", home);
	if (slash)
		add_folder(folders, "%s/../share/vireo", program);
}

static bool find_file(const struct folders *folders, const char *name,
		      char path[PATH_MAX])
{
	for (unsigned i = 0; i < folders->count; i++) {
		int len = snprintf(path, PATH_MAX, "%s/%s", folders->path[i],
				   name);

		if (len > 0 && len < PATH_MAX && !access(path, R_OK))
			return true;
	}
	return false;
}

static bool find_host_kernel(char path[PATH_MAX])
{
	const char *best = NULL;
	glob_t found;

	if (glob("/boot/vmlinuz-*", GLOB_NOSORT, NULL, &found))
		return false;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *name = found.gl_pathv[i];

		if (access(name, R_OK) || strlen(name) >= PATH_MAX)
			continue;
		if (!best || strverscmp(name, best) > 0)
			best = name;
	}
	if (best)
		memcpy(path, best, strlen(best) + 1);
	globfree(&found);
	return best;
}

int guest_find(struct guest_paths *paths, bool want_kernel, struct err *err)
{
	const char *missing = NULL;
	struct folders folders;

	list_folders(&folders);
	if (!find_file(&folders, "modules", paths->modules))
		*paths->modules = 0;
	if (!find_file(&folders, "initramfs.cpio", paths->initramfs))
		missing = "initramfs.cpio";
	if (want_kernel && !find_file(&folders, "vmlinuz", paths->kernel) &&
	    !find_host_kernel(paths->kernel))
		missing = "vmlinuz";
	if (!missing)
		return 0;
	return err_set(err, -ENOENT,
		       "the default guest is not there (no %s in %s%s): run "
		       "'make guest' in Vireo's source tree, set "
		       "VIREO_GUEST_DIR to its folder, or use --kernel",
		       missing, folders.count ? folders.path[0] : "any folder",
		       folders.count > 1 ? " or the other places" : "");
}
