# Docker with the runtime as an added one and as the default. inside.sh reads this file.

d() { timeout -k 5 "$patience" docker "$@"; }

start_daemon() {
    mkdir -p /run/docker-config
    cat > /run/docker-config/daemon.json << END
{
    "runtimes": {"$name-added": {"path": "$runtime"}$extra},
    "default-runtime": "$default",
    "data-root": "/run/docker-root",
    "exec-root": "/run/docker",
    "cgroup-parent": "/$parent",
    "bridge": "none", "iptables": false, "ip6tables": false,
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
    "log-level": "warn"
}
END
    dockerd --config-file /run/docker-config/daemon.json > /run/dockerd.log 2>&1 &
    daemon=$!
    until_true docker version
}

life() {
    fact 'info lists the runtime' 0 "$name-added" d info
    fact 'an added runtime' 0 '^hello$' d run --rm --runtime "$name-added" bb echo hello
    fact 'run prints what the program writes' 0 '^hello$' d run --rm bb echo hello
    fact 'run takes the standard input' 0 '^HELLO$' sh -c 'echo hello | docker run -i --rm bb tr a-z A-Z'
    fact 'run passes the status of the program on' 7 '^$' d run --rm bb sh -c 'exit 7'
    fact 'a program that does not exist is 127' 127 'no such file or directory' d run --rm bb /nothing
    fact 'a name that is not in the PATH is 127' 127 'executable file not found' d run --rm bb nothing
    fact 'a directory as the program is 126' 126 'permission denied|is a directory' d run --rm bb /etc
    fact 'run -t has a terminal' 0 '/dev/(pts/0|console)' terminal docker run -it --rm bb tty
    fact 'run -d returns at once' 0 '^[0-9a-f]{64}$' d run -d --name main bb sh -c 'trap "" TERM; while sleep 0.1; do :; done'
    fact 'the runtime is the default' 0 "^$default\$" d inspect main --format '{{.HostConfig.Runtime}}'
    fact 'exec prints what the program writes' 0 '^hello$' d exec main echo hello
    fact 'exec passes the status on' 9 '^$' d exec main sh -c 'exit 9'
    fact 'exec -t has a terminal' 0 '/dev/pts/0' terminal docker exec -it main tty
    fact 'exec of a program that does not exist' 126 'no such file or directory' d exec main /nothing
    fact 'top' 0 'sleep 0.1' d top main
    fact 'stats' 0 '[0-9.]+[MK]iB / ' d stats --no-stream --format '{{.MemUsage}}' main
    fact 'pause' 0 'paused' sh -c 'docker pause main && docker inspect main --format "{{.State.Status}}"'
    fact 'unpause' 0 'running' sh -c 'docker unpause main && docker inspect main --format "{{.State.Status}}"'
    fact 'update changes the memory limit' 0 '67108864' update
    fact 'stop with a grace period ends with 137' 0 '^exited 137$' sh -c 'docker stop -t 1 main > /dev/null; docker inspect main --format "{{.State.Status}} {{.State.ExitCode}}"'
    fact 'start again' 0 'running' sh -c 'docker start main && docker inspect main --format "{{.State.Status}}"'
    fact 'kill' 0 '137' sh -c 'docker kill main; docker wait main'
    fact 'rm' 0 '^main$' d rm main
}

update() {
    d update --memory 64m --memory-swap 64m main
    d exec main sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'
}

settings() {
    fact '--privileged' 0 'Seccomp:.0' d run --rm --privileged bb grep Seccomp: /proc/self/status
    fact 'the default filter' 0 'Seccomp:.2' d run --rm bb grep Seccomp: /proc/self/status
    fact '--init' 0 'init' d run --rm --init bb ps
    fact '--pid=host' 0 'dockerd' d run --rm --pid host bb ps
    fact '--ipc=container:' 0 '^77$' shared_ipc
    fact '--read-only' 1 'Read-only' d run --rm --read-only bb touch /x
    fact '--tmpfs' 0 'tmpfs' d run --rm --tmpfs /data bb grep ' /data ' /proc/mounts
    fact '--ulimit' 0 '^333$' d run --rm --ulimit nofile=333:333 bb sh -c 'ulimit -n'
    fact '--sysctl' 0 '^4321$' d run --rm --sysctl kernel.msgmax=4321 bb cat /proc/sys/kernel/msgmax
    fact '--cap-drop all' 0 'CapEff:.0000000000000000' d run --rm --cap-drop all bb grep CapEff /proc/self/status
    fact '--device' 0 '^crw' d run --rm --device /dev/full:/dev/other:r bb ls -l /dev/other
    fact '--memory' 0 '33554432' d run --rm --memory 32m bb sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'
    fact '--pids-limit' 0 '^77$' d run --rm --pids-limit 77 bb sh -c 'cat /sys/fs/cgroup/pids/pids.max 2> /dev/null || cat /sys/fs/cgroup/pids.max'
    fact 'a restart policy' 0 '^[1-9]' restarts
    fact 'a health check' 0 '^healthy$' health
}

shared_ipc() {
    d run -d --name first --ipc shareable bb sh -c 'echo 77 > /dev/shm/x; sleep 1000' > /dev/null
    until_true docker exec first test -e /dev/shm/x
    d run --rm --ipc container:first bb cat /dev/shm/x
    d rm -f first > /dev/null
}

restarts() {
    d run -d --name again --restart on-failure:3 bb sh -c 'exit 1' > /dev/null
    until_true sh -c 'docker inspect again --format "{{.RestartCount}}" | grep [1-9]'
    d inspect again --format '{{.RestartCount}}'
    d rm -f again > /dev/null
}

health() {
    d run -d --name health --health-cmd 'test -d /etc' --health-interval 200ms bb sleep 1000 > /dev/null
    until_true sh -c 'docker inspect health --format "{{.State.Health.Status}}" | grep ^healthy'
    d inspect health --format '{{.State.Health.Status}}'
    d rm -f health > /dev/null
}

# runc is Docker's own: it cannot be added under that name.
if [ "$name" = runc ]; then
    default=runc extra=
else
    default=$name extra=", \"$name\": {\"path\": \"$runtime\"}"
fi
start_daemon || { cat /run/dockerd.log >&2; exit 1; }
make_root /run/image
make_archive /run/image /run/image.tar
d load -q -i /run/image.tar > /dev/null || exit 1
life
settings
fact 'no container is left' 0 '^$' d ps -aq
