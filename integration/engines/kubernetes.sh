# A Kubernetes node: etcd, the control plane, a kubelet, and containerd with the runtime as the
# handler `locule`, which the pods of kubernetes.yaml ask for by a RuntimeClass. inside.sh reads
# this file; newer.sh builds the programs.

PATH=$project/target/newer/etcd:$project/target/newer/kubernetes:$PATH
if ! command -v kubelet > /dev/null; then
    skip 'everything' 'the programs of Kubernetes are missing: just kubernetes'
    return 0
fi

# shellcheck source=cri-settings.sh
. "$here/cri-settings.sh"

address=10.9.8.7
work=/run/kubernetes
state=/run/containerd/runc/k8s.io
key=$work/certificates/apiserver.key
# What the facts need. Accounts of services and all other controllers would keep an emulated machine
# busy for minutes.
controllers=node-lifecycle-controller,job-controller,garbage-collector-controller
# An emulated machine is late with its answers: a connection is not lost because of that.
export HTTP2_READ_IDLE_TIMEOUT_SECONDS=0

k() { timeout -k 5 "$patience" kubectl "$@"; }

# daemon PROGRAM ARGUMENT...: in the background, with a log.
daemon() { "$@" > "$work/$1.log" 2>&1 & }

# ready COMMAND...: waits until it is true. Shows the ends of the logs when it never is.
ready() {
    local end=$((SECONDS + patience))
    until "$@" > /dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "never true: $*" >&2
            tail -n 30 "$work"/*.log >&2
            return 1
        fi
        sleep 0.5
    done
}

settings() {
    cat > "$work/kubeconfig" << END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$address:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
    export KUBECONFIG=$work/kubeconfig
    echo 'secret,admin,admin,system:masters' > "$work/tokens"
    cat > "$work/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: $manager
cgroupRoot: $(test "$manager" = systemd || echo "/$parent")
failCgroupV1: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
runtimeRequestTimeout: 10m
evictionHard: {memory.available: 1Mi}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
failSwapOn: false
resolvConf: ""
podLogsDir: $work/logs
volumePluginDir: $work/plugins
END
}

start_containerd() {
    cri_settings locule runc > /run/containerd.toml
    daemon containerd --config /run/containerd.toml --log-level info
    ready ctr version || return 1
    make_root /run/image
    make_archive /run/image /run/image.tar
    ctr -n k8s.io image import /run/image.tar > /dev/null
}

start_control_plane() {
    daemon etcd --data-dir "$work/etcd" --log-level warn --unsafe-no-fsync --heartbeat-interval 1000 --election-timeout 10000
    daemon kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir "$work/certificates" \
        --token-auth-file "$work/tokens" --authorization-mode AlwaysAllow --request-timeout 10m \
        --advertise-address "$address" --kubelet-preferred-address-types InternalIP \
        --service-cluster-ip-range 10.10.0.0/24 --service-account-issuer https://locule.invalid \
        --service-account-key-file "$key" --service-account-signing-key-file "$key" \
        --disable-admission-plugins ServiceAccount
    ready k get --raw /readyz || return 1
    echo "the control plane answers after $SECONDS s" >&2
    daemon kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false
    daemon kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false \
        --controllers "$controllers" --node-monitor-grace-period 20m
}

start_node() {
    daemon kubelet --config "$work/kubelet.yaml" --kubeconfig "$KUBECONFIG" --hostname-override node \
        --node-ip "$address" --root-dir "$work/kubelet" --cert-dir "$work/certificates" --v 2
    ready k get node node &&
        k wait --for condition=Ready node/node --timeout "${patience}s" > /dev/null || return 1
    echo "the node is ready after $SECONDS s" >&2
}

# Keeps away from the machine what the kubelet changes: its directories, and settings of the kernel.
# A bind mount hides those, and from the kubelet alone: a user namespace could not mount a proc of
# its own where parts of the one it sees are hidden.
hide_machine() {
    local directory
    mount --make-rshared /
    mkdir "$work/upper" "$work/work"
    mount -t overlay -o "lowerdir=/var,upperdir=$work/upper,workdir=$work/work" overlay /var
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do
        test ! -e "$directory/cgroup.procs" || mkdir "$directory/$parent"
    done
    kubelet() {
        exec unshare --mount --propagation unchanged sh -c '
            mount --make-rprivate /proc
            for file in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
                kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
                cat /proc/sys/$file > /run/kubernetes/setting.${file##*/}
                mount --bind /run/kubernetes/setting.${file##*/} /proc/sys/$file
            done
            exec kubelet "$@"' sh "$@"
    }
}

