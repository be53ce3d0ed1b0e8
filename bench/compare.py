#!/usr/bin/python3
"""Measures the echo servers side by side: aios, the hand-written floor, and other libraries.

    bazel run //bench:compare
    bazel run //bench:compare -- --scenarios=ping_pong_1_64 --contestants=epoll,aios
    bazel run //bench:compare -- --measure=counts --contestants=epoll,aios
    bazel run //bench:compare -- --json=results.json --chart=results.svg

Each round starts every server anew, one after the other, and drives it with the same load, which
checks every byte. What is measured, each in a pass of its own:

  times    processor time of the server a request, requests a second, latencies
  counts   kernel calls and user instructions a request, by tracing
  memory   resident memory an idle connection
  inside   timers, beside a plain timing wheel, and Apply, beside the posts of other libraries

Servers and load generator are pinned to one processor each, as far as there are two. To count,
both run on the same one, so that the counts are the same every time: what the load sends in one
go is there when the server wakes up, if the system permits real-time scheduling (for root it
does). Counts are exact; times mean something on a quiet machine only, or with --urgent, as far as
the twin of the floor, which is the same program once more, agrees with the floor.
"""

# The interpreter is the system's, because matplotlib, which draws the chart, is a package of it.

import argparse
import collections
import json
import os
import platform
import resource
import subprocess
import sys
import time

sys.dont_write_bytecode = True
# Bazel runs it where the files that it names as data are.
sys.path.insert(0, "bench")
import report  # pylint: disable=wrong-import-position

IDLE_TIMEOUT = "30s"
# While it is traced a server is slow, and an idle timeout of 30 s would expire.
TRACED_TIMEOUT = "3600s"

# `command`: the program and its arguments. `services`: what it serves.
Contestant = collections.namedtuple("Contestant", "command services peer", defaults=(True,))
ALL = ("echo", "sink", "udp")
CONTESTANTS = {
    "epoll": Contestant(["epoll"], ALL, False),
    "epoll_twin": Contestant(["epoll"], ALL, False),
    "epoll_edge": Contestant(["epoll", "--edge_triggered"], ALL, False),
    "libuv": Contestant(["libuv"], ALL),
    "libevent": Contestant(["libevent"], ALL),
    "bufferevent": Contestant(["bufferevent"], ("echo", "sink")),
    "asio": Contestant(["asio_callbacks"], ALL),
    "asio_coroutines": Contestant(["asio_coroutines"], ALL),
    "aios": Contestant(["echo_server"], ALL, False),
}

# `load`, `server`: arguments. `requests`: of a timed run. `counted`: requests of the two traced runs,
# whose difference is what counts; None: not counted. `not_stepped`: contestants of which only the
# calls are counted, as stepping through their instructions takes minutes. `timed`, `idle`: whether times, or the memory
# of so many idle connections, are measured. `beside`: idle connections that are there, too. `floor`:
# the contestant that is 1 in the ratios.
Scenario = collections.namedtuple(
    "Scenario", "what service load server requests counted timed floor idle beside "
    "not_stepped",
    defaults=(True, "epoll", 0, 0, ()))


def ping_pong(connections, size, requests, counted, **attributes):
    return Scenario(f"{connections} connections" if connections > 1 else "1 connection", "echo",
                    [f"--connections={connections}", f"--size={size}"], [], requests, counted,
                    **attributes)


