# The tasks of this project; `just` lists them.

# Flags of the release build, in this one place. No path of this machine is in the program.
cargo_home := env_var_or_default("CARGO_HOME", env_var("HOME") / ".cargo")
remapped := "--remap-path-prefix=" + justfile_directory() + "=. --remap-path-prefix=" + cargo_home + "=cargo"
packed := "-C link-arg=-Wl,-z,pack-relative-relocs "
# contrib/order.ld has patterns for the names of functions in this mangling;
# docs/adr/0020-order-of-functions.md says why.
ordered := "-C symbol-mangling-version=v0 -C link-arg=-Wl,-T,contrib/order.ld -C link-arg=-Wl,--no-eh-frame-hdr "
release_flags := "-C target-feature=+crt-static " + ordered + packed + remapped
target := arch() + "-unknown-linux-musl"

# Chapters that `just test` runs once: cgroups do not matter to them, or they choose their
# environments themselves.
once := "apparmor|attack_program|attributes|bad_input|capabilities|checkpoint|cli|config_root|console|criu|criu_options|differential|examples|exec_attack|exec_bad_input|exec_confinement|faces|idmap|landlock|landlock_document|layers|mount_flags|mount_locks|mutants|network|notify|phrases|pidfd_socket|plan|process|races|resctrl|restore|restore_faults|restore_mounts|rows|running_mounts|sandbox|seccomp|seccomp_listener|selinux|sysctl|systemd|systemd_bus|terminal|tmpcopyup|tracing|tutorial|user|verify"

# list the tasks
default:
    @just --list

# build everything for development
build:
    cargo build --workspace

# add the target of the release to the toolchain, if it is missing
add-target:
    @test -d "$(rustc --print target-libdir --target {{ target }})" || rustup target add {{ target }}

# check that the program compiles for the C library of a release, whose types differ from the host's
# build the static program of a release and say where it is
release: add-target
    RUSTFLAGS="{{ release_flags }}" cargo build --release --package locule --target {{ target }}
    @ls -l target/{{ target }}/release/locule

# The release profile is used here too. A profile of its own would give the functions other names:
# with another hash the compiler merges other copies.
# write contrib/order.ld: the order in which commands call functions, from a trace; x86_64, as root
order: add-target
    RUSTFLAGS="{{ release_flags }} -C strip=none" \
        cargo build --release --package locule --target {{ target }} --target-dir target/order
    cargo run --package integration --bin order -- \
        target/order/{{ target }}/release/locule integration/order/life.sh contrib/order.ld

# the workspace compiles for the other processors
check-targets:
    rustup target add aarch64-unknown-linux-gnu riscv64gc-unknown-linux-gnu
    cargo check --workspace --target aarch64-unknown-linux-gnu --target riscv64gc-unknown-linux-gnu

# The other crates have tests that need calls which qemu 7.2 does not have, such as openat2.
# unit and property tests of some crates for aarch64, under qemu-aarch64-static
test-aarch64:
    rustup target add aarch64-unknown-linux-musl
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=qemu-aarch64-static \
        cargo test --target aarch64-unknown-linux-musl --lib --package caller --package capability \
        --package criu --package dbus --package kernel --package landlock --package launch \
        --package lsm --package network --package seccomp --package spec

