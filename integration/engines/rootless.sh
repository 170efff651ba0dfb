# Podman as an ordinary user with subordinate ids. inside.sh reads this file.

configure() {
    mkdir -p "/run/user/$user" /run/home/.config/containers
    export XDG_RUNTIME_DIR=/run/user/$user
    podman_settings
    cat > /etc/containers/containers.conf << END
[containers]
$limits
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "$name"
END
    chown -R "$user:$user" /run/home "$XDG_RUNTIME_DIR"
}

as_user() { setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all "$@"; }

as=(as_user)

p() { as_user timeout -k 5 "$patience" podman "$@"; }

facts() {
    fact 'run prints what the program writes' 0 '^hello$' p run --rm --network none bb echo hello
    fact 'run passes the status of the program on' 7 '^$' p run --rm --network none bb sh -c 'exit 7'
    fact 'a program that does not exist is 127' 127 'no such file or directory' p run --rm --network none bb /nothing
    fact 'root inside is the user outside' 0 " 0 +$user +1" p run --rm --network none bb cat /proc/self/uid_map
    fact 'run -t has a terminal' 0 '/dev/(pts/0|console)' terminal podman run -it --rm --network none bb tty
    fact 'run -d returns at once' 0 '^[0-9a-f]{64}$' p run -d --name main --network none bb sleep 1000
    fact 'exec prints what the program writes' 0 '^hello$' p exec main echo hello
    fact 'exec -t has a terminal' 0 '/dev/pts/0' terminal podman exec -it main tty
    fact 'exec as another user' 0 '^1000$' p exec -u 1000 main id -u
    fact 'stop' 0 '^exited 137$' stop
    fact 'start again' 0 '^running$' start
    fact 'rm -f' 0 '' p rm -f -t 0 main
    fact '--userns=keep-id keeps the id' 0 "^$user\$" p run --rm --network none --userns keep-id bb id -u
    fact '--group-add keep-groups keeps the groups' 0 '65534' keep_groups
    fact 'a volume of the user' 0 'from the user' volume
    fact '--read-only' 1 'Read-only' p run --rm --network none --read-only bb touch /x
    fact '--privileged' 0 'Seccomp:.0' p run --rm --network none --privileged bb grep Seccomp: /proc/self/status
    fact '--cgroups=disabled' 0 '^hello$' p run --rm --network none --cgroups=disabled bb echo hello
    fact '--pid host' 0 'podman' p run --rm --network none --pid host bb ps
    if as_user test -w /dev/net/tun && command -v slirp4netns > /dev/null; then
        fact '--network slirp4netns' 0 'tap0' p run --rm --network slirp4netns bb cat /proc/net/dev
    else
        skip '--network slirp4netns' 'needs slirp4netns, and /dev/net/tun for users'
    fi
    fact 'a pod shares its namespaces' 0 'pod' pod
    skip 'limits' 'cgroup v1 gives nothing to users; the virtual machine tests them'
}

stop() {
    p stop -t 0 main > /dev/null 2>&1
    p inspect main --format '{{.State.Status}} {{.State.ExitCode}}'
}

start() {
    p start main > /dev/null
    p inspect main --format '{{.State.Status}}'
}

# A group that the user namespace does not map is 65534 inside.
keep_groups() {
    setpriv --reuid "$user" --regid "$user" --groups "$user,54321" --inh-caps=-all \
        podman run --rm --network none --group-add keep-groups bb id -G
}

volume() {
    mkdir /run/home/volume
    echo from the user > /run/home/volume/file
    chown -R "$user" /run/home/volume
    p run --rm --network none -v /run/home/volume:/data bb sh -c 'cat /data/file; echo x > /data/new'
    test "$(stat -c %u /run/home/volume/new)" = "$user" || echo "wrong owner"
}

pod() {
    p pod create --name pod --network none --infra-image bb --infra-command 'sleep 1000' --hostname pod > /dev/null
    p run --rm --pod pod bb hostname
    p pod rm -f -t 0 pod > /dev/null
}

configure
make_root /run/image
make_archive /run/image /run/image.tar
chmod 755 /run/image.tar
p load -q -i /run/image.tar > /dev/null || exit 1
facts
fact 'no state of the runtime is left' 0 '^$' ls -I @base "$XDG_RUNTIME_DIR/$name"
