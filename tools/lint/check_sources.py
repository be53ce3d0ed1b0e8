#!/usr/bin/env python3
"""Checks of the sources that no compiler makes: layers, portability, and that all is built.

    python3 tools/lint/check_sources.py [FOLDER]

prints "path:line: check: message" for each finding. //tests/lint:sources_test runs the same, and
//tests/lint:check_sources_test shows that each check finds what it is there for.

A finding that is right as it stands is listed in EXCEPTIONS, with the reason.
"""

import ast
import collections
import os
import re
import sys

# (check, path, text): a finding of the check in the file, on a line that has the text, is right; an
# empty text is in every line. Each with a comment that says why. One that is no longer needed is
# itself a finding.
EXCEPTIONS = [
    # Defines the clocks and the randomness of the C library anew.
    ("portable", "sim/interpose.cc", ""),
    # Starts the test program once more.
    ("portable", "sim/another_process.cc", ""),
    ("layers", "sim/another_process.cc", '"gtest/gtest.h"'),
    # Of the C library's drand48, one of those.
    ("deterministic", "sim/interpose.cc", "drand48"),
    ("deterministic", "sim/interpose.cc", "static_cast<double>(simulation->RandomBits() >> 16)"),
    # A user's simulated tests are tests of GoogleTest.
    ("layers", "sim/simulated_test.cc", '"gtest/gtest.h"'),
    ("layers", "sim/simulated_test.h", '"gtest/gtest.h"'),
    # Looked up by address, never walked in an order that can be seen.
    ("deterministic", "sim/oracle.h", "std::map<const void*, Operation> pending_;"),
    ("deterministic", "sim/oracle.h", "std::map<const void*, State> states_;"),
    ("deterministic", "sim/oracle.h", "std::map<const Poller*, Collection> collections_;"),
    ("deterministic", "sim/oracle_model.h", "std::map<const void*, uint64_t> aborts;"),
    ("deterministic", "sim/oracle_model.h", "std::set<const void*> stale;"),
    # For people who look at a run when it is over.
    ("deterministic", "sim/perfetto.cc", "double"),
]

# Which folders a folder may include headers from; any other quoted header is an outside library's.
LAYERS = {
    "aios": ["aios"],
    "backends": ["aios", "backends"],
    "sim": ["aios", "sim"],
    "bench": ["aios", "backends", "bench", "sim", "tests"],
    "examples": ["aios", "backends"],
    "tests": ["aios", "backends", "bench", "examples", "sim", "tests"],
    "tools": ["aios", "backends", "sim", "tools"],
}
# The parts of a state, in aios/state/: each includes those before it, and none behind it.
STATE_PARTS = ["phases", "received", "output_operation", "deadline", "channel", "input", "checking",
               "datagrams", "output", "replies", "connecting", "ending", "refusals", "state"]
# What of them lies below the event loop; the rest includes that.
STATE_PARTS_BELOW_THE_LOOP = ["phases", "received", "output_operation"]
# Files of the last one.
STATE_FILES = ["calls", "endings", "events", "factory", "send_lookup"]
# Other headers of aios/ that what is above the event loop includes, and which parts they may know.
BELOW_STATES = ["async_io_state", "connect_race", "datagram_batch", "event_loop", "input_buffer",
                "name_service", "operation_observer", "reply_batch", "wait_state_collection", "watcher"]

# The headers of outside libraries that the library itself may include; tests and programs are free.
OUTSIDE = {
    "aios": r"absl/|ares(_\w+)?\.h$",
    "backends": r"absl/",
    "sim": r"absl/|ares(_\w+)?\.h$|nlohmann/|yaml-cpp/",
}
# Examples show what users may write.
EXAMPLE_HEADERS = ["aios/aios.h", "backends/default_kernel.h"]

# The folders that run in the simulator: same seed, same trace.
PORTABLE_FOLDERS = ["aios", "sim"]

# Names that are system calls when they are called on their own or with "::" before them; as a
# member of something (".send(", "Kernel::send(") they are not.
SYSTEM_CALLS = """
    accept accept4 bind close connect dup dup2 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_wait eventfd fcntl fork getaddrinfo gethostbyname gethostname getifaddrs getnameinfo
    getpeername getrandom getrlimit getsockname getsockopt if_indextoname if_nametoindex ioctl
    kevent kill listen mmap nanosleep open openat pipe pipe2 poll ppoll pselect read readv recv
    recvfrom recvmmsg recvmsg select send sendmmsg sendmsg sendto setsockopt shutdown sigaction
    sleep socket socketpair syscall timerfd_create timerfd_settime usleep write writev
""".split()