# completion for bash, zsh and fish, and a man page for each command: into target/pages
pages:
    LOCULE_PAGES={{ justfile_directory() }}/target/pages cargo test --package locule args::pages
    @ls target/pages/*

# a static tarball and a .deb, with man pages, completions and Podman's drop-in: into target/package
package: release pages
    rm -rf target/package
    contrib/package.sh target/{{ target }}/release/locule target/pages {{ target }} target/package

# the package made twice has the same bytes; it is installed, used by Podman, and removed
package-test: package
    contrib/package.sh target/{{ target }}/release/locule target/pages {{ target }} target/package-again
    diff -r target/package target/package-again
    integration/engines/run.sh --quick package

# many containers at once, many one after the other: just soak [ALIVE [CYCLES]]; see docs/scale.md
soak *counts: release
    LOCULE=target/{{ target }}/release/locule integration/soak.sh {{ counts }}

# a container's life, as root and as an ordinary user
demo: release
    LOCULE=target/{{ target }}/release/locule integration/demo.sh

# every test: units, then the built program on this machine, then again with cgroup v2 alone
test:
    cargo build --workspace
    cargo test --workspace --no-fail-fast
    LOCULE_ENVIRONMENT=pure-v2 cargo test --package integration --no-fail-fast \
        $(ls integration/tests/*.rs | xargs -n 1 basename -s .rs | grep -vxE '{{ once }}' | sed 's/^/--test /')

# the chapters that depend on the C library, with the program of a release instead of `just test`'s
test-release: release
    LOCULE_RUNTIME={{ justfile_directory() }}/target/{{ target }}/release/locule \
        cargo test --package integration --no-fail-fast \
        --test attack --test exec --test exec_attack --test exec_lifecycle --test faults --test hooks \
        --test lifecycle --test seccomp --test seccomp_listener --test terminal

# what `just test` skips, in a virtual machine with systemd: just vm-test [CHAPTER [TEST] | all]
vm-test *chapter:
    integration/vm/test.sh {{ chapter }}

# the OCI validation suite, which go fetches: just validate [PROGRAM...]; see docs/conformance.md
validate *programs: build
    integration/validate.sh target/debug/locule {{ programs }}

# generated configurations, against runc or what LOCULE_REFERENCE names: just compare [CASES]
compare cases="200": build
    PROPTEST_CASES={{ cases }} LOCULE_TIMEOUT=7200 cargo test --package integration --test differential

# runc's own integration tests, which go fetches: just runc-suite [FILE...]; see docs/conformance.md
runc-suite *files: build
    integration/runc-suite.sh target/debug/locule {{ files }}

# engines, with a control: just engines [--quick] [--newer] [ENGINE...]; see docs/testing.md
engines *options: build
    integration/engines/run.sh {{ options }}

# a Kubernetes node, which go builds, with a control: just kubernetes [--quick]; see docs/testing.md
kubernetes *options: build
    integration/engines/run.sh --newer {{ options }} kubernetes

# engines with systemd, in a virtual machine: just vm-engines [--with RUNTIME] [--newer] [ENGINE...]
vm-engines *options:
    integration/vm/engines.sh {{ options }}

# check the files in .github/workflows; go fetches the checker
workflows:
    go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 .github/workflows/*.yml

# the integration tests against another runtime, to prove the tests: just control crun
control runtime="runc":
    LOCULE_RUNTIME={{ runtime }} cargo test --package integration --no-fail-fast

# the fault tests with every system call instead of a sample
faults:
    LOCULE_FAULTS=all LOCULE_TIMEOUT=7200 cargo test --package integration --test faults --test restore_faults -- --nocapture

# take out one protection after the other and expect its tests to fail: just mutants [NAME...]
mutants *names:
    integration/mutants/run.sh {{ names }}

# look for inputs that break readers or the filter compiler: just fuzz SECONDS; see docs/testing.md
fuzz seconds="60":
    command -v cargo-fuzz > /dev/null || cargo install --quiet --locked cargo-fuzz
    fuzz/run.sh {{ seconds }}

# check that the fuzz targets compile
fuzz-check:
    cargo check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

# measure against the floor, crun and runc; see docs/benchmarks.md
bench *options: release
    cargo run --release --package integration --bin bench -- --locule target/{{ target }}/release/locule {{ options }}
    cargo run --release --package seccomp --example speed

# format the code
fmt:
    cargo fmt --all

# check the format
fmt-check:
    cargo fmt --all --check

# lint everything
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# licences, bans and sources of the dependencies
deny:
    command -v cargo-deny > /dev/null || cargo install --quiet --locked cargo-deny
    cargo deny check licenses bans sources

# what continuous integration runs
ci: test vm-test fmt-check clippy test-release fuzz-check deny
