# The .deb: installed with dpkg, used by Podman, and removed. inside.sh reads this file.

p() { timeout -k 5 "$patience" podman "$@"; }

# What dpkg changes goes to memory.
cover() {
    local directory
    for directory in /usr /etc /var; do
        mkdir -p "/run/cover$directory"/{upper,work}
        mount -t overlay -o "lowerdir=$directory,upperdir=/run/cover$directory/upper,workdir=/run/cover$directory/work" \
            overlay "$directory"
    done
    umount /usr/local/bin 2> /dev/null
    rm -f /etc/containers/containers.conf.d/locule.conf
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
    printf '[containers]\nnetns = "none"\n%s\n[engine]\ncgroup_manager = "cgroupfs"\n' "$limits" > /etc/containers/containers.conf
    mount -t tmpfs tmpfs /var/lib/containers
    mount -t tmpfs -o mode=1777 tmpfs /var/tmp
}

use() { p run --rm --runtime locule --cgroup-parent "/$parent" bb "$@"; }

package=$(echo "$project"/target/package/locule_*_"$(dpkg --print-architecture)".deb)
cover
make_root /run/image
make_archive /run/image /run/image.tar
p load -q -i /run/image.tar > /dev/null || exit 1
fact 'Podman does not know the runtime before' 125 'locule' use true
fact 'the package is installed' 0 'Setting up locule' dpkg --no-triggers --force-unsafe-io -i "$package"
fact 'its files are what it says' 0 '^$' dpkg --verify locule
fact 'the program runs' 0 'locule version' locule --version
fact 'the program is static' 1 'not a dynamic executable|statically linked' sh -c 'ldd /usr/bin/locule; test -n "$(ldd /usr/bin/locule 2>&1 | grep "=>")"'
fact 'every command has a manual page' 0 '^$' sh -c 'for c in create start run exec state kill delete list; do test -e /usr/share/man/man1/locule-$c.1.gz || echo $c; done'
fact 'Podman uses it by its name' 0 '^hello$' use echo hello
fact 'its drop-in permits --cgroups=disabled' 0 '^hello$' p run --rm --runtime locule --cgroups=disabled bb echo hello
fact 'the package is removed' 0 'Purging configuration files' dpkg --no-triggers --force-unsafe-io -P locule
fact 'nothing of it is left' 0 '^$' find /usr /etc /var/lib -xdev -name '*locule*' -not -path '*/src/*'
fact 'Podman does not know the runtime afterwards' 125 'locule' use true
