/*
 * Runs in a container with CAP_SYS_PTRACE and goes for the processes that come next in its PID
 * namespace: whatever can be traced, or shows its program, before it is the program of a container
 * counts. Programs of a container are busybox. Prints "hits N" when the file that its argument
 * names is there.
 *
 * With a second argument only those count that have something that this process does not have:
 * another root or namespace, another cgroup, other ids or capabilities, no filter, an environment,
 * or a descriptor that is no stream. They must have the same configuration as this process.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether only processes count that have more than this one. */
static int compares;

/* Whether a file of the process has a line that begins so and differs from this process'. */
static int differs(int pid, const char *file, const char *begin) {
    char path[64], own[4096] = "", its[4096] = "", line[256];
    for (int other = 0; other < 2; other++) {
        if (other)
            snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
        else
            snprintf(path, sizeof path, "/proc/self/%s", file);
        FILE *stream = fopen(path, "r");
        if (!stream)
            return 0;
        while (fgets(line, sizeof line, stream))
            if (strncmp(line, begin, strlen(begin)) == 0)
                strncat(other ? its : own, line, sizeof own - 1 - strlen(other ? its : own));
        fclose(stream);
    }
    if (!*its || strcmp(own, its) == 0)
        return 0;
    printf("%d differs: %s%s", pid, own, its);
    return 1;
}

/* Whether a link of the process leads elsewhere than that of this process. */
static int leads_elsewhere(int pid, const char *name) {
    char path[64];
    struct stat own, its;
    snprintf(path, sizeof path, "/proc/self/%s", name);
    if (stat(path, &own) != 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    if (stat(path, &its) != 0 || (own.st_dev == its.st_dev && own.st_ino == its.st_ino))
        return 0;
    printf("%d leads elsewhere: %s\n", pid, name);
    return 1;
}

/* Whether the process has a descriptor that is neither a stream nor a socket. */
static int holds(int pid) {
    char path[64], target[256];
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = 0;
        if (fd < 3 || strncmp(target, "socket:", 7) == 0)
            continue;
        printf("%d holds %d: %s\n", pid, fd, target);
        return 1;
    }
    return 0;
}

/* Whether the process shows a variable of the runtime's environment. */
static int tells(int pid) {
    char path[64];
    int byte, found = 0;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    FILE *stream = fopen(path, "r");
    if (!stream)
        return 0;
    while (!found && (byte = fgetc(stream)) != EOF)
        found = byte != 0;
    fclose(stream);
    if (found)
        printf("%d shows its environment\n", pid);
    return found;
}

/* Whether the process has more than this one. */
static int has_more(int pid) {
    static const char *const lines[] = {"Uid:", "Gid:", "Groups:", "NoNewPrivs:", "Seccomp:",
        "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
    static const char *const links[] = {"root", "ns/cgroup", "ns/ipc", "ns/mnt", "ns/net", "ns/pid",
        "ns/user", "ns/uts"};
    int more = holds(pid) | tells(pid) | differs(pid, "cgroup", "");
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
        more |= differs(pid, "status", lines[i]);
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
        more |= leads_elsewhere(pid, links[i]);
    return more;
}

/* Whether the process has a program, in target, that is none of a container. */
static int is_foreign(int pid, char target[256]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t length = readlink(path, target, 255);
    target[length < 0 ? 0 : length] = 0;
    return length > 0 && !strstr(target, "busybox");
}

/* Whether the process shows a program that is none of a container. */
static int shows(int pid) {
    char target[256];
    if (!is_foreign(pid, target))
        return 0;
    /* If it has become its program meanwhile, it may also have ended, and shows no cgroup of v1. */
    if (compares && (!has_more(pid) || !is_foreign(pid, target)))
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
    compares = argc > 2;
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
