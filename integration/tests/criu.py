#!/usr/bin/env python3
"""Stands in for CRIU in the chapter of checkpoints: `criu swrk FD`.

Writes every request to the file CRIU_LOG, one JSON object a line, and answers as CRIU_MODE says. A restored process is
CRIU_PROGRAM, a sibling of this process like one that the real CRIU restores.
"""
import array
import ctypes
import json
import os
import platform
import shutil
import socket
import struct
import sys
import threading
import time

NAMES = {
    1: "images_dir", 2: "pid", 3: "leave_running", 4: "ext_unix_sk", 5: "tcp_established", 6: "evasive_devices",
    7: "shell_job", 8: "file_locks", 9: "log_level", 10: "log_file", 11: "page_server", 12: "notify_scripts", 13: "root",
    14: "parent_images", 15: "track_memory", 16: "auto_dedup", 17: "work_dir", 18: "link_remap", 23: "external_mounts",
    24: "manage_cgroups", 25: "cgroup_roots", 26: "restore_sibling", 27: "inherited", 34: "cgroup_mode", 37: "external",
    38: "empty_namespaces", 39: "join_namespaces", 44: "freeze_cgroup", 46: "tcp_skip_in_flight", 48: "lazy_pages",
    50: "orphan_pts_master", 51: "config_file", 52: "tcp_close", 53: "lsm_profile", 63: "lsm_mount_context",
}
MESSAGES = {11, 23, 25, 27, 39}
LISTS = {23, 25, 27, 37, 39}
TYPES = {1: "DUMP", 2: "RESTORE", 4: "PRE_DUMP", 6: "NOTIFY", 9: "FEATURE_CHECK", 10: "VERSION"}
NUMBERS = {name: number for number, name in TYPES.items()}
MODE = os.environ.get("CRIU_MODE", "")
LIBC = ctypes.CDLL(None)
MS_REMOUNT, MS_BIND = 0x20, 0x1000


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        elif key & 7 != 0:
            sys.exit("a wire type that no request has")
        yield key >> 3, value


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def options(data):
    found = {}
    for number, value in fields(data):
        name = NAMES.get(number, str(number))
        value = [text(inner) for _, inner in fields(value)] if number in MESSAGES else text(value)
        if number in LISTS:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def encode(number, value):
    def number_bytes(value):
        out = b""
        while value >= 0x80:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])
    if isinstance(value, int):
        return number_bytes(number << 3) + number_bytes(value)
    return number_bytes(number << 3 | 2) + number_bytes(len(value)) + value


def log(entry):
    with open(os.environ["CRIU_LOG"], "a") as file:
        file.write(json.dumps(entry) + "\n")


link = socket.socket(fileno=int(sys.argv[2]))


def answer(kind, *parts, success=True):
    link.send(encode(1, kind) + encode(2, int(success)) + b"".join(parts))


def receive():
    data = link.recv(1 << 16)
    if not data:
        sys.exit(3)
    request = dict(fields(data))
    return TYPES[request[1]], request


def notice(script, pid=0, fd=None):
    """Has the other side serve a notice; ends this process if it refuses."""
    inner = encode(1, script.encode()) + (encode(2, pid) if pid else b"")
    message = encode(1, NUMBERS["NOTIFY"]) + encode(2, 1) + encode(5, inner)
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    link.sendmsg([message], rights)
    kind, request = receive()
    log({"type": kind, "script": script, "success": bool(request[3])})
    return bool(request[3])


def mounts(entry):
    """Has the volumes where the image says, and the root of the container as the root."""
    root = entry["options"]["root"]
    sources = dict(entry["options"].get("external_mounts", []))
    with open(entry["images"] + "/mountpoints-12.img", "rb") as file:
        image = file.read()[8:]
    while image:
        length, = struct.unpack("<I", image[:4])
        mount = dict(fields(image[4:4 + length]))
        image = image[4 + length:]
        if 18 in mount:
            source, point = sources[text(mount[18])], root + text(mount[7])
            LIBC.mount(source.encode(), point.encode(), None, MS_BIND, None)
            if MODE == "writable" or MODE == "writable" + text(mount[7]).replace("/", "-"):
                LIBC.mount(None, point.encode(), None, MS_BIND | MS_REMOUNT, None)
            if MODE == "elsewhere":
                LIBC.mount(b"/etc", point.encode(), None, MS_BIND, None)
                LIBC.mount(None, point.encode(), None, MS_BIND | MS_REMOUNT | 0xF, None)
    if MODE == "writable-root":
        LIBC.mount(None, root.encode(), None, MS_BIND | MS_REMOUNT, None)
    os.chroot(root)
    os.chdir("/")


def confine():
    """Takes what the configuration does not give, unless the mode leaves it."""
    LIBC.prctl(38, 1, 0, 0, 0)
    if MODE == "unfiltered":
        return
    for capability in range(41):
        LIBC.prctl(24, capability, 0, 0, 0)
    # One instruction: allow.
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    filter = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
    LIBC.prctl(22, 2, ctypes.c_char_p(filter))
    if MODE == "odd":
        LIBC.prctl(15, b"\xff")
    if MODE not in ("capable", "odd"):
        header, sets = struct.pack("II", 0x20080522, 0), bytes(24)
        LIBC.capset(ctypes.c_char_p(header), ctypes.c_char_p(sets))


