# Podman as root. $runtime and $name come from inside.sh, which reads this file.

p() { podman "$@"; }

configure() {
    podman_settings
    cat > /etc/containers/containers.conf << END
[containers]
netns = "none"
$limits
[engine]
cgroup_manager = "$manager"
events_logger = "file"
runtime = "$name"
[engine.runtimes]
$name = ["$runtime"]
END
}

# A `podman` that names the control group, for which there is no setting, and that ends. Without
# --foreground the kernel stops it when it changes its terminal.
wrap() {
    mkdir /run/bin
    cat > /run/bin/podman << END
#!/bin/sh
word=\$1
shift
case "\$word \$*" in
    *--cgroups=disabled*) set -- "\$word" "\$@" ;;
    run\ * | create\ *) set -- "\$word" --cgroup-parent "$parent_option" "\$@" ;;
    pod\ *) test "\$1" = create && shift && set -- create --cgroup-parent "$parent_option" "\$@"; set -- pod "\$@" ;;
    *) set -- "\$word" "\$@" ;;
esac
exec timeout --foreground -k 5 $patience /usr/bin/podman "\$@"
END
    chmod +x /run/bin/podman
    PATH=/run/bin:$PATH
}

make_image() {
    make_root /run/image
    make_archive /run/image /run/image.tar
    p load -q -i /run/image.tar
}

life() {
    fact 'run prints what the program writes' 0 '^hello$' p run --rm bb echo hello
    fact 'run takes the standard input' 0 '^HELLO$' sh -c 'echo hello | podman run -i --rm bb tr a-z A-Z'
    fact 'run passes the status of the program on' 7 '^$' p run --rm bb sh -c 'exit 7'
    fact 'a program that is killed ends with 137' 0 '137$' sh -c 'podman run -d --name k bb sleep 1000; podman kill k; podman wait k'
    fact 'a program that does not exist is 127' 127 '[Nn]o such file or directory' p run --rm bb /nothing
    fact 'a name that is not in the PATH is 127' 127 'not found in' p run --rm bb nothing
    fact 'a directory as the program is 126' 126 'permission denied|is a directory' p run --rm bb /etc
    fact 'a file that is no program is 126' 126 '[Pp]ermission denied' p run --rm bb /etc/text
    fact 'run -t has a terminal' 0 '/dev/(pts/0|console)' terminal podman run -it --rm bb tty
    fact 'run -d returns at once' 0 '^[0-9a-f]{64}$' p run -d --name main bb sh -c 'trap "echo usr1" USR1; echo up; while sleep 0.1; do :; done'
    fact 'ps says that it is up' 0 '^Up ' p ps --filter name=main --format '{{.Status}}'
    fact 'logs show what it wrote' 0 '^up$' p logs main
    fact 'the runtime is known by its name' 0 "^$name\$" p inspect main --format '{{.OCIRuntime}}'
    fact 'top lists its processes' 0 'sleep 0.1' p top main pid,args
    fact 'top by the ps of the container' 0 'PID' p top main -o pid
    fact 'stats show its memory' 0 '[0-9.]+.?B / ' p stats --no-stream --format '{{.MemUsage}}' main
    fact 'kill -s sends a signal' 0 'usr1' kill_usr1
    fact 'pause' 0 'paused' sh -c 'podman pause main && podman inspect main --format "{{.State.Status}}"'
    fact 'exec in a paused container is an error' 255 'improper|paused' p exec main true
    fact 'unpause' 0 'running' sh -c 'podman unpause main && podman inspect main --format "{{.State.Status}}"'
    fact 'update changes the memory limit' 0 '67108864' update
    fact 'rename and inspect go on' 0 'renamed' sh -c 'podman rename main renamed && podman inspect renamed --format "{{.Name}}" && podman rename renamed main'
    fact 'restart' 0 'running' sh -c 'podman restart -t 0 main && podman inspect main --format "{{.State.Status}}"'
    fact 'stop with a grace period' 0 '^exited 137$' sh -c 'podman stop -t 1 main > /dev/null 2>&1; podman inspect main --format "{{.State.Status}} {{.State.ExitCode}}"'
    fact 'start again' 0 'running' sh -c 'podman start main && podman inspect main --format "{{.State.Status}}"'
    fact 'the end of a program that another process has killed' 0 '137.exited' killed_outside
    fact 'rm -f' 0 'main|[0-9a-f]{64}' p rm -f -t 0 main
    fact 'init, then start' 0 'initialized exited 5$' init_then_start
    fact '--sdnotify=conmon tells readiness' 0 'READY=1' sdnotify
}

