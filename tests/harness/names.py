"""A private DNS server, and processes that ask it and no other.

The system's resolver asks who /etc/resolv.conf names, at port 53. So those processes see files of the test's
in its place and in that of /etc/hosts: that takes root, and a mount namespace.
"""

import os
import random
import shutil
import socket
import struct
import subprocess
import threading

from . import postgres, process
from .testing import Skip

A, PTR, AAAA = 1, 12, 28
FOUND, NO_SUCH_NAME = 0, 3


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def decode(packet, at):
    labels = []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 1


def reverse(address):
    """The name under which an address of IPv4 is asked for."""
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


class Names:
    """`prefix` goes before the command of a process. `names` are {address: name} as its owner claims, `addresses`
    {name: [addresses]}, `silent` names and addresses that get no answer; all may change while it runs."""

    def __init__(self, hosts="127.0.0.1 localhost\n"):
        if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
            raise Skip("only root has a resolver of its own")
        self.folder = process.folder("names")
        self.names, self.addresses, self.silent, self.asked = {}, {}, set(), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((f"127.53.{random.randint(0, 255)}.{random.randint(1, 254)}", 53))
        self.write("hosts", hosts)
        self.write("resolv.conf", f"nameserver {self.socket.getsockname()[0]}\noptions timeout:1 attempts:1\n")
        mounts = " && ".join(f"mount --bind {self.folder}/{name} /etc/{name}" for name in ("hosts", "resolv.conf"))
        user = postgres.identity()
        self.prefix = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", "setpriv",
                       f"--reuid={user['user']}", f"--regid={user['group']}", "--clear-groups", "--pdeathsig=KILL"]
        tried = subprocess.run([*self.prefix, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            raise Skip(f"no mount namespace: {tried.stderr.strip()}")
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(text)

    def serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            name, end = decode(packet, 12)
            kind, = struct.unpack_from("!H", packet, end)
            self.asked.append((kind, name))
            if not any(name in (other, reverse(other)) for other in list(self.silent)):
                self.socket.sendto(self.answer(packet[:2], name, kind, packet[12:end + 4]), peer)

    def answer(self, number, name, kind, question):
        known = {reverse(address): host for address, host in self.names.items()}
        found = self.addresses.get(name, [])
        records = []
        if kind == PTR and name in known:
            records = [encode(known[name])]
        elif kind == A:
            records = [socket.inet_aton(address) for address in found if ":" not in address]
        elif kind == AAAA:
            records = [socket.inet_pton(socket.AF_INET6, address) for address in found if ":" in address]
        status = FOUND if records or name in self.addresses or name in known else NO_SUCH_NAME
        head = number + struct.pack("!HHHHH", 0x8580 | status, 1, len(records), 0, 0)
        return head + question + b"".join(struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(record)) + record
                                          for record in records)

    def forget(self):
        """What was asked so far."""
        asked, self.asked = self.asked, []
        return asked
