# containerd through ctr. $runtime and $name come from inside.sh, which reads this file.

image=docker.io/library/bb:latest
# ctr 2 writes one for cgroup v1 with every command.
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1

c() { timeout -k 5 "$patience" ctr --namespace "$parent" "$@"; }
# A container in the foreground, removed at its end.
run() { c run --rm --runc-binary "$runtime" $(scope "$@") "$@"; }
background() { c run -d --runc-binary "$runtime" $(scope "$@") "$@"; }

# The name of the scope for systemd, which has the container's id: the word behind the image.
scope() {
    test "$manager" = systemd || return 0
    while [ "$1" != $image ]; do shift; done
    echo "--runc-systemd-cgroup --cgroup $parent:ctr:$2"
}

start_daemon() {
    cat > /run/containerd.toml << END
version = 2
root = "/run/containerd-root"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
END
    containerd --config /run/containerd.toml --log-level warn > /run/containerd.log 2>&1 &
    until_true ctr version
}

life() {
    fact 'run prints what the program writes' 0 '^hello$' run $image one echo hello
    fact 'run takes the standard input' 0 '^got hello$' with_input
    fact 'run passes the status of the program on' 7 '^$' run $image status sh -c 'exit 7'
    fact 'a program that does not exist is an error' 1 'no such file or directory' run $image none /nothing
    fact 'a name that is not in the PATH is an error' 1 'not found in' run $image none nothing
    fact 'a directory as the program is an error' 1 'permission denied|is a directory' run $image none /etc
    fact 'run -t has a terminal' 0 '/dev/(pts/0|console)' terminal ctr -n "$parent" run --rm -t --runc-binary "$runtime" $(scope $image tty) $image tty tty
    fact 'run -d returns at once' 0 '^$' background $image main sh -c 'trap "" TERM; sleep 1000 & wait; sleep 1000'
    fact 'tasks list it as running' 0 'main +[0-9]+ +RUNNING' c task list
    fact 'an id in use is an error' 1 'already exists' background $image main true
    fact 'exec prints what the program writes' 0 '^hello$' c task exec --exec-id e1 main echo hello
    fact 'exec passes the status on' 9 '^$' c task exec --exec-id e2 main sh -c 'exit 9'
    fact 'exec -t has a terminal' 0 '/dev/pts/0' terminal ctr -n "$parent" task exec -t --exec-id e3 main tty
    fact 'exec as another user, elsewhere' 0 '^1000 /etc$' c task exec --exec-id e4 --user 1000 --cwd /etc main sh -c 'echo $(id -u) $PWD'
    fact 'exec of a program that does not exist is an error' 1 'no such file or directory' c task exec --exec-id e5 main /nothing
    fact 'ps lists the processes' 0 '[0-9]+' c task ps main
    fact 'metrics show its memory' 0 'memory' c task metrics main
    fact 'pause' 0 'PAUSED' sh -c "ctr -n $parent task pause main && ctr -n $parent task list"
    fact 'resume' 0 'RUNNING' sh -c "ctr -n $parent task resume main && ctr -n $parent task list"
    fact 'kill sends a signal' 0 'RUNNING' sh -c "ctr -n $parent task kill -s TERM main; sleep 0.3; ctr -n $parent task list"
    fact 'kill --all ends all processes' 0 'STOPPED' kill_all
    fact 'kill of a task that has ended is an error' 1 'not found|already finished' c task kill main
    fact 'a task that has ended is deleted' 0 '' sh -c "ctr -n $parent task rm main; ctr -n $parent container rm main"
    fact 'a running task is deleted by force' 0 'forced|^$' forced
}

checkpoints() {
    if ! criu check > /dev/null 2>&1; then
        skip 'checkpoint and restore' 'no CRIU, or it cannot work here'
        return
    fi
    # It writes again and again what only its memory has.
    background $image frozen sh -c 'word=$(cat /proc/sys/kernel/random/uuid)
        while sleep 0.1; do echo $word > /data/new; mv /data/new /data/word; done'
    fact 'checkpoint and restore of a task' 0 '^same process$' saved
    fact 'checkpoint --exit ends the task' 0 'frozen +[0-9]+ +STOPPED' ended
    remove frozen
}

