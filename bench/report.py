"""What //bench:compare found, as a table, a chart, and beside its goals."""

import collections
import statistics

# The names that people know.
NAMES = {
    "epoll": "epoll by hand",
    "epoll_twin": "epoll by hand, again",
    "epoll_edge": "epoll by hand, edges",
    "libuv": "libuv",
    "libevent": "libevent",
    "bufferevent": "libevent bufferevent",
    "asio": "Asio",
    "asio_coroutines": "Asio coroutines",
    "aios": "aios",
}
PEERS = ("libuv", "libevent", "bufferevent", "asio", "asio_coroutines")
# Their own answer to each message has a write of its own.
WRITE_PER_MESSAGE = ("libuv", "libevent", "asio", "asio_coroutines")


def name_of(contestant):
    """A minus at the end: without the idle timeout."""
    if contestant.endswith("-"):
        return NAMES[contestant[:-1]] + ", no timeout"
    return NAMES[contestant]


def median(result, key):
    """Returns the median of the rounds, or None."""
    values = result.get(key)
    return statistics.median(values) if values else None


def user_percent(result):
    """Returns how much of the processor time was in user mode; None when too little to tell."""
    user, system = (sum(result.get(key, ())) for key in ("user_ticks", "system_ticks"))
    return 100 * user / (user + system) if user + system >= 20 else None


def ratio(value, floor):
    return value / floor if value is not None and floor else None


def number(value, digits):
    return "" if value is None else f"{value:,.{digits}f}"


# The columns: a title, what it takes from a result, digits, and whether its ratio to the floor
# stands beside it.
COLUMNS = (
    ("CPU us", lambda result: median(result, "cpu_us"), 2, True),
    ("% user", user_percent, 0, False),
    ("calls", lambda result: result.get("calls"), 3, True),
    ("failing", lambda result: result.get("calls_failed"), 2, False),
    ("instr.", lambda result: result.get("instructions"), 0, True),
    ("requests/s", lambda result: median(result, "requests_per_second"), 0, True),
    ("p50 us", lambda result: median(result, "latency_us_50"), 1, False),
    ("p99 us", lambda result: median(result, "latency_us_99"), 1, False),
    ("p99.9 us", lambda result: median(result, "latency_us_99.9"), 1, False),
    ("bytes idle", lambda result: median(result, "bytes_per_idle_connection"), 0, True),
)


def table(results):
    """Returns a text with a table for each scenario, its figures each request."""
    lines = [f"Measured on {results['machine']}. Figures are for one request, medians of "
             f"{results['options']['rounds']} rounds; x: times the floor."]
    for name, scenario in results["scenarios"].items():
        measured = results["results"].get(name)
        if not measured:
            continue
        lines += ["", f"{name}: {scenario['what']}"]
        floor = measured.get(scenario["floor"], {})
        columns = []
        for title, take, digits, with_ratio in COLUMNS:
            values = [take(result) for result in measured.values()]
            if all(value is None for value in values):
                continue
            columns.append([title] + [number(value, digits) for value in values])
            if with_ratio and take(floor):
                columns.append(["x"] + [number(ratio(value, take(floor)), 2)
                                        for value in values])
        rows = list(zip(["contestant"] + [name_of(contestant) for contestant in measured],
                        *columns))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines += ["  " + "  ".join([cell.ljust(width) if i == 0 else cell.rjust(width)
                                    for i, (cell, width) in enumerate(zip(row, widths))])
                  for row in rows]
        for contestant, result in measured.items():
            if "uncounted" in result:
                lines.append(f"  {name_of(contestant)}: not counted: {result['uncounted']}")
    return "\n".join(lines)


# `kind`: "time", "calls", "instructions" or "memory".
Goal = collections.namedtuple("Goal", "kind what value limit")


