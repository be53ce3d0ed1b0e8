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
    for program, benchmarks in results["inside"].items():
        lines += ["", f"{program}: nanoseconds an operation"]
        width = max(map(len, benchmarks))
        lines += [f"  {name:{width}}  {number(statistics.median(values), 1):>10}"
                  for name, values in benchmarks.items()]
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
                            # 128 reports a turn, and some turns that find fewer because the
                            # system let the load be interrupted.
                            ("ready_1000", 2 + 16 / 1000), ("udp_1", 3), ("churn", 10),
                            # A wait, a receive and a send for 16.
                            ("pipelining", 3 / 16)):
        add("calls", f"{scenario}: kernel calls", of(scenario, "aios").get("calls"), limit)
        if scenario in ("ping_pong_1_64", "ready_16", "ready_1000"):
            add("calls", f"{scenario}: failing kernel calls",
                of(scenario, "aios").get("calls_failed"), 0)
    def inside(program, benchmark):
        values = results["inside"].get(program, {}).get(benchmark)
        return statistics.median(values) if values else None

    # Nanoseconds where a plain wheel takes 3, 3 and 18.
    for benchmark, limit in (("Arm", 15 / 3), ("RearmLater", 5 / 3), ("Cancel", 25 / 18)):
        add("time", f"timers, 1,000,000 pending: {benchmark}, times a plain timing wheel",
            ratio(inside("timer_bench", f"{benchmark}<Aios>/1000000"),
                  inside("timer_bench", f"{benchmark}<PlainWheel>/1000000")), limit)
    for benchmark in ("Post", "WakeUp"):
        peers = [inside("apply_bench", f"{benchmark}<{peer}>")
                 for peer in ("Libuv", "Libevent", "Asio")]
        if all(peers):
            add("time", f"Apply: {benchmark}, times the best peer",
                ratio(inside("apply_bench", f"{benchmark}<Aios>"), min(peers)), 1.3)
    add("memory", "idle: bytes a connection",
        median(of("idle", "aios"), "bytes_per_idle_connection"), 300)
    return found


def goals_text(found):
    lines = ["", "aios, and what it should need at most:"]
    for goal in found:
        reached = "reached" if goal.value <= goal.limit else "MISSED"
        lines.append(f"  {reached:7}  {goal.value:9,.2f}  of {goal.limit:8,.2f}  {goal.what}")
    return "\n".join(lines if found else [])


# The marks in a page between which the tables stand.
BEGIN = "<!-- Written by //bench:compare. -->"
END = "<!-- End of what //bench:compare has written. -->"


def markdown_table(rows):
    return ["| " + " | ".join(row) + " |" for row in
            [rows[0], ["---"] + ["---:"] * (len(rows[0]) - 1)] + rows[1:]] + [""]


def comparison(results, take, digits, ratios=False):
    """Returns a table of all scenarios: everybody's figures, or else their ratios to the floor's."""
    others = [contestant for contestant in NAMES
              if contestant != "epoll" and any(take(measured.get(contestant, {})) is not None
                                               for measured in results["results"].values())]
    rows = [["scenario", "epoll by hand"] + [NAMES[contestant] for contestant in others]]
    for name, scenario in results["scenarios"].items():
        measured = results["results"].get(name, {})
        floor = take(measured.get("epoll", {}))
        if floor is None:
            continue
        rows.append([scenario["what"], number(floor, digits)])
        for contestant in others:
            value = take(measured.get(contestant, {}))
            cell = number(ratio(value, floor), 2) if ratios else number(value, digits)
            rows[-1].append(f"**{cell}**" if contestant == "aios" else cell)
    return markdown_table(rows) if len(rows) > 1 else ["Not measured.", ""]


def without_timeout(results):
    peers = [peer for peer in PEERS
             if any(peer + "-" in measured for measured in results["results"].values())]
    rows = [["scenario"] + [NAMES[peer] for peer in peers]]
    for name, scenario in results["scenarios"].items():
        measured = results["results"].get(name, {})
        ratios = [ratio(median(measured.get(peer + "-", {}), "cpu_us"),
                        median(measured.get("epoll", {}), "cpu_us")) for peer in peers]
        if any(ratios):
            rows.append([scenario["what"]] + [number(value, 2) for value in ratios])
    return markdown_table(rows) if peers else ["Not measured.", ""]


