#!/usr/bin/env python3
"""A client of CRI for cri.sh and crio.sh: cri.py CALL [ARGUMENT...], at the socket LOCULE_CRI, or containerd's.

CRI is gRPC. Messages are written here by the numbers of their fields in runtime.v1 (k8s.io/cri-api), so that no
generated code is needed: a dict is a message, text and numbers are what they are.
"""
import os
import sys

import grpc

# Seconds that a call may take.
PATIENCE = int(os.environ.get("LOCULE_PATIENCE", 60))
SOCKET = os.environ.get("LOCULE_CRI", "/run/containerd/containerd.sock")


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(message):
    out = b""
    for field, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(field << 3) + varint(value)
                continue
            data = encode(value) if isinstance(value, dict) else value.encode()
            out += varint(field << 3 | 2) + varint(len(data)) + data
    return out


def read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def decode(data):
    """The last value of each field: a number or bytes."""
    message, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            message[key >> 3], at = read_varint(data, at)
        elif key & 7 == 2:
            length, at = read_varint(data, at)
            message[key >> 3] = data[at:at + length]
            at += length
        else:
            raise ValueError(f"wire type {key & 7}")
    return message


def call(method, message):
    with grpc.insecure_channel("unix://" + SOCKET) as channel:
        send = channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", encode, decode)
        return send(message, timeout=PATIENCE)


def namespaces(first_id):
    """Network 2 is NODE; pid and ipc 0 are POD: the containers share them. With an id of the host, which root is in
    the pod's user namespace, its network is its own, as it must be."""
    if not first_id:
        return {1: 2, 2: 0, 3: 0}
    mapping = {1: first_id, 2: 0, 3: 65536}
    return {1: 0, 2: 0, 3: 0, 5: {1: 0, 2: mapping, 3: mapping}}


def pod(name, parent, first_id=0):
    linux = {1: parent, 2: {1: namespaces(first_id)}}
    return {1: {1: name, 2: "uid-" + name, 3: "default"}, 3: "/run", 8: linux}


def container(name, options, command):
    security = {3: namespaces(0)}
    resources = {}
    for option in options:
        key, _, value = option.partition("=")
        if key == "memory":
            resources.update({4: int(value), 10: int(value)})
        elif key == "user":
            security[5] = {1: int(value)}
        elif key == "readonly":
            security[7] = 1
        elif key == "no-new-privileges":
            security[11] = 1
        elif key == "seccomp":
            security[15] = {1: {"default": 0, "unconfined": 1}[value]}
        elif key == "apparmor":
            profile = {"default": {1: 0}, "unconfined": {1: 1}}
            security[16] = profile.get(value, {1: 2, 2: value})
        elif key == "userns":
            security[3] = namespaces(int(value))
        elif key == "privileged":
            security[2] = 1
    config = {1: {1: name}, 2: {1: "docker.io/library/bb:latest"}, 3: command, 11: name + ".log"}
    return config | {15: {1: resources, 2: security}}


def main(word, *rest):
    if word == "version":
        print(call("Version", {})[2].decode())
    elif word == "pod":
        config = pod(*rest[:2], *map(int, rest[3:]))
        print(call("RunPodSandbox", {1: config, 2: rest[2]})[1].decode())
    elif word == "create":
        sandbox, parent, pod_name, name, options, *command = rest
        options = options.split(",")
        first_id = [int(option[7:]) for option in options if option.startswith("userns=")]
        config = pod(pod_name, parent, *first_id)
        request = {1: sandbox, 2: container(name, options, command), 3: config}
        print(call("CreateContainer", request)[1].decode())
    elif word == "start":
        call("StartContainer", {1: rest[0]})
    elif word == "exec":
        answer = call("ExecSync", {1: rest[0], 2: list(rest[1:]), 3: PATIENCE})
        sys.stdout.write((answer.get(1, b"") + answer.get(2, b"")).decode())
        return answer.get(3, 0)
    elif word == "status":
        status = decode(call("ContainerStatus", {1: rest[0]})[1])
        states = ["created", "running", "exited", "unknown"]
        print(states[status.get(3, 0)], status.get(7, 0), status.get(10, b"").decode())
    elif word == "stats":
        memory = decode(decode(call("ContainerStats", {1: rest[0]})[1])[3])
        print(decode(memory[2])[1])
    elif word == "update":
        call("UpdateContainerResources", {1: rest[0], 2: {4: int(rest[1]), 10: int(rest[1])}})
    elif word in ("StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"):
        call(word, {1: rest[0], **({2: int(rest[1])} if rest[1:] else {})})
    else:
        raise SystemExit(f"cri.py: {word} is unknown")
    return 0


try:
    sys.exit(main(*sys.argv[1:]))
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
