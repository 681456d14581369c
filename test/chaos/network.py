# A network of namespaces, each with one address of 10.7.0.0/24, and this process between them: it passes
# on each IP packet late, or not at all, as it is told. A kernel with netem could do without it; many have
# none. Needs root.
#   network.py NAME...   the first is the namespace that this is started in
# Prints {"pid", "fds": {NAME: descriptor of its namespace}}, then a line for each command of its standard
# input, {"a", "b", "delayMs" (each way), "loss" (0 to 1), "cut"}, and ends with that input.
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "the network namespace was refused")


def device(last_byte):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"lab0", IFF_TUN | IFF_NO_PI))
    for words in (
        "link set lo up",
        "link set lab0 mtu 1500 up",
        "addr add 10.7.0.%d/24 dev lab0" % last_byte,
    ):
        subprocess.run(["ip", *words.split()], check=True)
    return fd


names = sys.argv[1:]
spaces, devices = {}, {}
for n, name in enumerate(names):
    if n > 0:
        check(libc.unshare(CLONE_NEWNET))
    spaces[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
    devices[n + 1] = device(n + 1)
print(json.dumps({"pid": os.getpid(), "fds": spaces}), flush=True)

links = {}
waiting = []
count = 0
poll = select.poll()
poll.register(0, select.POLLIN)
for fd in devices.values():
    poll.register(fd, select.POLLIN)
text = b""


def send(fd, packet):
    try:
        os.write(fd, packet)
    except OSError:
        # The queue of the device is full: packets get lost then.
        pass


def take(packet):
    global count
    # IPv4 only; the rest is the neighbour discovery of IPv6.
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return
    source, target = packet[15], packet[19]
    to = devices.get(target)
    if to is None:
        return
    link = links.get((source, target))
    if link is None:
        return send(to, packet)
    delay, loss, cut = link
    if cut or random.random() < loss:
        return
    if delay == 0:
        return send(to, packet)
    count += 1
    heapq.heappush(waiting, (time.monotonic() + delay, count, to, packet))


def obey(line):
    command = json.loads(line)
    a, b = names.index(command["a"]) + 1, names.index(command["b"]) + 1
    link = (command.get("delayMs", 0) / 1000, command.get("loss", 0), command.get("cut", False))
    for way in ((a, b), (b, a)):
        links[way] = link
    print("ok", flush=True)


while True:
    timeout = None if not waiting else max(0, (waiting[0][0] - time.monotonic()) * 1000)
    for fd, _ in poll.poll(timeout):
        if fd == 0:
            chunk = os.read(0, 65536)
            if chunk == b"":
                sys.exit()
            *lines, text = (text + chunk).split(b"\n")
            for line in lines:
                obey(line)
            continue
        for _ in range(64):
            try:
                packet = os.read(fd, 65536)
            except BlockingIOError:
                break
            take(packet)
    while waiting and waiting[0][0] <= time.monotonic():
        _, _, to, packet = heapq.heappop(waiting)
        send(to, packet)
