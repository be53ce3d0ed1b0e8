#!/usr/bin/env python3
"""The servers that are compared do the same work."""

import os
import select
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, "tests/lint")
import case_report  # pylint: disable=wrong-import-position

SERVERS = [command for command in (
    ["bench/servers/epoll"],
    ["bench/servers/epoll", "--edge_triggered"],
    ["bench/servers/libuv"],
    ["bench/servers/libevent"],
    ["bench/servers/bufferevent"],
    ["bench/servers/asio_callbacks"],
    ["bench/servers/asio_coroutines"],
    ["bench/echo_server"],
) if os.path.exists(command[0])]
DEADLINE_SECONDS = 30


class Server:
    def __init__(self, command, *arguments):
        self.process = subprocess.Popen(command + list(arguments), stdout=subprocess.PIPE,
                                        text=True)
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def pattern(size):
    return bytes(i * i // 7 & 0xff for i in range(size))


class Servers(unittest.TestCase):
    def each(self, *arguments, streams_only=True):
        """Yields a running server for each program, whose name is the last one shown."""
        for command in SERVERS:
            if not streams_only and "bufferevent" in command[0]:
                continue
            print(*command, *arguments, flush=True)
            with Server(command, *arguments) as server:
                yield server

    def test_each_is_there(self):
        self.assertIn(["bench/servers/epoll"], SERVERS)

    def test_echoes_messages(self):
        for server in self.each():
            with server.connect() as connection, server.connect() as other:
                for message in (b"a", pattern(64), pattern(4096), pattern(70_000)):
                    for end in (connection, other):
                        end.sendall(message)
                        self.assertEqual(receive(end, len(message)), message)

    def test_answers_all_before_it_closes(self):
        for server in self.each():
            with server.connect() as connection:
                connection.sendall(b"all of this")
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(receive(connection, 100), b"all of this")

    def test_reads_no_further_while_nobody_takes_the_answers(self):
        data = pattern(1 << 20)
        for server in self.each():
            with server.connect() as connection:
                connection.setblocking(False)
                sent = 0
                # Until nothing more is taken.
                while select.select([], [connection], [], 0.2)[1]:
                    sent += connection.send(data[sent % len(data):])
                    self.assertLess(sent, 64 << 20, "it never stopped reading")
                connection.setblocking(True)
                received = receive(connection, sent)
                whole, rest = divmod(sent, len(data))
                self.assertTrue(received == data * whole + data[:rest])
                connection.sendall(b"more")
                self.assertEqual(receive(connection, 4), b"more")

    def test_answers_frames_that_come_in_pieces(self):
        for server in self.each("--frame=8"):
            with server.connect() as connection:
                connection.sendall(b"12345678abcdefghABCD")
                self.assertEqual(receive(connection, 16), b"12345678abcdefgh")
                connection.setblocking(False)
                self.assertEqual(select.select([connection], [], [], 0.02)[0], [])
                connection.setblocking(True)
                connection.sendall(b"EFGH")
                self.assertEqual(receive(connection, 8), b"ABCDEFGH")
                data = pattern(80_000)
                connection.sendall(data)
                self.assertTrue(receive(connection, len(data)) == data)

    def test_an_idle_connection_is_closed(self):
        for server in self.each("--read_timeout=50ms"):
            with server.connect() as silent, server.connect() as spoke:
                spoke.sendall(b"hello")
                self.assertEqual(receive(spoke, 5), b"hello")
                self.assertEqual(receive(silent, 1), b"")
                self.assertEqual(receive(spoke, 1), b"")

    def test_a_message_arms_the_timeout_anew(self):
        for server in self.each("--read_timeout=2s"):
            with server.connect() as silent, server.connect() as busy:
                last = time.monotonic()
                # Meanwhile the busy one has its turn some times.
                while not select.select([silent], [], [], 0.5)[0]:
                    busy.sendall(b"again")
                    self.assertEqual(receive(busy, 5), b"again")
                    if time.monotonic() - last > 1.5:
                        self.skipTest("the machine stood still for as long as the timeout")
                    last = time.monotonic()
                self.assertEqual(receive(silent, 1), b"")
                busy.sendall(b"still there")
                self.assertEqual(receive(busy, 11), b"still there")

    def test_no_timeout(self):
        for server in self.each("--read_timeout=inf"):
            with server.connect() as connection:
                self.assertEqual(select.select([connection], [], [], 0.1)[0], [])
                connection.sendall(b"hello")
                self.assertEqual(receive(connection, 5), b"hello")

    def test_a_sink_counts(self):
        for server in self.each("--sink"):
            with server.connect() as connection:
                connection.sendall(pattern(0x12345))
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(receive(connection, 9), (0x12345).to_bytes(8, "little"))

    def test_outlives_a_reset(self):
        for server in self.each():
            for _ in range(3):
                with server.connect() as connection:
                    connection.sendall(pattern(100_000))
                    # Closing resets the connection.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
            with server.connect() as connection:
                connection.sendall(b"hello")
                self.assertEqual(receive(connection, 5), b"hello")

    def test_echoes_datagrams(self):
        for server in self.each("--udp", streams_only=False):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.settimeout(DEADLINE_SECONDS)
                peer.connect(("127.0.0.1", server.port))
                for i in range(64):
                    peer.send(b"%d" % i)
                for i in range(64):
                    self.assertEqual(peer.recv(100), b"%d" % i)
                peer.send(pattern(60_000))
                self.assertEqual(peer.recv(65_535), pattern(60_000))


if __name__ == "__main__":
    case_report.main()
