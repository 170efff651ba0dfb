#!/bin/bash
# foreign.sh TREE KERNEL...: does what the packages of another architecture do when they are
# installed, as far as vm.sh needs it, without their programs. TREE has the extracted packages.
# KERNEL is the end of a kernel's file name.
set -euo pipefail
tree=$1
shift

cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
# "u!" is a word of newer releases: an account that is locked.
cat "$tree"/usr/lib/sysusers.d/*.conf | sed 's/^u!/u/' | systemd-sysusers --root="$tree" - 2> /dev/null
sed 's/:.*/:*:20000:0:99999:7:::/' "$tree/etc/passwd" > "$tree/etc/shadow"
for kind in account auth password session session-noninteractive; do
    echo "${kind%-*} required pam_permit.so" > "$tree/etc/pam.d/common-$kind"
done
mkdir -p "$tree/usr/local/bin"
echo 127.0.0.1 localhost > "$tree/etc/hosts"
find "$tree/usr/share" -name nsswitch.conf -exec cp {} "$tree/etc" \;
ln -s mawk "$tree/usr/bin/awk"
for name in {iptables,ip6tables}{,-restore,-save}; do ln -s xtables-nft-multi "$tree/usr/sbin/$name"; done

for kernel; do
    version=$(basename "$tree"/boot/vmlinuz-*"$kernel")
    version=${version#vmlinuz-}
    depmod -b "$tree" "$version"
    first=$(mktemp -d)
    mkdir "$first"/{bin,dev,modules,root}
    cp "$tree/usr/bin/busybox" "$first/bin"
    modprobe -d "$tree" -S "$version" --show-depends --all virtio_blk ext4 | awk '$1 == "insmod" { print $2 }' |
        while read -r file; do
            xz --decompress --stdout --force "$file" > "$first/modules/$(basename "${file%.xz}")"
            echo "busybox insmod /modules/$(basename "${file%.xz}")"
        done > "$first/modules/all"
    cat > "$first/init" << 'INIT'
#!/bin/busybox sh
busybox mount -t devtmpfs devtmpfs /dev
. /modules/all
until busybox test -b /dev/vda; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /root
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
INIT
    chmod 755 "$first/init"
    (cd "$first" && find . | cpio --quiet -o -H newc | gzip -1) > "$tree/boot/initrd.img-$version"
    rm -rf "$first"
done