# Of regular expressions, over code without comments and strings: what stays out, and why.
FORBIDDEN_CALLS = {
    r"(?<![\w.>:])(?:::\s*)?(?:%s)\s*\(\s*[^)\s]" % "|".join(SYSTEM_CALLS):
        "system calls belong into backends/, behind aios/kernel.h",
    r"(?<![\w.>:])(?:::\s*)?kqueue\s*\(\s*\)":
        "system calls belong into backends/, behind aios/kernel.h",
    r"\bclock_(?:gettime|getres|nanosleep)\b|\bgettimeofday\b|\btimespec_get\b|\bftime\s*\(":
        "the clock is the kernel's: aios/kernel.h",
    r"(?<![\w.>])time\s*\(\s*(?:nullptr|NULL|0|&)|(?<![\w.>])clock\s*\(\s*\)":
        "the clock is the kernel's: aios/kernel.h",
    r"\b(?:system|steady|high_resolution|file|utc|tai|gps)_clock\b":
        "the clock is the kernel's: aios/kernel.h",
    r"\babsl::(?:Now|GetCurrentTimeNanos)\b":
        "the clock is the kernel's: aios/kernel.h",
    r"\b(?:absl::SleepFor|sleep_for|sleep_until)\b|\bWaitWithTimeout\b|\bWaitWithDeadline\b"
    r"|\.wait_(?:for|until)\s*\(":
        "only the kernel waits: aios/kernel.h",
    r"\brandom_device\b|(?<![\w.>])s?rand(?:om|48)?\s*\(|\barc4random|\bdefault_random_engine\b"
    r"|\babsl::(?:Insecure)?BitGen\b|\bgetentropy\b":
        "randomness comes from the seed",
}
FORBIDDEN_TYPES = {
    r"\bstd::\w+_distribution\b|\bstd::(?:shuffle|sample)\b|\babsl::(?:Uniform|Bernoulli|Exponential"
    r"|Gaussian|LogUniform|Poisson|Zipf|Beta)\s*[<(]":
        "its results differ between standard libraries",
    r"\bunordered_(?:multi)?(?:map|set)\b|\babsl::(?:flat|node)_hash_(?:map|set)\b":
        "its order differs between runs; list it in EXCEPTIONS if nothing iterates over it",
    r"\bstd::(?:multi)?(?:map|set)<[^,<>]*\*":
        "ordered by address, which differs between runs",
    r"\bstd::hash\b|\babsl::(?:Hash|HashOf)\b":
        "its results differ between standard libraries, or between runs",
    r"\b(?:double|float)\b":
        "rounded as compilers and options please; integers are not",
}

CPP = (".cc", ".h")
TEXT = CPP + (".bazel", ".bzl", ".md", ".proto", ".py", ".sh", ".txt", ".yaml", ".yml")
TEXT_NAMES = ["WORKSPACE", "WORKSPACE.bzlmod", ".bazelrc", ".clang-format", ".clang-tidy",
              ".gitignore", ".ci/run", "tools/check_macos", "tools/run", "tools/setup", "tools/test"]

Finding = collections.namedtuple("Finding", "check path line message")


class Tree:
    """Files by their path: those of a folder, or those given (for tests)."""

    def __init__(self, root=None, files=None):
        self.root = root
        self.files = files
        if files is None:
            self.files = {}
            for folder, subfolders, names in os.walk(root):
                # No links (Bazel makes some), nothing hidden but the CI, no samples of bad input.
                subfolders[:] = [
                    name for name in sorted(subfolders)
                    if (not name.startswith(".") or name == ".ci")
                    and name not in ("corpus", "testdata", "__pycache__", "node_modules")
                    and not os.path.islink(os.path.join(folder, name))
                ]
                for name in sorted(names):
                    path = os.path.relpath(os.path.join(folder, name), root)
                    self.files[path] = None

    def text(self, path):
        if self.files[path] is None:
            with open(os.path.join(self.root, path), encoding="utf-8") as file:
                self.files[path] = file.read()
        return self.files[path]

    def cpp(self, folders=None):
        """Returns the paths of C++ files below the folders."""
        return [path for path in self.files
                if path.endswith(CPP) and path.partition("/")[0] in (folders or LAYERS)]

    def has(self, path):
        return path in self.files


