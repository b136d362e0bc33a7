"""Asks for a page again and again over one connection: scraper.py PORT RATE. Ends with its input, and
prints how many answers it got and how many seconds it took."""

import select
import socket
import sys
import time

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def read_answer(peer, view):
    """The length of one answer, head and body."""
    length = peer.recv_into(view)
    head = bytes(view[:length]).partition(b"\r\n\r\n")[0]
    if not head.startswith(b"HTTP/1.1 200 "):
        sys.exit(f"scraper: {head[:100]!r}")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = len(head) + 4 + int(fields[b"Content-Length"]) - length
    while missing > 0:
        got = peer.recv_into(view, min(missing, len(view)))
        if got == 0:
            sys.exit("scraper: cut off")
        missing -= got


def main():
    port, rate = int(sys.argv[1]), float(sys.argv[2])
    view = memoryview(bytearray(1 << 20))
    peer = socket.create_connection(("127.0.0.1", port), 10)
    began = time.monotonic()
    answers = 0
    while True:
        pause = began + answers / rate - time.monotonic()
        if select.select([sys.stdin], [], [], max(pause, 0))[0]:
            break
        peer.sendall(REQUEST)
        read_answer(peer, view)
        answers += 1
    print(answers, time.monotonic() - began)


main()
