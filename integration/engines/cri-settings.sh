# Settings of containerd's CRI plugin, which cri.sh reads.

# cri_settings HANDLER DEFAULT: config.toml with the runtime as HANDLER, and with the handler for
# pods that name none: the same one, or runc.
cri_settings() {
    local version=3 plugin=io.containerd.cri.v1.runtime cni='bin_dirs = ["/run/cni"]'
    local image=$'[plugins."io.containerd.cri.v1.images".pinned_images]\n  sandbox'
    if [[ $(containerd --version) == *' 1.'* ]]; then
        version=2 plugin=io.containerd.grpc.v1.cri cni='bin_dir = "/run/cni"' image='  sandbox_image'
    fi
    cat << END
version = $version
root = "/run/containerd-root"
[plugins."$plugin"]
  restrict_oom_score_adj = true
$image = "docker.io/library/bb:latest"
[plugins."$plugin".cni]
  $cni
  conf_dir = "/run/cni.d"
[plugins."$plugin".containerd]
  default_runtime_name = "$2"
END
    handler "$1" "$runtime"
    test "$1" = "$2" || handler "$2" "$(command -v "$2")"
}

# handler NAME PROGRAM: its tables.
handler() {
    cat << END
[plugins."$plugin".containerd.runtimes.$1]
  runtime_type = "io.containerd.runc.v2"
[plugins."$plugin".containerd.runtimes.$1.options]
  BinaryName = "$2"
  SystemdCgroup = $(test "$manager" != systemd && echo false || echo true)
END
}

# A network of its own is what a pod with a user namespace needs, so this plugin only says that
# there is one.
make_network() {
    mkdir /run/cni /run/cni.d
    echo '{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "none"}]}' > /run/cni.d/none.conflist
    cat > /run/cni/none << 'END'
#!/bin/sh
test "$CNI_COMMAND" != VERSION || exec echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}'
echo '{"cniVersion": "0.4.0", "interfaces": [{"name": "'$CNI_IFNAME'", "sandbox": "'$CNI_NETNS'"}],
    "ips": [{"version": "4", "interface": 0, "address": "10.1.2.3/24"}]}'
END
    chmod +x /run/cni/none
    cp /run/cni/none /run/cni/loopback
}