saved() {
    local before
    before=$(word_of frozen)
    c container checkpoint --task --rw --image frozen checkpoint/frozen && remove frozen > /dev/null &&
        c container restore --live --rw frozen checkpoint/frozen &&
        [ -n "$before" ] && [ "$before" = "$(word_of frozen)" ] && echo same process
}

word_of() {
    c task exec --exec-id removes "$1" rm -f /data/word
    until_true c task exec --exec-id looks "$1" test -e /data/word && c task exec --exec-id reads "$1" cat /data/word
}

ended() {
    c task checkpoint --exit --image-path /run/dump frozen
    until_true sh -c "ctr -n $parent task list | grep STOPPED" && c task list
}

# ctr 1.6 does not pass the end of its input on.
with_input() { echo hello | run $image input sh -c 'read word; echo got $word'; }

forced() { background $image forced sleep 1000 && c task rm -f forced && c container rm forced; }

kill_all() {
    c task kill --all -s KILL main
    until_true sh -c "ctr -n $parent task list | grep STOPPED" && c task list
}

settings() {
    fact '--memory-limit' 0 '^33554432$' limit_of memory/memory.limit_in_bytes memory.max --memory-limit 33554432
    fact '--cpus' 0 '^50000' limit_of cpu/cpu.cfs_quota_us cpu.max --cpus 0.5
    fact '--read-only' 1 'Read-only' run --read-only $image r touch /x
    fact '--privileged' 0 'Seccomp:.0' run --privileged $image p grep Seccomp: /proc/self/status
    fact '--seccomp' 0 'Seccomp:.2' run --seccomp $image s grep Seccomp: /proc/self/status
    fact '--net-host' 0 'lo' run --net-host $image n cat /proc/net/dev
    fact '--mount' 0 'from the host' mounted
    fact '--env and --cwd' 0 '^x /etc$' run --env A=x --cwd /etc $image e sh -c 'echo $A $PWD'
    fact '--uidmap' 0 ' 0 +100000 +5000' run --uidmap 0:100000:5000 --gidmap 0:100000:5000 $image u cat /proc/self/uid_map
    fact 'update changes the memory limit' 0 '67108864' update
}

mounted() {
    mkdir -p /run/volume && echo from the host > /run/volume/file
    run --mount type=bind,src=/run/volume,dst=/data,options=rbind:ro $image v cat /data/file
}

# limit_of V1-FILE V2-FILE OPTION...: what the control group of a container with these options says.
limit_of() {
    local files=("${@:1:2}")
    shift 2
    background "$@" $image limited sleep 1000
    limit_in "${files[@]}" limited
    remove limited
}

# ctr has no command for it, so the shim's call is made here.
update() {
    background $image changed sleep 1000
    echo '{"memory": {"limit": 67108864}}' | "$runtime" --root "/run/containerd/runc/$parent" "${manager_option[@]}" update --resources - changed
    limit_in memory/memory.limit_in_bytes memory.max changed
    remove changed
}

remove() {
    c task rm -f "$1" > /dev/null 2>&1
    c container rm "$1"
}

daemon_restart() {
    background $image lasting sleep 1000
    kill -9 "$daemon"
    wait "$daemon" 2> /dev/null
    start_daemon && daemon=$!
    c task exec --exec-id after lasting echo alive
    remove lasting
}

start_daemon || { cat /run/containerd.log >&2; exit 1; }
daemon=$!
make_root /run/image
make_archive /run/image /run/image.tar
c image import /run/image.tar > /dev/null || exit 1
life
checkpoints
settings
fact 'a container outlives the daemon' 0 'alive' daemon_restart
fact 'no task is left' 0 '^TASK +PID +STATUS *$' c task list
fact 'no state of the runtime is left' 0 '^$' ls -I @base "/run/containerd/runc/$parent"