# wait_for NAME CONDITION: until the pod has it.
wait_for() { k wait "pod/$1" --for "$2" --timeout "${patience}s"; }

# of NAME FIELD: of the pod's container.
of() { k get pod "$1" -o "jsonpath={.status.containerStatuses[0].$2}"; }

# ended NAME PHASE: the status, the reason and the message of the end.
ended() {
    wait_for "$1" "jsonpath={.status.phase}=$2" > /dev/null &&
        of "$1" "state.terminated['exitCode','reason','message']"
}

# id_of NAME: the id of the pod's container, which the runtime knows too.
id_of() { of "$1" containerID | sed 's,containerd://,,'; }

life() {
    fact 'the node is told the features of the handler' 0 '"userNamespaces":true' k get node node \
        -o 'jsonpath={.status.runtimeHandlers[?(@.name=="locule")].features}'
    fact 'a pod with the RuntimeClass runs' 0 'condition met' wait_for life condition=Ready
    fact 'it is the runtime that runs it' 0 '"status": ?"running"' \
        "$runtime" --root "$state" "${manager_option[@]}" state "$(id_of life)"
    wait_for other condition=Ready > /dev/null
    fact 'a pod without a RuntimeClass has the default runtime' 0 '"status": ?"running"' \
        runc --root "$state" "${manager_option[@]}" state "$(id_of other)"
    fact 'logs' 0 '^hello$' k logs life
    fact 'exec prints what the program writes' 0 '^42$' k exec life -- sh -c 'echo $((40 + 2))'
    fact 'exec takes the standard input' 0 '^HELLO$' sh -c 'echo hello | kubectl exec -i life -- tr a-z A-Z'
    fact 'exec passes the status on' 3 'exit code 3' k exec life -- sh -c 'exit 3'
    fact 'exec of a program that does not exist is an error' 1 'no such file or directory' k exec life -- /nothing
    fact 'exec -t has a terminal' 0 '/dev/pts/0' terminal kubectl exec -it life -- tty
}

probes() {
    wait_for probed 'jsonpath={.status.phase}=Running' > /dev/null
    fact 'a pod whose exec probe fails is not ready' 0 'condition met' wait_for probed condition=Ready=false
    k exec probed -- touch /tmp/ready
    fact 'an exec probe makes it ready' 0 'condition met' wait_for probed condition=Ready
    fact 'an exec probe that fails restarts the container' 0 'condition met' \
        wait_for unwell 'jsonpath={.status.containerStatuses[0].lastState.terminated}'
    fact 'the log of the container before' 0 '^once$' k logs unwell --previous
    k delete pod unwell --wait=false > /dev/null
}

limits() {
    wait_for limited condition=Ready > /dev/null
    local id
    id=$(id_of limited)
    fact 'a limit of memory' 0 '^67108864$' limit memory/memory.limit_in_bytes memory.max
    fact 'a limit of processor time' 0 '^50000' limit cpu/cpu.cfs_quota_us cpu.max
    k patch pod limited --subresource resize --patch '{"spec": {"containers": [{"name": "main",
        "resources": {"limits": {"cpu": "700m", "memory": "96Mi"}}}]}}' > /dev/null
    fact 'a resize in place changes the limit of memory' 0 '' \
        ready limit_is 100663296 memory/memory.limit_in_bytes memory.max
    fact 'a resize in place changes the limit of processor time' 0 '' \
        ready limit_is 70000 cpu/cpu.cfs_quota_us cpu.max
    fact 'the container is the same after it' 0 "^$id$" id_of limited
}