CPP_TOKEN = re.compile(
    r"""(?P<number>\b\d[\w.']*)                                # may have ' between digits
      | (?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<string>R"(?P<end>[^(\s]*)\(.*?\)(?P=end)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    """, re.X | re.S)


def code_only(text, strings=False):
    """Returns C++ code with its comments, and its strings unless wanted, blanked out."""
    def blank(match):
        if match["number"] or (strings and match["string"]):
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])
    return CPP_TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def includes(text):
    """Yields (line, header, quoted) for each #include."""
    code = code_only(text, strings=True)
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">\n]+)[">]', code, re.M):
        yield line_of(code, match.start()), match[2], match[1] == '"'


def check_layers(tree):
    """A folder includes only what its layer may know."""
    public = [header for path in EXAMPLE_HEADERS if tree.has(path)
              for _, header, quoted in includes(tree.text(path)) if quoted] + EXAMPLE_HEADERS
    for path in tree.cpp():
        layer = path.partition("/")[0]
        for line, header, quoted in includes(tree.text(path)):
            folder = header.partition("/")[0] if "/" in header else ""
            if folder in LAYERS:
                if not quoted:
                    yield path, line, f'{header} is ours: include it with "..."'
                elif folder not in LAYERS[layer]:
                    yield path, line, f"{layer}/ must not know {folder}/ ({header})"
                elif layer == "examples" and header not in public:
                    yield path, line, f"{header} is no header for users: examples show public API"
            elif quoted and tree.has(os.path.join(os.path.dirname(path), header)):
                yield path, line, f"include {header} by its path from the top"
            elif quoted and layer in OUTSIDE and not re.match(OUTSIDE[layer], header):
                yield path, line, f"{header} is of no library that {layer}/ depends on"


def check_parts(tree):
    """The parts of a state know those above them only, and what is below states no others."""
    for path in tree.cpp(["aios"]):
        name = os.path.splitext(os.path.basename(path))[0]
        if os.path.dirname(path) == "aios/state":
            part = "state" if name in STATE_FILES else name
            if part not in STATE_PARTS:
                yield path, 1, "no part of a state: say in STATE_PARTS where it belongs"
                continue
            allowed = STATE_PARTS[:STATE_PARTS.index(part) + 1]
            if part == "state":
                allowed = STATE_PARTS + STATE_FILES
        elif os.path.dirname(path) == "aios" and name in BELOW_STATES:
            allowed = STATE_PARTS_BELOW_THE_LOOP
        else:
            continue
        for line, header, _ in includes(tree.text(path)):
            folder, file = os.path.split(header)
            other = os.path.splitext(file)[0]
            if folder == "aios/state" and other not in allowed:
                yield path, line, f"{path} must not know {header}"
            elif (folder == "aios" and other in BELOW_STATES and name in STATE_PARTS_BELOW_THE_LOOP
                  and other != "input_buffer"):
                yield path, line, f"{path} is below the event loop and must not know {header}"


def check_portable(tree):
    """No system call, clock or randomness outside of backends/."""
    for path in tree.cpp(PORTABLE_FOLDERS):
        text = tree.text(path)
        outside = OUTSIDE[path.partition("/")[0]]
        for line, header, quoted in includes(text):
            if not quoted and header.endswith(".h") and not re.match(outside, header):
                yield path, line, f"<{header}> is the system's: only backends/ may include it"
            elif header in ("ctime", "csignal"):
                yield path, line, f"<{header}> is for clocks and signals: only backends/ may"
        yield from forbidden(path, text, FORBIDDEN_CALLS)


def check_deterministic(tree):
    """Nothing whose outcome depends on the standard library, on addresses or on hash seeds."""
    for path in tree.cpp(PORTABLE_FOLDERS):
        yield from forbidden(path, tree.text(path), FORBIDDEN_TYPES)


def forbidden(path, text, rules):
    code = code_only(text)
    for pattern, why in rules.items():
        for match in re.finditer(pattern, code):
            name = match[0].strip().rstrip("(").split("(")[0].strip()
            yield path, line_of(code, match.start()), f"{name}: {why}"


