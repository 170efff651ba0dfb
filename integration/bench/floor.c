/* The floor: what the kernel itself asks for `run` of the default bundle.
 *
 * One process does only the work that the specification demands (cgroup, clone3 into it with all
 * namespaces, root file system, the seven default mounts, default devices and links, masked and
 * read-only paths, hostname, pivot_root, no_new_privs, exec): no parsing, no checks, no state.
 * Every runtime is compared with it in the same run.
 * With --limits: the same in the hierarchies of cgroup v1 instead, with limits of memory, cpu and
 * pids and the device rules of an engine, as the bundle of limits.rs has them.
 * usage: floor [--limits] ROOTFS CGROUP_PARENT_DIR NAME PROG [ARG...] */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *w) { fprintf(stderr, "floor: %s: %s\n", w, strerror(errno)); _exit(125); }
#define CK(e) do { if ((long)(e) < 0) die(#e); } while (0)

static int newmount(const char *fs, const char *opts[][2], unsigned attr) {
    int f = syscall(SYS_fsopen, fs, 1); CK(f);
    for (int i = 0; opts && opts[i][0]; i++) CK(syscall(SYS_fsconfig, f, 1, opts[i][0], opts[i][1], 0));
    CK(syscall(SYS_fsconfig, f, 6, 0, 0, 0));
    int m = syscall(SYS_fsmount, f, 1, attr); CK(m); close(f); return m;
}
static void put(int m, int root, const char *at) { CK(syscall(SYS_move_mount, m, "", root, at, 4)); close(m); }

static void set(int group, const char *file, const char *value) {
    int f = openat(group, file, O_WRONLY | O_CLOEXEC); CK(f); CK(write(f, value, strlen(value))); close(f);
}
/* A new group of cpuset takes nobody before it has what its parent has. */
static void inherit(int parent, int group, const char *file) {
    char value[4096];
    int f = openat(parent, file, O_RDONLY | O_CLOEXEC); CK(f); ssize_t n = read(f, value, sizeof value - 1); CK(n); close(f);
    value[n] = 0; set(group, file, value);
}

#define MOST 16
static int parents[MOST], procs[MOST], count;
static char names[MOST][256];

/* The groups and their limits; init joins by what is left open. */
static void limited(const char *at, const char *name) {
    DIR *all = opendir(at); if (!all) die(at);
    for (struct dirent *e; (e = readdir(all)) && count < MOST; ) {
        if (e->d_name[0] == '.' || e->d_type != DT_DIR) continue;
        int parent = openat(dirfd(all), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC); CK(parent);
        CK(mkdirat(parent, name, 0755)); int group = openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC); CK(group);
        if (!strcmp(e->d_name, "cpuset")) { inherit(parent, group, "cpuset.cpus"); inherit(parent, group, "cpuset.mems"); }
        if (!strcmp(e->d_name, "memory")) set(group, "memory.limit_in_bytes", "67108864");
        if (!strcmp(e->d_name, "pids")) set(group, "pids.max", "2048");
        if (!strcmp(e->d_name, "cpu")) {
            set(group, "cpu.shares", "512"); set(group, "cpu.cfs_period_us", "100000"); set(group, "cpu.cfs_quota_us", "50000");
        }
        if (!strcmp(e->d_name, "devices")) {
            const char *allow[] = {"b *:* m","c *:* m","c 1:3 rwm","c 1:5 rwm","c 1:7 rwm","c 1:8 rwm","c 1:9 rwm","c 5:0 rwm","c 5:2 rwm","c 136:* rwm",0};
            set(group, "devices.deny", "a");
            int f = openat(group, "devices.allow", O_WRONLY | O_CLOEXEC); CK(f);
            for (int i = 0; allow[i]; i++) CK(write(f, allow[i], strlen(allow[i])));
            close(f);
        }
        int f = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC); CK(f);
        snprintf(names[count], sizeof names[count], "%s", e->d_name);
        close(group); parents[count] = parent; procs[count++] = f;
    }
    closedir(all);
}

/* What a mount of type cgroup shows of version 1: a directory for each hierarchy, with the
 * container's group. */
static void show_limited(int root, const char *at, const char *name) {
    const char *options[][2] = {{"mode", "755"}, {0, 0}};
    struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV};
    int all = newmount("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
    CK(syscall(SYS_move_mount, all, "", root, "sys/fs/cgroup", 4));
    for (int i = 0; i < count; i++) {
        char path[4096]; snprintf(path, sizeof path, "%s/%s/%s", at, names[i], name);
        int group = syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC); CK(group);
        CK(syscall(SYS_mount_setattr, group, "", AT_EMPTY_PATH, &sealed, sizeof sealed));
        CK(mkdirat(all, names[i], 0755)); put(group, all, names[i]);
    }
    CK(syscall(SYS_mount_setattr, all, "", AT_EMPTY_PATH, &sealed, sizeof sealed)); close(all);
}