# limit V1-FILE V2-FILE: what the container sees in its control group.
limit() { k exec limited -- sh -c "cat /sys/fs/cgroup/$1 2> /dev/null || cat /sys/fs/cgroup/$2"; }

limit_is() { [[ $(limit "$2" "$3") == "$1"* ]]; }

users() {
    wait_for mapped condition=Ready > /dev/null
    fact 'a pod with hostUsers: false has ids of its own' 0 '^ +0 +[1-9][0-9]{4,} +65536$' \
        k exec mapped -- cat /proc/self/uid_map
    fact 'its files and volumes are those of its root' 0 '^0 0 0 0$' \
        k exec mapped -- sh -c 'echo $(stat -c "%u %g" /etc/text /data)'
}

ends() {
    fact 'the status and the message of the end' 0 '^5 Error the reason$' ended failed Failed
    fact 'a program that does not exist is StartError' 0 '^128 StartError .*no such file or directory' ended missing Failed
    fact 'too much memory is OOMKilled' 0 '^137 OOMKilled' ended greedy Failed
    fact 'a job completes' 0 'condition met' k wait job/job --for condition=Complete --timeout "${patience}s"
}

security() {
    ended secure Succeeded > /dev/null
    k logs secure > "$work/secure"
    fact 'runAsUser, runAsGroup and supplementalGroups' 0 '^uid=1000.* gid=1000.*1001' grep uid= "$work/secure"
    fact 'capabilities: none for an ordinary user, one in the bounding set' 0 '0000000000000000.*0000000000000400' \
        sh -c "echo \$(grep Cap $work/secure | sort -r)"
    fact 'allowPrivilegeEscalation: false' 0 '1$' grep NoNewPrivs: "$work/secure"
    fact 'seccompProfile: RuntimeDefault' 0 '2$' grep Seccomp: "$work/secure"
    fact 'readOnlyRootFilesystem' 0 'Read-only file system' grep touch: "$work/secure"
    fact 'fsGroup owns the volume' 0 '^volume 1002$' grep volume "$work/secure"
}

sharing() {
    wait_for shared condition=Ready > /dev/null
    fact 'an init container runs first; a subPath of memory' 0 '^from the first$' k exec shared -c main -- cat /file
    fact 'shareProcessNamespace' 0 'sleep 12345' k exec shared -c beside -- ps
    fact 'the hostname of the pod' 0 '^somewhere$' k exec shared -c beside -- hostname
    fact 'recursiveReadOnly covers a mount below' 1 'Read-only' k exec shared -c main -- touch /mnt/below/x
}

deletion() {
    fact 'a deleted pod is told to end, and has its time' 0 '^told$' delete_life
    fact 'all is deleted' 0 '' k delete --wait --timeout "${patience}s" --grace-period 1 job,pod --all
    fact 'no state of the runtime is left' 0 '' ready state_is_empty
}

delete_life() { k delete pod life --wait --timeout "${patience}s" > /dev/null && cat "$work/volume/end"; }

state_is_empty() { test -z "$(ls -I @base "$state")"; }

mkdir -p "$work/volume" "$work/tree/below"
mount -t tmpfs tmpfs "$work/tree/below"
ip address add "$address/32" dev lo
test "$manager" = systemd || hide_machine
settings
make_network
if ! start_containerd || ! start_control_plane || ! start_node; then
    printf 'FAILED\tthe node starts\n'
    return 0
fi
# An emulated machine cannot start all of them at once.
for group in life probes limits users ends security sharing; do
    k create --validate=false -f "$here/kubernetes.yaml" -l "facts=$group" > /dev/null
    $group
done
deletion
