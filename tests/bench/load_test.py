#!/usr/bin/env python3
"""The load generator accepts right answers, and no others."""

import json
import socket
import subprocess
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, "tests/lint")
import case_report  # pylint: disable=wrong-import-position


class Server:
    """Serves one connection after the other, in a thread: `serve` gets each of them."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, args=(serve,), daemon=True)
        self.thread.start()

    def run(self, serve):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    serve(connection)
                except ConnectionError:
                    pass  # the load generator gave up

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def load(port, commands, *arguments):
    """Returns the exit code, the lines on standard output, and standard error."""
    done = subprocess.run(["bench/load", f"--port={port}", *arguments], input=commands,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def echo(connection):
    while data := connection.recv(100_000):
        connection.sendall(data)


class Load(unittest.TestCase):
    def accepts(self, serve, requests, *arguments):
        with Server(serve) as server:
            code, lines, error = load(server.port, f"run {requests}\nrun 1\n", *arguments)
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(lines[0], "ready")
        result = json.loads(lines[1])
        self.assertEqual(result["requests"], requests)
        self.assertEqual(json.loads(lines[2])["requests"], 1)
        return result

    def refuses(self, serve, message, *arguments):
        with Server(serve) as server:
            code, lines, error = load(server.port, "run 10\n", *arguments)
        self.assertEqual(code, 1)
        self.assertEqual(lines, ["ready"])
        self.assertIn(message, error)

    def test_an_echo_is_right(self):
        result = self.accepts(echo, 10, "--size=1000")
        self.assertEqual(result["bytes"], 10_000)
        self.assertGreater(result["latency_ns"]["50"], 0)

    def test_whatever_pieces_it_comes_in(self):
        def pieces(connection):
            while data := connection.recv(7):
                connection.sendall(data)
        self.assertEqual(self.accepts(pieces, 8, "--size=30", "--depth=4")["bytes"], 240)
        self.assertEqual(self.accepts(pieces, 8, "--size=30", "--depth=4", "--stream")["bytes"],
                         240)

    def test_a_wrong_byte_is_found(self):
        def wrong(connection):
            while data := bytearray(connection.recv(100_000)):
                data[len(data) // 2] ^= 1
                connection.sendall(data)
        self.refuses(wrong, "wrong bytes came back", "--size=1000")

    def test_bytes_in_the_wrong_order_are_found(self):
        def swapped(connection):
            while data := connection.recv(100_000):
                connection.sendall(data[8:] + data[:8])
        self.refuses(swapped, "wrong bytes came back", "--size=8", "--depth=4")

    def test_the_answer_to_an_earlier_request_is_found(self):
        def first_again(connection):
            first = connection.recv(64)
            connection.sendall(first)
            while connection.recv(64):
                connection.sendall(first)
        self.refuses(first_again, "wrong bytes came back")

    def test_more_than_was_sent_is_found(self):
        def more(connection):
            # All at once, or the answer is complete before the rest comes.
            connection.sendall(connection.recv(64) * 2)
            connection.recv(64)
        self.refuses(more, "came back")

    def test_an_early_end_is_found(self):
        def ends(connection):
            connection.sendall(connection.recv(64)[:63])
        self.refuses(ends, "closed a connection")

    def test_a_sink_has_to_count(self):
        def sink(wrong):
            def serve(connection):
                total = wrong
                while data := connection.recv(100_000):
                    total += len(data)
                connection.sendall(total.to_bytes(8, "little"))
            return serve
        self.accepts(sink(0), 10, "--scenario=sink", "--size=65536")
        self.refuses(sink(1), "the server got 655361 of 655360 bytes", "--scenario=sink",
                     "--size=65536")

    def test_churn_wants_an_answer_and_an_end_of_each_connection(self):
        self.accepts(echo, 10, "--scenario=churn")
        self.refuses(lambda connection: connection.recv(64), "closed a connection",
                     "--scenario=churn")

    def test_datagrams_are_checked(self):
        for change, code in ((lambda data: data, 0), (lambda data: data[:-1] + b"?", 1),
                             (lambda data: data[:-1], 1)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind(("127.0.0.1", 0))

                def serve():
                    while True:
                        data, sender = server.recvfrom(100)
                        if data == b"stop":
                            return
                        server.sendto(change(data), sender)
                thread = threading.Thread(target=serve)
                thread.start()
                port = server.getsockname()[1]
                self.assertEqual(
                    load(port, "run 16\n", "--scenario=udp", "--depth=4")[0], code)
                server.sendto(b"stop", ("127.0.0.1", port))
                thread.join()

    def test_idle_connections_have_a_message_each(self):
        server = subprocess.Popen(["bench/servers/epoll"], stdout=subprocess.PIPE, text=True)
        with server:
            port = server.stdout.readline().rpartition(":")[2].strip()
            code, lines, error = load(port, "idle 20\nrun 5\n", "--idle=10")
            server.terminate()
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(lines[:2], ["ready", "{}"])
        self.assertEqual(json.loads(lines[2])["requests"], 5)

    def test_bad_commands_are_refused(self):
        for line in ("run", "run 0", "run x", "stop 1"):
            with Server(echo) as server:
                code, _, error = load(server.port, line + "\n")
            self.assertEqual(code, 1)
            self.assertIn(f'not understood: "{line}"', error)

    def test_bad_flags_are_refused(self):
        for arguments in (["--scenario=none"], ["--size=0"], ["--depth=0"], ["--connections=-1"],
                          ["--size=65508", "--scenario=udp"]):
            self.assertEqual(load(1, "", *arguments)[0], 2, arguments)


if __name__ == "__main__":
    case_report.main()