def check_built(tree):
    """Every C++ file is named in, or matched by a glob of, the BUILD file of its package."""
    packages = {os.path.dirname(path): built_by(tree.text(path)) for path in tree.files
                if os.path.basename(path) in ("BUILD", "BUILD.bazel")}
    labels = {label for names, _ in packages.values() for label in names if label.startswith("//")}
    for path in tree.cpp():
        package = os.path.dirname(path)
        while package not in packages and package:
            package = os.path.dirname(package)
        names, globs = packages.get(package, ((), ()))
        name = os.path.relpath(path, package or ".")
        if not (name in names or ":" + name in names or f"//{package}:{name}" in labels
                or any(glob.fullmatch(name) for glob in globs)):
            yield path, 1, "nothing builds it: no BUILD file names it"


def built_by(text):
    """Returns the strings of a BUILD file, and the patterns of its globs as expressions."""
    names = set()
    globs = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glob":
            include = node.args[:1] + [word.value for word in node.keywords
                                       if word.arg == "include"]
            for pattern in ast.walk(include[0]) if include else ():
                if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str):
                    globs.append(re.compile(
                        re.escape(pattern.value).replace(r"\*\*/", "(?:.*/)?")
                        .replace(r"\*\*", ".*").replace(r"\*", "[^/]*")))
    return names, globs


def check_guards(tree):
    """Include guards are named by the path."""
    for path in tree.cpp():
        if not path.endswith(".h"):
            continue
        guard = re.sub(r"\W", "_", path).upper() + "_"
        if not path.startswith("aios/"):
            guard = "AIOS_" + guard
        directives = re.findall(r"^#.*$", code_only(tree.text(path)), re.M)
        if directives[:2] != [f"#ifndef {guard}", f"#define {guard}"]:
            yield path, 1, f"the include guard is to be {guard}"


def check_text(tree):
    """No blanks at the end of a line, no TODO without a name, no path of one machine."""
    # Written so that they do not find themselves.
    machine = re.compile(r"(?:^|[^A-Za-z0-9_./$}-])"
                         r"/(?:(?:work|root|home|Users)(?![\w-])|tmp/[A-Za-z0-9])")
    todo = re.compile(r"\b(?:TODO(?!\([\w.@-]+\): )|FIXME\b|XXX\b)")
    for path in tree.files:
        if not (path.endswith(TEXT) or path in TEXT_NAMES):
            continue
        text = tree.text(path)
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip() and not path.endswith(".md"):
                yield path, number, "blanks at the end of the line"
            if machine.search(line):
                yield path, number, "the path of one machine"
            if todo.search(line) and "tools/lint/" not in path and "tests/lint/" not in path:
                yield path, number, "say who: TODO(name): what"
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "no newline at the end of the file"


def check_packages(tree):
    """tools/setup installs the packages of every library that Bazel looks for."""
    path = "tools/bazel/dependencies.bzl"
    if not tree.has(path):
        return
    installed = re.findall(r"^([a-z0-9][a-z0-9+.-]+): ", tree.text("tools/setup"), re.M)
    for node in ast.walk(ast.parse(tree.text(path))):
        if isinstance(node, ast.keyword) and node.arg == "debian":
            for package in node.value.elts:
                if package.value not in installed:
                    yield path, package.lineno, f"{package.value} is not in tools/setup"


CHECKS = {
    "layers": check_layers,
    "parts": check_parts,
    "portable": check_portable,
    "deterministic": check_deterministic,
    "built": check_built,
    "guards": check_guards,
    "packages": check_packages,
    "text": check_text,
}


def findings(tree, check, exceptions=None):
    """Returns what a check finds beyond the exceptions, and the exceptions that it does not need."""
    exceptions = [exception for exception in (EXCEPTIONS if exceptions is None else exceptions)
                  if exception[0] == check]
    used = set()
    found = []
    for path, line, message in CHECKS[check](tree):
        lines = tree.text(path).splitlines()
        text = lines[line - 1] if line <= len(lines) else ""
        excused = [exception for exception in exceptions
                   if exception[1] == path and exception[2] in text]
        used.update(excused)
        if not excused:
            found.append(Finding(check, path, line, message))
    for exception in exceptions:
        if exception not in used:
            found.append(Finding(check, exception[1], 1, f"needs no exception for {exception[2]}"))
    return found


def main(arguments):
    root = arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "..", "..")
    tree = Tree(root)
    found = [finding for check in CHECKS for finding in findings(tree, check)]
    for finding in found:
        print(f"{finding.path}:{finding.line}: {finding.check}: {finding.message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