int main(int argc, char **argv) {
    int limits = argc > 1 && !strcmp(argv[1], "--limits");
    argc -= limits; argv += limits;
    if (argc < 5) { fprintf(stderr, "usage\n"); return 2; }
    char cg[4096]; snprintf(cg, sizeof cg, "%s/%s", argv[2], argv[3]);
    int cgfd = -1;
    if (limits) limited(argv[2], argv[3]);
    else { CK(mkdir(cg, 0755)); cgfd = open(cg, O_PATH | O_DIRECTORY | O_CLOEXEC); CK(cgfd); }
    int pidfd = -1;
    struct clone_args a = {0};
    a.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_PIDFD;
    if (!limits) { a.flags |= CLONE_NEWCGROUP | CLONE_INTO_CGROUP; a.cgroup = cgfd; }
    a.pidfd = (uintptr_t)&pidfd; a.exit_signal = SIGCHLD;
    long pid = syscall(SYS_clone3, &a, sizeof a); CK(pid);
    if (pid == 0) {
        for (int i = 0; i < count; i++) CK(write(procs[i], "0", 1));
        CK(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
        int root = syscall(SYS_open_tree, AT_FDCWD, argv[1], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE); CK(root);
        CK(syscall(SYS_move_mount, root, "", AT_FDCWD, argv[1], 4));
        int N = MOUNT_ATTR_NOSUID, X = MOUNT_ATTR_NOEXEC, D = MOUNT_ATTR_NODEV;
        put(newmount("proc", 0, 0), root, "proc");
        const char *devo[][2] = {{"mode", "755"}, {"size", "65536k"}, {0, 0}};
        put(newmount("tmpfs", devo, N), root, "dev");
        CK(mkdirat(root, "dev/pts", 0755)); CK(mkdirat(root, "dev/shm", 0755)); CK(mkdirat(root, "dev/mqueue", 0755));
        const char *pto[][2] = {{"newinstance", 0}, {0, 0}};
        (void)pto;
        { int f = syscall(SYS_fsopen, "devpts", 1); CK(f); CK(syscall(SYS_fsconfig, f, 0, "newinstance", 0, 0));
          CK(syscall(SYS_fsconfig, f, 1, "ptmxmode", "0666", 0)); CK(syscall(SYS_fsconfig, f, 1, "mode", "0620", 0));
          CK(syscall(SYS_fsconfig, f, 6, 0, 0, 0)); int m = syscall(SYS_fsmount, f, 1, N | X); CK(m); close(f); put(m, root, "dev/pts"); }
        const char *sho[][2] = {{"mode", "1777"}, {"size", "65536k"}, {0, 0}};
        put(newmount("tmpfs", sho, N | X | D), root, "dev/shm");
        put(newmount("mqueue", 0, N | X | D), root, "dev/mqueue");
        put(newmount("sysfs", 0, N | X | D | MOUNT_ATTR_RDONLY), root, "sys");
        if (limits) show_limited(root, argv[2], argv[3]);
        else put(newmount("cgroup2", 0, N | X | D | MOUNT_ATTR_RDONLY), root, "sys/fs/cgroup");
        struct { const char *n; int ma, mi; } dv[] = {{"null",1,3},{"zero",1,5},{"full",1,7},{"random",1,8},{"urandom",1,9},{"tty",5,0}};
        umask(0);
        for (int i = 0; i < 6; i++) { char p[64]; snprintf(p, 64, "dev/%s", dv[i].n); CK(mknodat(root, p, S_IFCHR | 0666, makedev(dv[i].ma, dv[i].mi))); }
        CK(symlinkat("/proc/self/fd", root, "dev/fd")); CK(symlinkat("/proc/self/fd/0", root, "dev/stdin"));
        CK(symlinkat("/proc/self/fd/1", root, "dev/stdout")); CK(symlinkat("/proc/self/fd/2", root, "dev/stderr"));
        CK(symlinkat("pts/ptmx", root, "dev/ptmx"));
        const char *mask[] = {"proc/acpi","proc/kcore","proc/keys","proc/latency_stats","proc/timer_list","proc/timer_stats","proc/sched_debug","sys/firmware","proc/scsi",0};
        int null = openat(root, "dev/null", O_PATH | O_CLOEXEC);
        int ro_empty = -1;
        for (int i = 0; mask[i]; i++) {
            int t = openat(root, mask[i], O_PATH | O_CLOEXEC); if (t < 0) continue;
            struct stat st; CK(fstat(t, &st)); int m;
            if (S_ISDIR(st.st_mode)) { if (ro_empty < 0) ro_empty = newmount("tmpfs", 0, MOUNT_ATTR_RDONLY);
                m = syscall(SYS_open_tree, ro_empty, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC); }
            else m = syscall(SYS_open_tree, null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC);
            CK(m); CK(syscall(SYS_move_mount, m, "", t, "", 4 | 0x40)); close(m); close(t);
        }
        const char *ro[] = {"proc/bus","proc/fs","proc/irq","proc/sys","proc/sysrq-trigger",0};
        for (int i = 0; ro[i]; i++) {
            int t = openat(root, ro[i], O_PATH | O_CLOEXEC); if (t < 0) continue;
            int m = syscall(SYS_open_tree, t, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC | AT_RECURSIVE); CK(m);
            struct mount_attr at = {.attr_set = MOUNT_ATTR_RDONLY | N | X | D};
            CK(syscall(SYS_mount_setattr, m, "", AT_EMPTY_PATH | AT_RECURSIVE, &at, sizeof at));
            CK(syscall(SYS_move_mount, m, "", t, "", 4 | 0x40)); close(m); close(t);
        }
        CK(fchdir(root)); CK(syscall(SYS_pivot_root, ".", ".")); CK(umount2(".", MNT_DETACH)); CK(chdir("/"));
        CK(sethostname("runc", 4)); CK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); CK(setsid());
        char *env[] = {"PATH=/usr/bin:/bin", "TERM=xterm", 0};
        execve(argv[4], argv + 4, env); die("exec");
    }
    int st; CK(waitpid(pid, &st, 0));
    if (!limits) CK(rmdir(cg));
    for (int i = 0; i < count; i++) CK(unlinkat(parents[i], argv[3], AT_REMOVEDIR));
    return WIFEXITED(st) ? WEXITSTATUS(st) : 128;
}
