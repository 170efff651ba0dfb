# containerd's CRI plugin, as the kubelet uses it, through its socket. inside.sh reads this file.

if ! python3 -c 'import grpc' 2> /dev/null; then
    skip 'everything' 'no python3-grpcio'
    return 0
fi

# shellcheck source=cri-settings.sh
. "$here/cri-settings.sh"

cri() { timeout -k 5 "$patience" python3 "$here/cri.py" "$@"; }

start_daemon() {
    cri_settings tested tested > /run/containerd.toml
    containerd --config /run/containerd.toml --log-level warn > /run/containerd.log 2>&1 &
    until_true python3 "$here/cri.py" version
}

# run NAME OPTIONS COMMAND...: a running container in the pod; its id is in $id.
run() {
    id=$(cri create "$sandbox" "$parent_option" pod "$@") && cri start "$id"
}

facts() {
    fact 'a sandbox runs' 0 '^[0-9a-f]{64}$' echo "$sandbox"
    run first '' sh -c 'echo 77 > /dev/shm/x; trap "" TERM; sleep 100000' && local first=$id
    fact 'a container runs' 0 '^running 0' cri status "$first"
    run second user=1000 sleep 100000 && local second=$id
    fact 'containers of a pod share /dev/shm' 0 '^77$' cri exec "$second" cat /dev/shm/x
    fact 'containers of a pod share the pid namespace' 0 '1 root +(sleep 100000|.*pause)' cri exec "$second" ps
    fact 'the user of the container' 0 '^1000$' cri exec "$second" id -u
    fact 'exec passes the status on' 9 '^$' cri exec "$second" sh -c 'exit 9'
    fact 'exec of a program that does not exist is an error' 1 'no such file or directory' cri exec "$second" /nothing
    fact 'stats show its memory' 0 '^[0-9]+$' cri stats "$first"
    fact 'a resize changes the memory limit' 0 '^67108864$' resize "$first"
    fact 'a limit of memory that is too small ends with 137, OOMKilled' 0 '^exited 137 OOMKilled$' out_of_memory
    fact 'a status is kept' 0 '^exited 5 Error$' status
    fact 'a program that does not exist is StartError, and its message says so' 1 'no such file or directory' \
        run missing '' /nothing
    fact 'a read-only root' 1 'Read-only' in_container readonly touch /x
    fact 'no new privileges' 0 'NoNewPrivs:.1' in_container no-new-privileges grep NoNewPrivs /proc/self/status
    fact 'the default filter' 0 'Seccomp:.2' in_container seccomp=default grep Seccomp: /proc/self/status
    fact 'no filter' 0 'Seccomp:.0' in_container seccomp=unconfined grep Seccomp: /proc/self/status
    security_modules
    user_namespace
    fact 'a stop with a grace period' 0 '^exited 137' stop "$first"
    fact 'a container is removed' 0 '^$' cri RemoveContainer "$first"
    fact 'the sandbox is stopped and removed with what runs in it' 0 '^$' end_sandbox "$sandbox"
}

default_profile=cri-containerd.apparmor.d

security_modules() {
    if [ "$(cat /sys/module/apparmor/parameters/enabled 2> /dev/null)" != Y ]; then
        skip 'profiles of AppArmor' 'this kernel has no AppArmor'
        return
    fi
    printf 'profile locule-engines flags=(attach_disconnected) { file, capability, signal, deny /etc/text r, }\n' |
        apparmor_parser --add --skip-cache
    fact 'the default profile of AppArmor' 0 "^$default_profile" in_container apparmor=default cat /proc/self/attr/current
    fact 'no profile of AppArmor' 0 '^unconfined' in_container apparmor=unconfined cat /proc/self/attr/current
    fact 'a profile of AppArmor by its name' 0 '^locule-engines' in_container apparmor=locule-engines cat /proc/self/attr/current
    fact 'what the profile forbids' 1 'Permission denied' in_container apparmor=locule-engines,readonly cat /etc/text
    fact 'a profile of AppArmor that is not loaded is an error' 1 'apparmor|AppArmor' run unknown apparmor=nothing sleep 100000
}

is_too_old_for_user_namespaces() { [[ $(containerd --version) == *' 1.'[0-6].* ]]; }

user_namespace() {
    local words='a pod with a user namespace' remapped
    ! is_too_old_for_user_namespaces || { skip "$words" 'containerd before 1.7 has none' && return; }
    remapped=$(cri pod remapped "$parent_option" tested 1000000)
    fact "$words" 0 '^[0-9a-f]{64}$' echo "$remapped"
    id=$(cri create "$remapped" "$parent_option" remapped inside userns=1000000 sleep 100000) && cri start "$id"
    fact 'its ids are mapped' 0 '^ +0 +1000000 +65536$' cri exec "$id" cat /proc/self/uid_map
    fact 'its files are those of its root' 0 '^0 0$' cri exec "$id" stat -c '%u %g' /etc/text
    fact 'it is stopped and removed' 0 '^$' end_sandbox "$remapped"
}

resize() {
    cri update "$1" 67108864
    limit_in memory/memory.limit_in_bytes memory.max "$1"
}

out_of_memory() {
    run greedy memory=16777216 tail /dev/zero
    until_true sh -c "python3 $here/cri.py status $id | grep exited"
    cri status "$id"
}

status() {
    run short '' sh -c 'exit 5'
    until_true sh -c "python3 $here/cri.py status $id | grep exited"
    cri status "$id"
}

# in_container OPTIONS COMMAND...
in_container() {
    run "options-$1" "$1" sleep 100000 && cri exec "$id" "${@:2}"
}

stop() {
    cri StopContainer "$1" 1
    cri status "$1"
}

end_sandbox() { cri StopPodSandbox "$1" && cri RemovePodSandbox "$1"; }

make_network
start_daemon || { cat /run/containerd.log >&2; exit 1; }
make_root /run/image
make_archive /run/image /run/image.tar
ctr -n k8s.io image import /run/image.tar > /dev/null || exit 1
sandbox=$(cri pod pod "$parent_option" tested) || { tail -n 5 /run/containerd.log >&2; exit 1; }
facts
fact 'no state of the runtime is left' 0 '^$' ls -I @base /run/containerd/runc/k8s.io
