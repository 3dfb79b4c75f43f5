/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that end a VM in good order. */
#include "cli/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "util/fd.h"
#include "vmm/vm.h"

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* What the caller ignores (nohup) stays ignored; a signalfd would see it. */
static void ending_set(sigset_t *set)
{
	struct sigaction old;

	sigemptyset(set);
	for (unsigned i = 0; i < ARRAY_SIZE(ending); i++) {
		if (sigaction(ending[i], NULL, &old) ||
		    old.sa_handler == SIG_IGN)
			continue;
		sigaddset(set, ending[i]);
	}
}

static void signals_ready(struct loop_fd *lfd, u32 events)
{
	struct signals *signals = container_of(lfd, struct signals, lfd);
	struct signalfd_siginfo info;
	sigset_t set;

	if (read(lfd->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT) {
		terminal_resume(signals->terminal);
		return;
	}
	if (signals->caught)
		return;
	signals->caught = (int)info.ssi_signo;
	terminal_restore(signals->terminal);
	ending_set(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	vm_stop(signals->vm, VM_STOP_REQUEST, 0, "stopped by a signal");
}

int signals_open(struct signals *signals, struct terminal *terminal,
		 struct err *err)
{
	sigset_t set;

	memset(signals, 0, sizeof(*signals));
	signals->terminal = terminal;
	ending_set(&set);
	sigaddset(&set, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals->lfd.kind = LOOP_FD;
	signals->lfd.ready = signals_ready;
	signals->lfd.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals->lfd.fd < 0)
		return err_set(err, -errno, "signalfd: %s", strerror(errno));
	return 0;
}

int signals_attach(struct signals *signals, struct vm *vm, struct err *err)
{
	int ret;

	signals->vm = vm;
	ret = loop_add(&vm->loop, &signals->lfd, EPOLLIN);
	if (ret)
		return err_set(err, ret, "cannot watch signals: %s",
			       strerror(-ret));
	return 0;
}

void signals_close(struct signals *signals)
{
	fd_close(&signals->lfd.fd);
}