kill_usr1() {
    p kill -s USR1 main
    until_true sh -c 'podman logs main | grep usr1' && p logs main
}

update() {
    p update --memory 64m main
    p exec main sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'
}

killed_outside() {
    local pid
    pid=$(p inspect main --format '{{.State.Pid}}')
    test "$pid" -gt 1 && kill -9 "$pid"
    p wait main
    p inspect main --format '{{.State.Status}}'
}

init_then_start() {
    local first
    p create --name early bb sh -c 'exit 5' && p init early
    first=$(p inspect early --format '{{.State.Status}}')
    p start early && p wait early
    echo "$first $(p inspect early --format '{{.State.Status}} {{.State.ExitCode}}')"
}

sdnotify() {
    python3 - << 'END'
import os, socket, subprocess
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/notify")
s.settimeout(20)
env = dict(os.environ, NOTIFY_SOCKET="/run/notify")
subprocess.run(["podman", "run", "-d", "--rm", "--sdnotify=conmon", "bb", "sleep", "1"], env=env, check=True)
got = b""
while b"READY=1" not in got:
    got += s.recv(4096)
print(got.decode())
END
}

further_processes() {
    p run -d --name box -e A=run -w /tmp --user 1000:1000 --group-add 1001 bb sleep 1000 > /dev/null
    fact 'exec prints what the program writes' 0 '^hello$' p exec box echo hello
    fact 'exec takes the standard input' 0 '^HELLO$' sh -c 'echo hello | podman exec -i box tr a-z A-Z'
    fact 'exec passes the status on' 9 '^$' p exec box sh -c 'exit 9'
    fact 'exec has user, groups, environment and directory of the container' 0 '1000 1000 1001 run /tmp' \
        p exec box sh -c 'echo $(id -u) $(id -G) $A $PWD'
    fact 'exec as another user, elsewhere' 0 '^0 /etc x$' p exec -u 0 -w /etc -e A=x box sh -c 'echo $(id -u) $PWD $A'
    fact 'exec -t has a terminal' 0 '/dev/pts/0' terminal podman exec -it box tty
    fact 'exec -d' 0 'done' sh -c 'podman exec -d -u 0 box sh -c "echo done > /data/d"; for i in 1 2 3 4 5 6 7 8 9; do podman exec box cat /data/d && break; sleep 0.2; done'
    fact 'exec of a program that does not exist is 127' 127 'no such file or directory|not found' p exec box /nothing
    fact 'exec of a directory is 126' 126 'permission denied|is a directory' p exec box /etc
    fact 'exec --privileged has all capabilities' 0 'CapEff:.0+[1-9a-f][0-9a-f]+' p exec --privileged -u 0 box grep CapEff /proc/self/status
    fact 'exec --preserve-fds' 0 '^kept$' sh -c 'echo kept > /run/kept; exec 3< /run/kept; podman exec --preserve-fds 1 box sh -c "cat <&3"'
    p rm -f -t 0 box > /dev/null
    fact 'healthcheck' 0 'healthy' healthcheck
    fact 'exec in a container that has ended is an error' 255 'running|improper' sh -c 'podman run --name ended bb true; podman exec ended true'
}

healthcheck() {
    p run -d --name health --health-cmd 'test -d /etc' --health-interval disable bb sleep 1000 &&
        p healthcheck run health && p inspect health --format '{{.State.Healthcheck.Status}}{{.State.Health.Status}}'
    p rm -f -t 0 health
}