def latencies(results):
    rows = [["scenario", "server", "requests a second", "median, us", "99 %, us", "99.9 %, us"]]
    for name, scenario in results["scenarios"].items():
        for contestant in ("epoll", "aios"):
            result = results["results"].get(name, {}).get(contestant, {})
            if median(result, "requests_per_second") is None:
                continue
            rows.append([scenario["what"], NAMES[contestant],
                         number(median(result, "requests_per_second"), 0)] +
                        [number(median(result, f"latency_us_{share}"), 1)
                         for share in ("50", "99", "99.9")])
    return markdown_table(rows)


def page_text(results):
    """Returns all tables, for a page."""
    options = results["options"]
    lines = [
        BEGIN, "",
        f"Measured on {results['machine']}; medians of {options['rounds']} rounds. {results['note']}".rstrip(), "",
        "### Processor time of the server", "",
        "Microseconds a request of the server that was written by hand on epoll, and how many "
        "times that the others take. All have the idle timeout.", "",
        *comparison(results, lambda result: median(result, "cpu_us"), 2, ratios=True),
        "The other libraries without an idle timeout, in times of epoll by hand with it:", "",
        *without_timeout(results),
        "### Kernel calls", "",
        "A request.", "",
        *comparison(results, lambda result: result.get("calls"), 3),
        "### User instructions", "",
        "A request. Where there is none, it was not stepped through: that would take minutes.", "",
        *comparison(results, lambda result: result.get("instructions"), 0),
        "### Memory", "",
        "Bytes of resident memory for an idle connection.", "",
        *comparison(results, lambda result: median(result, "bytes_per_idle_connection"), 0),
        "### Requests a second and latencies", "",
        *latencies(results),
        "### Timers and Apply", "",
        "Nanoseconds an operation.", "",
        *markdown_table([["benchmark", "ns"]] + [
            [f"{program}: `{name}`", number(statistics.median(values), 1)]
            for program, benchmarks in results["inside"].items()
            for name, values in benchmarks.items()]),
        "### What aios is to reach", "",
        *markdown_table([["", "measured", "at most", ""]] + [
            [goal.what, number(goal.value, 2), number(goal.limit, 2),
             "reached" if goal.value <= goal.limit else "**missed**"]
            for goal in goals(results)]),
        END]
    return "\n".join(lines)


def split_page(path):
    """Returns what stands before and after the tables."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no marks for the tables")
    return before, after


def write_page(results, path):
    before, after = split_page(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + page_text(results) + after)


# In the chart: in this order, in these colours, and cut off here.
COLORS = {
    "aios": "black",
    "epoll_twin": "0.75",
    "epoll_edge": "0.6",
    "libuv": "tab:green",
    "libevent": "tab:blue",
    "bufferevent": "lightblue",
    "asio": "tab:red",
    "asio_coroutines": "lightcoral",
}
RATIO_MAX = 2.5


def import_matplotlib():
    """Only for the chart: the figures need nothing but Python itself."""
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    # The same file for the same results, with text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "aios", "svg.fonttype": "none"})
    import matplotlib.pyplot  # pylint: disable=import-outside-toplevel
    return matplotlib.pyplot


def draw(results, path):
    """Draws processor time, times the floor, into a file; the suffix says which kind."""
    plt = import_matplotlib()

    def ratio_of(name, contestant):
        measured = results["results"].get(name, {})
        return ratio(median(measured.get(contestant, {}), "cpu_us"),
                     median(measured.get(results["scenarios"][name]["floor"], {}), "cpu_us"))

    shown = [name for name in results["scenarios"]
             if any(ratio_of(name, contestant) for contestant in COLORS)]
    contestants = [contestant for contestant in COLORS
                   if any(ratio_of(name, contestant) for name in shown)]
    figure, axes = plt.subplots(figsize=(9, 1.2 + len(shown) * 0.9))
    height = 0.84 / max(1, len(contestants))
    for i, contestant in enumerate(contestants):
        bars = [(row - 0.42 + (i + 0.5) * height, ratio_of(name, contestant))
                for row, name in enumerate(shown) if ratio_of(name, contestant)]
        axes.barh([place for place, _ in bars], [min(value, RATIO_MAX) for _, value in bars],
                  height * 0.9, label=NAMES[contestant], color=COLORS[contestant])
        for place, value in bars:
            if value > RATIO_MAX:
                axes.text(RATIO_MAX + 0.02, place, f"{value:.1f}", fontsize=6, va="center")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(0, RATIO_MAX + 0.2)
    axes.set_yticks(range(len(shown)))
    axes.set_yticklabels([results["scenarios"][name]["what"].replace(", ", ",\n", 1)
                          for name in shown], fontsize=7)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("processor time of the server a request, in that of epoll by hand "
                    "(shorter is better)")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, 1.05), ncol=4)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
