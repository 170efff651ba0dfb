# CRI-O through its socket, with conmon, as the kubelet uses it. inside.sh reads this file; newer.sh
# builds the programs. The facts are those of cri.sh.

PATH=$project/target/newer/crio:$PATH
if ! python3 -c 'import grpc' 2> /dev/null || ! command -v conmon > /dev/null; then
    skip 'everything' 'no python3-grpcio, or no conmon'
    return 0
fi

. <(sed '/^make_network$/,$d' "$here/cri.sh")

work=/run/crio
state=/run/$name
default_profile=crio-default
export LOCULE_CRI=$work/crio.sock

# Everything is below $work.
settings() {
    cat << END
[crio]
root = "$work/storage"
runroot = "$work/run"
storage_driver = "overlay"
log_dir = "$work/logs"
version_file = "$work/version"
clean_shutdown_file = "$work/clean.shutdown"
[crio.api]
listen = "$LOCULE_CRI"
[crio.image]
pause_image = "docker.io/library/bb:latest"
pause_command = "/bin/pause"
signature_policy_dir = "$work/policies"
[crio.runtime]
default_runtime = "tested"
cgroup_manager = "cgroupfs"
conmon = "$(command -v conmon)"
conmon_cgroup = "pod"
pinns_path = "$project/target/newer/crio/pinns"
namespaces_dir = "$work/namespaces"
container_exits_dir = "$work/exits"
container_attach_socket_dir = "$work/attach"
irqbalance_config_restore_file = "disable"
hooks_dir = []
[crio.runtime.runtimes.tested]
runtime_path = "$work/runtime"
runtime_root = "$state"
monitor_path = "$(command -v conmon)"
monitor_cgroup = "pod"
[crio.network]
network_dir = "/run/cni.d"
plugin_dirs = ["/run/cni"]
END
}

# CRI-O lowers the oom score of its own containers, which a machine without CAP_SYS_RESOURCE refuses
# with every runtime. This program stands before the runtime and leaves the score as it is.
wrap() {
    local score
    score=$(cat /proc/self/oom_score_adj)
    mkdir -p $work
    cat > $work/runtime << END
#!/bin/sh
bundle=
for word; do
    test "\$bundle" != next || bundle=\$word
    test "\$word" != --bundle || bundle=next
done
test -z "\$bundle" || sed -i "s/\\(\"oomScoreAdj\": *\\)-[0-9]*/\\1$score/" "\$bundle/config.json"
exec $runtime "\$@"
END
    chmod +x $work/runtime
}

start_daemon() {
    settings > $work/crio.conf
    crio --config $work/crio.conf --config-dir '' --log-level warn > $work/crio.log 2>&1 &
    daemon=$!
    until_true python3 "$here/cri.py" version
}

# The group of conmon has the id in its name too.
limit_in() { cat "/sys/fs/cgroup/${1%%/*}/$parent/crio-$3/${1#*/}" "/sys/fs/cgroup/$parent/crio-$3/$2" 2> /dev/null || :; }

daemon_restart() {
    run lasting '' sleep 100000
    kill -9 "$daemon"
    wait "$daemon" 2> /dev/null
    start_daemon && cri exec "$id" echo alive
    cri status "$id"
}

is_too_old_for_user_namespaces() { false; }

wrap
podman_settings
make_network
make_root /run/image
# The first process of a pod with a pid namespace. It ends with SIGTERM.
printf '#!/bin/sh\ntrap exit TERM\nsleep 100000 &\nwait\n' > /run/image/bin/pause
chmod +x /run/image/bin/pause
make_archive /run/image /run/image.tar
podman --root $work/storage --runroot $work/run --storage-driver overlay load -q -i /run/image.tar > /dev/null || exit 1
start_daemon || { cat $work/crio.log >&2; exit 1; }
sandbox=$(cri pod pod "$parent_option" tested) || { tail -n 20 $work/crio.log >&2; exit 1; }
fact 'it is the runtime that runs the sandbox' 0 '"status": ?"running"' "$runtime" --root "$state" state "$sandbox"
fact 'a container outlives the daemon' 0 '^alive.running 0' daemon_restart
facts
fact 'no state of the runtime is left' 0 '^$' ls -I @base "$state"