files() {
    fact '--read-only' 0 'Read-only file system' p run --rm --read-only bb sh -c 'touch /x || touch /tmp/x'
    fact '--tmpfs with a size' 0 '1024' p run --rm --tmpfs /data:size=1m,mode=700 bb df -k /data
    mkdir -p /run/volume && echo from the host > /run/volume/file
    fact 'a volume' 0 'from the host' p run --rm -v /run/volume:/data bb cat /data/file
    fact 'the host as a volume' 0 '^from the host$' p run --rm -v /:/host:ro,rslave bb cat /host/run/volume/file
    fact 'a read-only volume' 1 'Read-only' p run --rm -v /run/volume:/data:ro bb touch /data/x
    fact 'a volume with :z' 0 'from the host' p run --rm -v /run/volume:/data:z bb cat /data/file
    fact 'a volume with :U is the user'"'"'s' 0 '^1000$' p run --rm --user 1000 -v /run/volume:/data:U bb stat -c %u /data
    fact 'a volume with :O is an overlay' 0 'from the host' p run --rm -v /run/volume:/data:O bb sh -c 'cat /data/file; echo y > /data/new'
    fact 'what is written to an overlay is not on the host' 1 '^$' test -e /run/volume/new
    fact 'a named volume copies what the image has' 0 'text' p run --rm -v named:/etc bb ls /etc
    fact '--mount type=tmpfs' 0 'tmpfs' p run --rm --mount type=tmpfs,destination=/data,tmpfs-size=1m bb grep ' /data ' /proc/mounts
    fact '--device' 0 '^crw' p run --rm --device /dev/full:/dev/other:r bb ls -l /dev/other
    fact 'a device that is not given cannot be opened' 1 'not permitted' p run --rm --cap-add MKNOD bb sh -c 'mknod /tmp/d c 1 11 && cat /tmp/d'
    fact '--shm-size' 0 '2048' p run --rm --shm-size 2m bb df -k /dev/shm
}

limits() {
    fact '--ulimit' 0 '^333$' p run --rm --ulimit nofile=333:333 --ulimit "nproc=$(ulimit -Hu | limit)" bb sh -c 'ulimit -n'
    fact '--memory' 0 '33554432' p run --rm --memory 32m bb sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'
    fact 'too much memory ends with 137' 137 '' p run --rm --memory 16m --memory-swap 16m bb sh -c 'tail /dev/zero; exit $?'
    fact '--cpus' 0 '50000' p run --rm --cpus 0.5 bb sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cat /sys/fs/cgroup/cpu.max'
    fact '--pids-limit' 0 '^77$' p run --rm --pids-limit 77 bb sh -c 'cat /sys/fs/cgroup/pids/pids.max 2> /dev/null || cat /sys/fs/cgroup/pids.max'
    fact '--cpuset-cpus' 0 '0$' p run --rm --cpuset-cpus 0 bb grep Cpus_allowed_list /proc/self/status
    fact '--sysctl' 0 '^4321$' p run --rm --sysctl kernel.msgmax=4321 bb cat /proc/sys/kernel/msgmax
    fact '--oom-score-adj' 0 '^500$' p run --rm --oom-score-adj 500 bb cat /proc/self/oom_score_adj
}

security() {
    fact 'the default capabilities' 0 'CapEff:.00000000800405fb' p run --rm bb grep CapEff /proc/self/status
    fact '--cap-drop all' 0 'CapEff:.0000000000000000' p run --rm --cap-drop all bb grep CapEff /proc/self/status
    fact '--privileged sees the devices of the host' 0 'kmsg|null' p run --rm --privileged bb ls /dev
    fact '--privileged has no filter' 0 'Seccomp:.0' p run --rm --privileged bb grep Seccomp: /proc/self/status
    fact 'the default filter' 0 'Seccomp:.2' p run --rm bb grep Seccomp: /proc/self/status
    fact '--security-opt seccomp=FILE' 0 'not permitted' own_filter
    fact '--security-opt seccomp=unconfined' 0 'Seccomp:.0' p run --rm --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status
    fact '--security-opt no-new-privileges' 0 'NoNewPrivs:.1' p run --rm --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status
    fact '--security-opt mask' 0 '^0$' p run --rm --security-opt mask=/proc/cpuinfo bb sh -c 'wc -c < /proc/cpuinfo'
    fact '--security-opt unmask=ALL' 0 '^0$' p run --rm --security-opt unmask=ALL bb sh -c 'grep -c " /proc/" /proc/mounts || true'
    fact 'masked by default' 0 '^0$' p run --rm bb sh -c 'wc -c < /proc/timer_list'
    if [ -e /sys/kernel/security/apparmor ]; then
        fact '--security-opt apparmor' 0 'unconfined' p run --rm --security-opt apparmor=unconfined bb cat /proc/self/attr/current
    else
        skip '--security-opt apparmor' 'this kernel has no AppArmor'
    fi
}