def scenarios():
    """Returns the scenarios by their names."""
    found = {}
    for size, text in ((64, "64 bytes"), (4096, "4 KiB")):
        for connections, requests in ((1, 8_000), (50, 20_000), (2000, 20_000)):
            counted = (1, 21) if connections == 1 and size == 64 else None
            made = ping_pong(connections, size, requests, counted)
            found[f"ping_pong_{connections}_{size}"] = made._replace(
                what=f"ping-pong, {made.what}, {text}")
    for connections in (16, 1000):
        found[f"ready_{connections}"] = ping_pong(
            connections, 64, 0, (1, 1 + connections * max(1, 64 // connections)), timed=False,
            not_stepped=("bufferevent", "asio", "asio_coroutines") if connections > 16 else ()
        )._replace(what=f"ping-pong, {connections} connections ready at once, 64 bytes")
    found["pipelining"] = Scenario(
        "16 requests of 64 bytes in flight on each of 10 connections, each answered by itself",
        "echo", ["--connections=10", "--depth=16"], ["--frame=64"], 80_000, (16, 16 + 160))
    found["stream_echo"] = Scenario(
        "streaming echo, 1 connection, 64 KiB", "echo",
        ["--size=65536", "--depth=16", "--stream"], [], 5_000, None)
    found["stream_sink"] = Scenario(
        "streaming sink, 1 connection, 64 KiB", "sink",
        ["--scenario=sink", "--size=65536"], ["--sink"], 10_000, None)
    found["churn"] = Scenario(
        "connect, one message, close", "echo", ["--scenario=churn"], [], 3_000, (1, 6))
    found["churn_10"] = Scenario(
        "connect, one message, close; 10 at the same time", "echo",
        ["--scenario=churn", "--connections=10"], [], 5_000, None)
    for connections in (1, 50):
        found[f"udp_{connections}"] = Scenario(
            f"UDP echo, {connections} socket{'s' if connections > 1 else ''}, 64 bytes", "udp",
            ["--scenario=udp", f"--connections={connections}"], ["--udp"],
            8_000 if connections == 1 else 20_000, (1, 21) if connections == 1 else None)
    found["udp_burst"] = Scenario(
        "UDP echo, bursts of 64 datagrams on one socket, 64 bytes", "udp",
        ["--scenario=udp", "--depth=64"], ["--udp"], 32_000, (64, 128), floor="epoll_edge")
    found["idle"] = Scenario(
        "idle connections, after one message each", "echo", [], [], 0, None, timed=False,
        idle=10_000)
    found["ping_pong_50_idle"] = Scenario(
        "ping-pong, 50 connections, 64 bytes, beside 10,000 idle connections", "echo",
        ["--connections=50"], [], 20_000, None, beside=10_000)
    return found


# Google Benchmark programs, and what of them is compared.
INSIDE = {
    "timer_bench": ["--benchmark_filter=^(Arm|RearmLater|Cancel|Fire)<.*/1000000/"],
    "apply_bench": [],
}


def path_of(program):
    """Returns where Bazel has put a program: optimised if it was asked for that."""
    for folder in ("bench/optimized", "bench", "bench/servers"):
        path = f"{folder}/{program}"
        if os.path.isfile(path):
            return path
    raise Failure(f"there is no program {program} here")


class Failure(Exception):
    """A server or the load generator did not do what it should."""


class NotTraced(Exception):
    """A program that this one may not trace."""


class Program:
    """A running program that is talked to in lines."""

    def __init__(self, command):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen(
            [path_of(command[0])] + command[1:],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def read(self, wanted=""):
        line = self.process.stdout.readline().rstrip("\n")
        if not line.startswith(wanted) or not line:
            raise Failure(f"{self.name} ended" if not line else f"{self.name} said: {line}")
        return line

    def says(self, wanted):
        return self.process.stdout.readline().rstrip("\n") == wanted

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
        except BrokenPipeError:
            pass  # reading says that it has ended
        return json.loads(self.read("{"))

    def end(self):
        """Ends the input of the program and returns its last line."""
        self.process.stdin.close()
        return self.process.stdout.readline()

    def schedule(self, processor, urgent=False):
        if processor is not None:
            os.sched_setaffinity(self.pid, {processor})
        if urgent:
            try:
                os.sched_setscheduler(self.pid, os.SCHED_FIFO, os.sched_param(1))
            except PermissionError:
                os.sched_setscheduler(self.pid, os.SCHED_BATCH, os.sched_param(0))

    def settle(self):
        """Returns when the program waits."""
        for _ in range(60_000):
            with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "S":
                    return
            time.sleep(0.001)
        raise Failure(f"{self.name} does not come to rest")

    def processor_times(self):
        """Returns seconds in total, and ticks in user and system mode."""
        self.settle()
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total = 0
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        except FileNotFoundError:
            # A kernel that counts in ticks only.
            total = (int(fields[11]) + int(fields[12])) * 1e9 / os.sysconf("SC_CLK_TCK")
        return total / 1e9, int(fields[11]), int(fields[12])

    def memory(self):
        """Returns the bytes that are in memory for this process alone."""
        self.settle()
        total = 0
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
        return total


class Comparison:
    """What the options ask for."""

    def __init__(self, options):
        self.options = options
        self.scenarios = scenarios()
        # By scenario and contestant.
        self.results = {}
        # Of the Google Benchmark programs, by program and benchmark.
        self.inside = {}
        # What is being measured, for a failure.
        self.at = ""

    def result(self, scenario, contestant):
        return self.results.setdefault(scenario, {}).setdefault(contestant, {})

    def say(self, text):
        if not self.options.quiet:
            print(text, file=sys.stderr, flush=True)

    def start_server(self, scenario, contestant, timeout):
        self.at = f"{scenario.what}, {report.name_of(contestant)}"
        server = Program(CONTESTANTS[contestant.removesuffix("-")].command + ["--port=0"] +
                         scenario.server + [f"--read_timeout={timeout}"])
        try:
            port = server.read("listening on ").rpartition(":")[2]
        except Failure:
            server.__exit__()
            raise
        return server, port

    def start_load(self, scenario, port, *more):
        return Program(["load", f"--port={port}"] + scenario.load + list(more))

    @staticmethod
    def warm_up(scenario):
        """Returns how many requests give each connection some."""
        connections = 1
        for argument in scenario.load:
            if argument.startswith("--connections="):
                connections = int(argument.partition("=")[2])
        return 4 * connections

    def time(self, name, contestant):
        """One round of one contestant."""
        scenario = self.scenarios[name]
        requests = max(1, int(scenario.requests * self.options.scale))
        timeout = "inf" if contestant.endswith("-") else IDLE_TIMEOUT
        server, port = self.start_server(scenario, contestant, timeout)
        beside = int(scenario.beside * self.options.scale)
        with server, self.start_load(scenario, port, f"--idle={beside}") as load:
            server.schedule(self.options.server_cpu, urgent=self.options.urgent)
            load.schedule(self.options.load_cpu, urgent=self.options.urgent)
            load.read("ready")
            load.ask(f"run {max(requests // 10, self.warm_up(scenario))}")
            before = server.processor_times()
            run = load.ask(f"run {requests}")
            after = server.processor_times()
            load.end()
        values = {"cpu_us": (after[0] - before[0]) / requests * 1e6,
                  "user_ticks": after[1] - before[1],
                  "system_ticks": after[2] - before[2],
                  "requests_per_second": run["requests"] / run["ns"] * 1e9}
        values.update({f"latency_us_{key}": value / 1e3
                       for key, value in run["latency_ns"].items()})
        result = self.result(name, contestant)
        for key, value in values.items():
            result.setdefault(key, []).append(value)

    def count(self, name, contestant):
        """Kernel calls and instructions, by tracing two runs each."""
        scenario = self.scenarios[name]
        server, port = self.start_server(scenario, contestant, TRACED_TIMEOUT)
        result = self.result(name, contestant)
        processor = self.options.load_cpu
        with server, self.start_load(scenario, port, "--turns", "--uninterrupted") as load:
            server.schedule(processor, urgent=True)
            load.schedule(processor)
            load.read("ready")
            small, large = scenario.counted
            for _ in range(3):
                load.ask(f"run {large}")
            def traced(kind):
                """Returns what the larger run took more than the smaller one."""
                counts = []
                for requests in (small, large):
                    server.settle()
                    with Program(["tracer", f"--pid={server.pid}", kind]) as tracer:
                        if not tracer.says("attached"):
                            raise NotTraced("the system permits no tracing")
                        tracer.schedule(processor, urgent=True)
                        load.ask(f"run {requests}")
                        server.settle()
                        counts.append(json.loads(tracer.end()))
                less, more = counts
                calls = {key: value - less["calls"].get(key, 0)
                         for key, value in more["calls"].items()}
                return {"calls_by_name": {key: value / (large - small)
                                          for key, value in calls.items()},
                        **{key: (more[key] - less[key]) / (large - small)
                           for key in ("calls_total", "calls_failed", "instructions")}}

            try:
                # The system may be late with a message, so that the server waits once more: the
                # fewest calls are what it needs.
                fewest = min((traced("--noinstructions") for _ in range(3)),
                             key=lambda counts: counts["calls_total"])
                result["calls"] = fewest["calls_total"]
                result["calls_failed"] = fewest["calls_failed"]
                result["calls_by_name"] = fewest["calls_by_name"]
                if not self.options.no_instructions and contestant not in scenario.not_stepped:
                    result["instructions"] = traced("--instructions")["instructions"]
            except NotTraced as failure:
                result["uncounted"] = str(failure)
            load.end()

    def measure_memory(self, name, contestant):
        scenario = self.scenarios[name]
        count = max(100, int(scenario.idle * self.options.scale))
        server, port = self.start_server(scenario, contestant, IDLE_TIMEOUT)
        with server, self.start_load(scenario, port, "--idle=100") as load:
            load.read("ready")
            before = server.memory()
            load.ask(f"idle {count}")
            after = server.memory()
            load.end()
        self.result(name, contestant).setdefault("bytes_per_idle_connection", []).append(
            (after - before) / count)

    def measure_inside(self, program, arguments):
        """Runs a Google Benchmark program; its results are nanoseconds an operation."""
        done = subprocess.run(
            [path_of(program), "--benchmark_format=json",
             f"--benchmark_repetitions={self.options.rounds}",
             "--benchmark_enable_random_interleaving=true",
             f"--benchmark_min_time={0.2 * self.options.scale}"] + arguments,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        for run in json.loads(done.stdout)["benchmarks"]:
            if run["run_type"] == "iteration":
                name = run["run_name"].removesuffix("/manual_time")
                self.inside.setdefault(program, {}).setdefault(name, []).append(
                    1e9 / run["items_per_second"])

    def contestants_of(self, name, without_timeout=False):
        scenario = self.scenarios[name]
        found = [contestant for contestant in self.options.contestants
                 if scenario.service in CONTESTANTS[contestant].services]
        if without_timeout and scenario.service != "udp":
            found += [contestant + "-" for contestant in found if CONTESTANTS[contestant].peer]
        return found

    def run(self):
        for name in self.options.scenarios:
            for contestant in self.contestants_of(name):
                # The twin's counts are the floor's.
                if ("counts" in self.options.measure and self.scenarios[name].counted and
                        contestant != "epoll_twin"):
                    self.say(f"counts: {name}, {contestant}")
                    self.count(name, contestant)
                if "memory" in self.options.measure and self.scenarios[name].idle:
                    self.say(f"memory: {name}, {contestant}")
                    self.measure_memory(name, contestant)
        if "inside" in self.options.measure:
            for program, arguments in INSIDE.items():
                self.say(f"inside: {program}")
                self.measure_inside(program, arguments)
        if "times" not in self.options.measure:
            return
        for number in range(self.options.rounds):
            for name in self.options.scenarios:
                if not self.scenarios[name].timed:
                    continue
                self.say(f"times: round {number + 1} of {self.options.rounds}, {name}")
                order = self.contestants_of(name, self.options.without_timeout)
                # Each is the first one in its turn.
                start = number % len(order)
                for contestant in order[start:] + order[:start]:
                    self.time(name, contestant)

    def to_json(self):
        return {
            "machine": machine(),
            "options": {key: value for key, value in vars(self.options).items()
                        if key not in ("json", "chart", "note", "page", "quiet", "read_json")},
            "scenarios": {name: {"what": self.scenarios[name].what,
                                 "service": self.scenarios[name].service,
                                 "floor": self.scenarios[name].floor}
                          for name in self.options.scenarios},
            "results": self.results,
            "inside": self.inside,
        }


def machine():
    """Describes the machine in words."""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (f"{os.cpu_count()} processors ({model}), "
            f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}")


def words(known):
    def parse(text):
        found = text.split(",")
        for word in found:
            if word not in known:
                raise argparse.ArgumentTypeError(f"no {word}; there are: {', '.join(known)}")
        return found
    return parse


def processor(text):
    return None if text == "none" else int(text)


def parse_options(arguments):
    every = list(scenarios())
    processors = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--scenarios", type=words(every), default=every,
                        help="default: all of " + ", ".join(every))
    parser.add_argument("--contestants", type=words(CONTESTANTS), default=list(CONTESTANTS),
                        help="default: all of " + ", ".join(CONTESTANTS))
    measures = ["times", "counts", "memory", "inside"]
    parser.add_argument("--measure", type=words(measures), default=measures,
                        help="default: all of " + ", ".join(measures))
    parser.add_argument("--scale", type=float, default=1.0,
                        help="multiplies the requests of timed runs, and the idle connections; "
                        "default: 1")
    parser.add_argument("--server_cpu", type=processor, default=processors[0],
                        help="where servers run, or none; default: %(default)s")
    parser.add_argument("--load_cpu", type=processor, default=processors[-1],
                        help="where the load runs, or none; default: %(default)s")
    parser.add_argument("--urgent", action="store_true",
                        help="time with real-time priority, as far as the system permits: other "
                        "programs spoil less then, but have to wait")
    parser.add_argument("--without_timeout", action=argparse.BooleanOptionalAction, default=True,
                        help="time the other libraries without idle timeout, too")
    parser.add_argument("--no_instructions", action="store_true",
                        help="count kernel calls only: much faster")
    parser.add_argument("--check", action="store_true",
                        help="fail when aios needs more kernel calls than it should")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--chart", help="draw them into this .svg or .png file")
    parser.add_argument("--note", default="", help="a sentence for the page")
    parser.add_argument("--page", help="write the tables into this page, between its marks")
    parser.add_argument("--read_json", help="measure nothing, show the results in this file")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    # "bazel run" works in another folder than it was called in.
    start = os.environ.get("BUILD_WORKING_DIRECTORY", "")
    for key in ("json", "chart", "page", "read_json"):
        if getattr(options, key):
            setattr(options, key, os.path.join(start, getattr(options, key)))
    # What would fail after a quarter of an hour fails now.
    try:
        if options.chart:
            report.import_matplotlib()
        if options.page:
            report.split_page(options.page)
    except (ImportError, OSError, ValueError) as failure:
        parser.error(f"{failure} (tools/setup --compare installs what is needed)")
    return options


def main(arguments):
    options = parse_options(arguments)
    # Two thousand connections, and many idle ones.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    if options.read_json:
        with open(options.read_json, encoding="utf-8") as file:
            results = json.load(file)
    else:
        comparison = Comparison(options)
        try:
            comparison.run()
        except Failure as failure:
            print(f"compare: {comparison.at}: {failure}", file=sys.stderr)
            return 1
        results = comparison.to_json()
    results["note"] = options.note
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
    if options.chart:
        report.draw(results, options.chart)
    if options.page:
        report.write_page(results, options.page)
    print(report.table(results))
    goals = report.goals(results)
    print(report.goals_text(goals))
    if options.check:
        failed = [goal for goal in goals if goal.kind == "calls" and goal.value > goal.limit]
        for goal in failed:
            print(f"compare: {goal.what}: {goal.value:g}, at most {goal.limit:g}",
                  file=sys.stderr)
        return 1 if failed else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
