#!/usr/bin/python3
"""A worker in place of pgweir-verify, which does what the name of the user says. The daemon starts it with a
socket as its standard input. Each question is noted in the file `asked` beside it, without its password."""

import json
import os
import signal
import socket
import struct
import sys
import time

YES, NO, TROUBLE = range(3)
RIGHT, NEWER = "geheim", "the next one"


def texts(data, count):
    found = []
    for _ in range(count):
        text, data = data.split(b"\0", 1)
        found.append(text.decode(errors="surrogateescape"))
    return found, data


def read_question(body):
    version, number, limit = struct.unpack_from("!BQI", body)
    assert version == 1, version
    (method, user, password, peer), rest = texts(body[13:], 4)
    options, rest = texts(rest[1:], 2 * rest[0])
    assert rest == b"", rest
    return {"id": number, "limit": limit, "method": method, "user": user, "password": password, "peer": peer,
            "options": dict(zip(options[::2], options[1::2]))}


def answer(number, verdict, text=""):
    body = struct.pack("!QB", number, verdict) + text.encode() + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def act(sock, question):
    number, user = question["id"], question["user"]
    verdict = YES if question["password"] in (RIGHT, NEWER) else NO
    if user == "hang":
        time.sleep(1000)
    elif user.startswith("late"):
        time.sleep(0.3)
    elif user == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif user == "exit":
        os._exit(3)
    elif user == "deaf":
        sock.close()
        time.sleep(1000)
    elif user == "nonsense":
        sock.sendall(b"\xff" * 100)
        return
    elif user == "trouble":
        sock.sendall(answer(number, TROUBLE, "the directory is on fire"))
        return
    elif user == "slowly":
        for byte in answer(number, verdict, "x" * 20):
            sock.sendall(bytes([byte]))
            time.sleep(0.002)
        return
    sock.sendall(answer(number, verdict, "so says the worker"))
    if user == "twice":
        sock.sendall(answer(number, verdict))


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    sock = socket.socket(fileno=0)
    data = b""
    while True:
        while len(data) >= 4 and len(data) >= struct.unpack_from("!I", data)[0]:
            length, = struct.unpack_from("!I", data)
            question = read_question(data[4:length])
            data = data[length:]
            with open(os.path.join(os.path.dirname(sys.argv[0]), "asked"), "a", encoding="utf-8") as file:
                file.write(json.dumps({**question, "password": "", "pid": os.getpid()}) + "\n")
            act(sock, question)
        more = sock.recv(65536)
        if not more:
            return
        data += more


if __name__ == "__main__":
    main()
