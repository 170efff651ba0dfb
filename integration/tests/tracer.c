/*
 * Runs in a container with CAP_SYS_PTRACE and goes for the processes that come next in its PID
 * namespace: whatever can be traced, or shows its program, before it is the program of a container
 * counts. Programs of a container are busybox. Prints "hits N" when the file that its argument names
 * is there.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether the process shows a program that is none of a container. */
static int shows(int pid) {
    char path[64], target[256];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return 0;
    target[length] = 0;
    if (strstr(target, "busybox"))
        return 0;
    printf("%d shows its program: %s\n", pid, target);
    return 1;
}

/* Seizes the process, says whether it is no program of a container, and lets it go. */
static int seizes(int pid) {
    int status, hit;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
        return 0;
    hit = shows(pid);
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        hit |= shows(pid);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    if (hit)
        printf("%d was seized\n", pid);
    return hit;
}

int main(int argc, char **argv) {
    int last = getpid(), step = 0;
    long hits = 0;
    while (argc > 1 && access(argv[1], F_OK) != 0)
        for (int round = 0; round < 5000; round++) {
            int pid = last + 1 + (step = (step + 1) % 6);
            hits += shows(pid);
            hits += seizes(pid);
            if (kill(pid, 0) == 0)
                last = pid;
        }
    printf("hits %ld\n", hits);
    return 0;
}