def restored(entry):
    """The first process of the restored container: its parent is that of this process."""
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    parent_and_namespaces = 0x8000 | 17 | (0x20000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000)
    flags = 0x8000 | 17 if MODE == "host" else parent_and_namespaces
    if MODE == "host" or not os.path.exists("/proc/self/ns/cgroup"):
        flags &= ~0x02000000
    if "CRIU_MAP" in os.environ:
        flags |= 0x10000000
    ready, go = os.pipe(), os.pipe()
    pid = ctypes.CDLL(None, use_errno=True).syscall(number, flags, 0, 0, 0, 0)
    if pid == 0:
        os.close(go[1])
        if MODE != "host":
            mounts(entry)
        if MODE in ("child", "odd-child") and os.fork() == 0:
            if MODE == "odd-child":
                LIBC.prctl(15, b"\xff")
            os.close(go[0])
            link.close()
            os.write(ready[1], b".")
            time.sleep(1000)
        if MODE == "thread":
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        confine()
        link.close()
        os.write(ready[1], b".")
        # Like a restored process, it does not run before all is done. Without a word it ends.
        if not os.read(go[0], 1):
            os._exit(9)
        os.execv("/bin/sh", ["sh", "-c", os.environ.get("CRIU_PROGRAM", "exec sleep 1000")])
    for name in ("uid_map", "gid_map") if "CRIU_MAP" in os.environ else ():
        with open("/proc/%d/%s" % (pid, name), "w") as file:
            file.write(os.environ["CRIU_MAP"])
    # A byte from each process: the child may be faster than the first one.
    for _ in range(2 if MODE in ("child", "odd-child") else 1):
        os.read(ready[0], 1)
    return pid, go[1]


kind, request = receive()
# keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING)
keyctl = {"x86_64": 250, "aarch64": 219}[platform.machine()]
entry = {"type": kind, "directory": os.getcwd(), "keyring": LIBC.syscall(keyctl, 0, -3, 0)}
if 2 in request:
    entry["options"] = options(request[2])
    entry["images"] = os.readlink("/proc/%d/fd/%d" % (os.getppid(), entry["options"]["images_dir"]))
    entry["group"] = open("/proc/self/cgroup").read()
log(entry)
if MODE == "dies" and kind != "VERSION":
    os.kill(os.getpid(), 9)
if MODE == "mute":
    time.sleep(1000)
if MODE == "outlived" and kind != "VERSION":
    # A process that CRIU has made holds the socket.
    if os.fork() == 0:
        time.sleep(1000)
    os.kill(os.getpid(), 9)
if MODE == "foreign" and kind != "VERSION":
    link.send(b"\xff\xff")
    sys.exit(0)
if kind == "VERSION":
    major, minor, patch = [int(part) for part in os.environ.get("CRIU_VERSION", "4.1.1").split(".")]
    answer(NUMBERS[kind], encode(10, encode(1, major) + encode(2, minor) + encode(4, patch)))
elif kind == "FEATURE_CHECK":
    answer(NUMBERS[kind], encode(8, encode(1, int(MODE != "old")) + encode(2, int(MODE != "old"))))
elif MODE == "fails":
    work = entry["options"].get("work_dir", entry["options"]["images_dir"])
    with open("/proc/%d/fd/%d/%s" % (os.getppid(), work, entry["options"]["log_file"]), "w") as file:
        said = os.environ.get("CRIU_ERROR", "no such thing")
        file.write(f"(0.1) Working\n(0.2) Error (criu/a.c:7): {said}\n(0.3) Bye\n")
    answer(NUMBERS[kind], encode(7, 95), success=False)
    sys.exit(1)
elif kind in ("DUMP", "PRE_DUMP"):
    notice("pre-dump")
    if entry["options"].get("lazy_pages"):
        notice("status-ready")
    image = entry["images"] + "/mountpoints-12.img"
    dumped = entry["images"] + "/dumped.img"
    if kind == "DUMP" and os.path.exists(dumped):
        shutil.copy(dumped, image)
    elif kind == "DUMP":
        with open(image, "wb") as file:
            mount = encode(2, 1) + encode(4, 99) + encode(6, b"/") + encode(7, b"/")
            file.write(b"\x19CVT(9VU" + struct.pack("<I", len(mount)) + mount)
    if not notice("post-dump"):
        answer(NUMBERS[kind], success=False)
        sys.exit(1)
    if kind == "DUMP" and not entry["options"].get("leave_running"):
        os.kill(entry["options"]["pid"], 9)
    answer(NUMBERS[kind], encode(3, encode(1, 0)))
    if kind == "PRE_DUMP":
        receive()
elif kind == "RESTORE":
    notice("pre-restore")
    pid, go = restored(entry)
    steps = [("setup-namespaces", pid), ("post-restore", pid), ("pre-resume", pid)]
    if MODE == "terminal":
        master, peer = os.openpty()
        os.write(peer, b"restored\n")
        steps.insert(1, ("orphan-pts-master", 0))
    if MODE == "hasty":
        steps.pop()
    for script, number in steps:
        if not notice(script, number, master if script == "orphan-pts-master" else None):
            os.kill(pid, 9)
            answer(NUMBERS[kind], success=False)
            sys.exit(1)
    os.write(go, b".")
    answer(NUMBERS[kind], encode(4, encode(1, pid)))
