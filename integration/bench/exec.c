/* The floor of `exec`: what the kernel itself asks for one more process in a container that runs.
 *
 * Opens the container's first process, is born in its cgroup, enters its namespaces by one
 * setns(2), forks for the PID namespace, sets no_new_privs and a session, and becomes the program:
 * no parsing, no checks, no state.
 * usage: exec PID CGROUP_DIR PROG [ARG...] */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *w) { fprintf(stderr, "exec floor: %s: %s\n", w, strerror(errno)); _exit(125); }
#define CK(e) do { if ((long)(e) < 0) die(#e); } while (0)

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int pidfd = syscall(SYS_pidfd_open, atoi(argv[1]), 0); CK(pidfd);
    int group = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC); CK(group);
    CK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = group};
    pid_t pid = syscall(SYS_clone3, &args, sizeof args); CK(pid);
    if (!pid) {
        CK(setns(pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID));
        pid_t inner = fork(); CK(inner);
        if (!inner) {
            CK(setsid()); CK(chdir("/")); CK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            CK(syscall(SYS_close_range, 3, ~0U, 0));
            char *env[] = {"PATH=/usr/bin:/bin", "TERM=xterm", 0};
            execve(argv[3], argv + 3, env); die("exec");
        }
        int st; CK(waitpid(inner, &st, 0));
        _exit(WIFEXITED(st) ? WEXITSTATUS(st) : 128);
    }
    int st; CK(waitpid(pid, &st, 0));
    return WIFEXITED(st) ? WEXITSTATUS(st) : 128;
}
