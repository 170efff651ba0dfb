# Bad situations under Podman: each time it gets an error that it understands, and the next command
# works. inside.sh reads this file.

. <(sed '/^configure$/,$d' "$here/podman.sh")

works() { fact "  then the next container runs" 0 '^hello$' p run --rm bb echo hello; }

# Podman, conmon and the runtime are killed at some moment of a start; which one is luck.
killed_engine() {
    local moment
    for moment in 0.1 0.15 0.2 0.25 0.3 0.4 0.6 0.8; do
        timeout -s KILL "$moment" /usr/bin/podman run --cgroup-parent "/$parent" --name "killed$moment" bb sleep 1000
        pkill -KILL -x conmon
        pkill -KILL -x "$name"
    done > /dev/null 2>&1
    p rm -fa -t 0 > /dev/null 2>&1
    p ps -aq
    # Podman 4.3 forgets containers whose conmon was killed.
    mkdir -p "/run/$name"
    for moment in $("$runtime" list -q 2> /dev/null); do "$runtime" delete --force "$moment"; done
    ls -A -I @base "/run/$name"
}

replaced_program() {
    p run -d --name before bb sleep 1000
    cp "$runtime" "$runtime.new"
    mv "$runtime.new" "$runtime"
    p exec before echo still there
    p rm -f -t 0 before
}

full_state() {
    mkdir -p "/run/$name"
    mount -t tmpfs -o size=64k tmpfs "/run/$name"
    head -c 1m /dev/zero > "/run/$name/.fill" 2> /dev/null
    local status=0
    p run --rm bb true || status=$?
    rm "/run/$name/.fill"
    ls -A -I @base "/run/$name"
    umount -l "/run/$name"
    return $status
}

bundle_gone() {
    p run -d --name gone bb sh -c 'trap "" TERM; sleep 1000' > /dev/null
    rm /var/lib/containers/storage/overlay-containers/"$(p inspect gone --format '{{.Id}}')"/userdata/config.json
    p exec gone echo alive
    p stop -t 0 gone > /dev/null 2>&1
    p inspect gone --format '{{.State.Status}} {{.State.ExitCode}}'
    p rm gone > /dev/null
}

dangling_root() {
    mkdir /run/root /run/gone
    mount --bind /run/gone /run/root
    rmdir /run/gone
    p run --rm --rootfs /run/root true
}

configure
wrap
make_image > /dev/null || exit 1
fact 'an engine that is killed during a start leaves nothing that it cannot remove' 0 '^$' killed_engine
works
fact 'the program is replaced while a container runs' 0 'still there' replaced_program
works
fact 'a full directory of states is an error that says so' 126 'no space left' full_state
works
fact 'a container whose bundle is gone is used and stopped' 0 'alive.exited 137' bundle_gone
works
fact 'a root that was removed is an error that names it' 127 'no such file or directory|executable file' dangling_root
works
p rm -fa -t 0 > /dev/null 2>&1
