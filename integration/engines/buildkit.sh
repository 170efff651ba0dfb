# BuildKit, what `docker build` runs on, with the runtime as its worker's program. inside.sh reads
# this file. Its programs are no packages of Debian: run.sh lets newer.sh build them.

export BUILDKIT_HOST=unix:///run/buildkit/socket

start_daemon() {
    mkdir -p /run/buildkit /run/context
    cat > /run/buildkit/buildkitd.toml << END
root = "/run/buildkit/root"
[worker.oci]
binary = "$runtime"
defaultCgroupParent = "/$parent"
networkMode = "host"
snapshotter = "native"
[worker.containerd]
enabled = false
END
    buildkitd --config /run/buildkit/buildkitd.toml --addr "$BUILDKIT_HOST" > /run/buildkitd.log 2>&1 &
    until_true buildctl debug workers
}

# build LINE [OPTION OF buildctl]...: builds an image of the root file system and one more line.
build() {
    printf '%s\n' 'FROM scratch' 'ADD layer.tar /' "$1" > /run/context/Dockerfile
    shift
    timeout -k 5 "$patience" buildctl build --progress plain --frontend dockerfile.v0 \
        --local context=/run/context --local dockerfile=/run/context "$@"
}

facts() {
    fact 'the worker is there' 0 'linux/amd64' buildctl debug workers
    fact 'RUN prints what the program writes' 0 'hello 0' build 'RUN echo hello $(id -u)'
    fact 'a status that is not 0 ends the build' 1 'exit code: 7' build 'RUN exit 7'
    fact 'a program that does not exist' 1 '/nothing.*no such file or directory' build 'RUN ["/nothing"]'
    fact 'USER' 0 'uid=1000' build $'USER user\nRUN id'
    fact 'WORKDIR is made' 0 ' /made/here' build $'WORKDIR /made/here\nRUN pwd'
    fact 'the default filter and capabilities' 0 'CapEff:.00000000a80425fb.*Seccomp:.2' \
        build 'RUN echo $(grep -E "CapEff|Seccomp:" /proc/self/status)'
    fact 'security=insecure is refused without an entitlement' 1 'insecure' build 'RUN --security=insecure id'
    fact 'a cache is kept from one build to the next' 0 '[0-9] 42' cache
    fact 'a secret is a file' 0 'secret word' build 'RUN --mount=type=secret,id=s cat /run/secrets/s' --secret id=s,src=/run/context/secret
    fact 'a tmpfs' 0 'tmpfs on /t ' build 'RUN --mount=type=tmpfs,target=/t mount'
    fact 'a bind mount of the context is not written through' 0 'unchanged' bind
    fact 'network none has the loopback device alone' 0 'devices: lo;' \
        build 'RUN --network=none cd /sys/class/net && echo "devices: $(echo *);"'
    fact 'a layer holds what the program wrote' 0 'written' layer
    fact 'eight steps at once' 0 '[0-9] step 8' parallel
    fact 'a build that is interrupted leaves no process' 0 '^$' interrupted
}

cache() {
    build 'RUN --mount=type=cache,target=/c echo $((6 * 7)) > /c/file'
    build $'ENV SECOND=1\nRUN --mount=type=cache,target=/c cat /c/file'
}

bind() {
    echo unchanged > /run/context/file
    build 'RUN --mount=type=bind,source=file,target=/file,rw echo changed > /file'
    cat /run/context/file
}

layer() {
    build 'RUN echo written > /file' --output type=tar,dest=/run/out.tar 2> /dev/null
    tar -xOf /run/out.tar file
}

parallel() {
    {
        echo 'FROM scratch AS base'
        echo 'ADD layer.tar /'
        for n in 1 2 3 4 5 6 7 8; do printf 'FROM base AS s%s\nRUN echo step %s > /s%s\n' $n $n $n; done
        echo 'FROM base'
        for n in 1 2 3 4 5 6 7 8; do echo "COPY --from=s$n /s$n /"; done
        echo 'RUN cat /s?'
    } > /run/context/Dockerfile
    timeout -k 5 "$patience" buildctl build --progress plain --frontend dockerfile.v0 \
        --local context=/run/context --local dockerfile=/run/context
}

interrupted() {
    build 'RUN sleep 4321' > /run/interrupted.log 2>&1 &
    until_true pgrep -f 'sleep 4321'
    kill -INT $!
    pkill -INT -x buildctl
    until_true sh -c '! pgrep -f "sleep 4321"'
    pgrep -f 'sleep 4321'
    wait
    return 0
}

PATH=$project/target/newer/buildkit:$PATH
make_root /run/image
tar -C /run/image -c . > /run/layer.tar
start_daemon || { cat /run/buildkitd.log >&2; exit 1; }
mv /run/layer.tar /run/context
echo secret word > /run/context/secret
facts
fact 'no container is left' 0 '^$' "$runtime" list -q