own_filter() {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' > /run/filter
    p run --rm --security-opt seccomp=/run/filter bb sh -c 'mkdir /tmp/x || true'
}

namespaces() {
    fact '--uidmap' 0 ' 0 +100000 +5000' p run --rm --uidmap 0:100000:5000 bb cat /proc/self/uid_map
    fact '--userns=auto' 0 ' 0 +[0-9]{5,}' p run --rm --userns=auto bb cat /proc/self/uid_map
    fact '--userns=auto owns its files' 0 '^0 0$' p run --rm --userns=auto bb stat -c '%u %g' /etc/text
    fact 'a volume with :idmap shows the files of the host'"'"'s root as those of the container'"'"'s' 0 '^0 0$' \
        p run --rm --uidmap 0:100000:5000 -v /run/image:/data:idmap bb stat -c '%u %g' /data/etc/text
    fact '--hostname' 0 '^there$' p run --rm --hostname there bb hostname
    fact '--network none has only the loopback' 0 '^lo:?$' p run --rm --network none bb sh -c "grep : /proc/net/dev | cut -d: -f1 | tr -d ' '"
    if [ -e /usr/lib/podman/netavark ] && command -v iptables > /dev/null; then
        fact '--network bridge' 0 'eth0' p run --rm --network podman bb ip -o address show eth0
    else
        skip '--network bridge' 'needs netavark and iptables'
    fi
    fact '--network host' 0 '^lo:?$' p run --rm --network host bb sh -c "grep : /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep lo"
    fact '--pid host' 0 'podman' p run --rm --pid host bb ps
    fact '--pid host is stopped with all its processes' 0 '^exited$' pid_host
    fact '--ipc container:' 0 '^[0-9]+$' shared_ipc
    fact '--cgroupns host' 0 'libpod|engines' p run --rm --cgroupns host bb cat /proc/self/cgroup
    fact '--cgroups=disabled' 0 '^hello$' p run --rm --cgroups=disabled bb echo hello
    fact '--cgroups=no-conmon' 0 '^hello$' p run --rm --cgroups=no-conmon bb echo hello
    if command -v catatonit > /dev/null; then
        fact '--init' 0 'init' p run --rm --init bb ps
    else
        skip '--init' 'no catatonit'
    fi
    fact 'a pod shares its namespaces' 0 '^same pod$' pod
}

pid_host() {
    p run -d --name deep --pid host bb sh -c 'sleep 1000 & sleep 1000' > /dev/null
    p stop -t 0 deep > /dev/null 2>&1
    p inspect deep --format '{{.State.Status}}'
    p rm -f deep > /dev/null
}

shared_ipc() {
    p run -d --name first --ipc shareable bb sh -c 'echo 77 > /dev/shm/x; sleep 1000' > /dev/null
    until_true podman exec first test -e /dev/shm/x
    p run --rm --ipc container:first bb cat /dev/shm/x
    p rm -f -t 0 first > /dev/null
}

pod() {
    p pod create --name pod --infra-image bb --infra-command 'sleep 1000' --hostname pod > /dev/null &&
        p run -d --pod pod --name member bb sleep 1000 > /dev/null
    local one two
    one=$(p exec member readlink /proc/self/ns/net)
    two=$(p run --rm --pod pod bb readlink /proc/self/ns/net)
    [ "$one" = "$two" ] && echo "same $(p exec member hostname)"
    p pod rm -f -t 0 pod > /dev/null
}

