/* The peak of resident memory of a command: runs it, waits for all that it leaves, prints the
 * largest ru_maxrss in KiB.
 *
 * A small static program of its own, since a child starts with the pages of its maker, and
 * Linux counts those too.
 * usage: peak PROG [ARG...] */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t pid = fork();
    if (pid < 0) return 125;
    if (pid == 0) {
        dup2(2, 1);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status, result = 0;
    long peak = 0;
    struct rusage usage;
    pid_t ended;
    while ((ended = wait4(-1, &status, 0, &usage)) > 0) {
        if (usage.ru_maxrss > peak) peak = usage.ru_maxrss;
        if (ended == pid) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    }
    printf("%ld\n", peak);
    return result;
}