def goals(results):
    """Returns what aios is to reach, as far as it was measured."""
    found = []

    def add(kind, what, value, limit):
        if value is not None and limit is not None:
            found.append(Goal(kind, what, value, limit))

    def of(scenario, contestant):
        return results["results"].get(scenario, {}).get(contestant, {})

    def cpu(scenario, contestant):
        return median(of(scenario, contestant), "cpu_us")

    for scenario, about in results["scenarios"].items():
        aios = cpu(scenario, "aios")
        floor = cpu(scenario, about["floor"])
        if aios is None:
            continue
        peers = [value for value in (cpu(scenario, peer) for peer in PEERS) if value]
        if scenario == "pipelining":
            writers = [value for value in (cpu(scenario, peer) for peer in WRITE_PER_MESSAGE)
                       if value]
            if writers:
                add("time", f"{scenario}: CPU, times the best peer that writes each message",
                    aios / min(writers), 0.5)
        elif scenario == "udp_burst":
            add("time", f"{scenario}: CPU, times recvfrom and sendto", ratio(aios, floor), 0.7)
        else:
            add("time", f"{scenario}: CPU, times the floor", ratio(aios, floor), 1.05)
        twin = cpu(scenario, "epoll_twin")
        own = cpu(scenario, "epoll")
        if peers and twin and own:
            add("time", f"{scenario}: CPU, times the best peer, within the floor's own noise",
                aios / min(peers), max(1, twin / own, own / twin))
    beside = cpu("ping_pong_50_idle", "aios")
    alone = cpu("ping_pong_50_64", "aios")
    add("time", "CPU with 10,000 idle connections beside, times without", ratio(beside, alone),
        1.05)
    for scenario, limit in (("ping_pong_1_64", 350), ("ready_16", 180), ("ready_1000", 180),
                            ("udp_1", 400), ("churn", 1500)):
        add("instructions", f"{scenario}: user instructions",
            of(scenario, "aios").get("instructions"), limit)
    for scenario, limit in (("ping_pong_1_64", 3), ("ready_16", 2 + 1 / 16),
                            # 128 reports a turn.
                            ("ready_1000", 2 + 8 / 1000), ("udp_1", 3), ("churn", 10),
                            # A wait, a receive and a send for 16.
                            ("pipelining", 3 / 16)):
        add("calls", f"{scenario}: kernel calls", of(scenario, "aios").get("calls"), limit)
        if scenario in ("ping_pong_1_64", "ready_16", "ready_1000"):
            add("calls", f"{scenario}: failing kernel calls",
                of(scenario, "aios").get("calls_failed"), 0)
    add("memory", "idle: bytes a connection",
        median(of("idle", "aios"), "bytes_per_idle_connection"), 300)
    return found


def goals_text(found):
    lines = ["", "aios, and what it should need at most:"]
    for goal in found:
        reached = "reached" if goal.value <= goal.limit else "MISSED"
        lines.append(f"  {reached:7}  {goal.value:9,.2f}  of {goal.limit:8,.2f}  {goal.what}")
    return "\n".join(lines if found else [])


def draw(results, path):
    """Draws processor time, times the floor, into a file; the suffix says which kind."""
    # Only for the chart: the figures need nothing but Python itself.
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # pylint: disable=import-outside-toplevel
    matplotlib.rcParams["svg.hashsalt"] = "aios"

    shown = [name for name, scenario in results["scenarios"].items()
             if median(results["results"].get(name, {}).get(scenario["floor"], {}), "cpu_us")]
    contestants = [contestant for contestant in NAMES
                   if any(contestant in results["results"][name] for name in shown)]
    figure, axes = plt.subplots(figsize=(9, 0.3 + len(shown) * 0.95))
    height = 0.84 / max(1, len(contestants))
    for i, contestant in enumerate(contestants):
        places, widths = [], []
        for row, name in enumerate(shown):
            measured = results["results"][name]
            value = ratio(median(measured.get(contestant, {}), "cpu_us"),
                          median(measured[results["scenarios"][name]["floor"]], "cpu_us"))
            if value is not None:
                places.append(row - 0.42 + (i + 0.5) * height)
                widths.append(value)
        axes.barh(places, widths, height * 0.9, label=NAMES[contestant],
                  color="black" if contestant == "aios" else plt.cm.tab20(i))
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_yticks(range(len(shown)))
    axes.set_yticklabels([results["scenarios"][name]["what"].replace(", ", ",\n", 1)
                          for name in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("processor time of the server a request, times that of epoll by hand")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