checkpoints() {
    if ! criu check > /dev/null 2>&1; then
        skip 'checkpoint and restore' 'no CRIU, or it cannot work here'
        return
    fi
    fact 'checkpoint and restore' 0 '^same process$' saved restored
    fact 'checkpoint --leave-running' 0 '^same process$' saved left_running
    fact 'checkpoint --keep, and a second one' 0 '^same process$' saved restored_twice
    fact 'checkpoint --export and restore --import' 0 '^same process$' saved imported
    fact 'restore --import --name' 0 '^same process$' saved renamed
    fact 'a restored container has its volume and ends at TERM' 0 '^from the host.exited 5$' restored_whole
    fact 'checkpoint of a container that has ended is an error' 125 'not running' p container checkpoint whole
    p rm -f whole > /dev/null
}

# saved FUNCTION: takes a program, which writes again and again what only its memory has, through
# the function. That prints the name which the container has then.
saved() {
    local before after name
    p run -d --name frozen bb sh -c 'word=$(cat /proc/sys/kernel/random/uuid)
        while sleep 0.1; do echo $word > /data/new; mv /data/new /data/word; done' > /dev/null
    before=$(word_of frozen)
    name=$("$1") && after=$(word_of "$name") && [ -n "$before" ] && [ "$before" = "$after" ] && echo same process
    for name in frozen renamed; do p rm -f -t 0 "$name" > /dev/null 2>&1; done
}

word_of() {
    p exec "$1" rm -f /data/word
    until_true podman exec "$1" test -e /data/word && p exec "$1" cat /data/word
}

restored() { p container checkpoint frozen > /dev/null && p container restore frozen; }

left_running() { p container checkpoint --leave-running frozen; }

restored_twice() {
    p container checkpoint --keep frozen > /dev/null && p container restore --keep frozen > /dev/null && restored
}

exported() { p container checkpoint --export /run/frozen.tar.gz --compress gzip frozen > /dev/null && p rm -f frozen > /dev/null; }

imported() { exported && p container restore --import /run/frozen.tar.gz > /dev/null && echo frozen; }

renamed() { exported && p container restore --import /run/frozen.tar.gz --name renamed > /dev/null && echo renamed; }

restored_whole() {
    mkdir -p /run/whole && echo from the host > /run/whole/file
    p run -d --name whole -v /run/whole:/whole:ro --tmpfs /scratch bb \
        sh -c 'trap "exit 5" TERM; while sleep 0.1; do :; done' > /dev/null
    p container checkpoint whole > /dev/null && p container restore whole > /dev/null || return
    p exec whole cat /whole/file
    p stop whole > /dev/null && p inspect whole --format '{{.State.Status}} {{.State.ExitCode}}'
}

builds() {
    mkdir /run/build
    printf 'FROM bb\nRUN echo built > /data/built && id -u\n' > /run/build/Containerfile
    fact 'podman build runs its steps' 0 'Successfully|COMMIT' p build --isolation oci -t made /run/build
    fact 'what a step has written is in the image' 0 '^built$' p run --rm made cat /data/built
    if [ "$manager" = cgroupfs ]; then
        # Buildah takes this group for the step itself.
        fact 'podman build --cgroup-parent' 0 'Successfully|COMMIT' \
            p build --no-cache --isolation oci --cgroup-parent "/$parent/build" /run/build
    fi
    printf 'FROM bb\nRUN exit 3\n' > /run/build/Containerfile
    fact 'a step that fails ends the build' 3 'exit status 3' p build --isolation oci /run/build
    if command -v buildah > /dev/null; then
        fact 'buildah run' 0 'hello$' with_buildah echo hello
        fact 'buildah run passes the status on' 4 'exit status 4' with_buildah sh -c 'exit 4'
    else
        skip 'buildah run' 'no buildah'
    fi
}

with_buildah() {
    local status=0 container
    container=$(buildah from bb)
    timeout -k 5 "$patience" buildah run --isolation oci --runtime "$runtime" "$container" "$@" || status=$?
    buildah rm "$container" > /dev/null
    return $status
}

# netavark's own choice may be nft, which is not installed with it.
command -v nft > /dev/null || export NETAVARK_FW=iptables
configure
wrap
make_image > /dev/null || exit 1
life
further_processes
files
limits
security
namespaces
builds
checkpoints
fact 'no container is left' 0 '^$' p ps -a -q --filter status=running
p rm -fa -t 0 > /dev/null
fact 'no state of the runtime is left' 0 '^$' ls -I @base "/run/$name"
