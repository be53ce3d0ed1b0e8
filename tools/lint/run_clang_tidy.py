#!/usr/bin/env python3
"""Runs clang-tidy on the C++ files of the project, on all cores.

    python3 tools/lint/run_clang_tidy.py [--seconds N] [FILE...]

Without files: on all .cc files that git knows. Those that the last commits changed come first. After N
seconds no further file is begun, and what was left out is said. Exits with 1 if anything is found.
"""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

# What Bazel gives the compiler, as far as clang-tidy can tell the difference.
FLAGS = ["-std=c++20", "-I.", "-Wall", "-Wextra"]
# And the kqueue kernel, where there is no kqueue: the headers of its double in the tests.
FLAGS += ["-isystemtests/kqueue_double", "-DAIOS_KQUEUE_FLAVOUR=neutral",
          "-DAIOS_KQUEUE_HAS_USER_FILTER=1", "-DAIOS_KQUEUE_HAS_INTEGER_UDATA=0",
          "-DAIOS_KQUEUE_OVERWRITES_UDATA=0", "-DAIOS_KQUEUE_ERRORS_KEEP_FLAGS=0",
          "-DAIOS_KQUEUE_TICK_NANOSECONDS=1", "-DAIOS_SYSTEM_HABITS=aios::test::kNetbsd"]
# How many commits back a file counts as changed.
RECENT = 10


def git(*arguments):
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return result.stdout.splitlines()


def by_need(files):
    """The files, those first that changed lately."""
    commits = git("rev-list", f"--max-count={RECENT}", "HEAD")
    changed = set(git("diff", "--name-only", commits[-1])) if commits else set()
    # A changed header shows in the file of the same name, if there is one.
    stems = {os.path.splitext(path)[0] for path in changed}
    return sorted(files, key=lambda path: os.path.splitext(path)[0] not in stems)


def check(path, deadline):
    """Returns what clang-tidy says about a file, or None if there was no time."""
    if time.monotonic() > deadline:
        return None
    result = subprocess.run(["clang-tidy", "--quiet", path, "--", *FLAGS],
                            capture_output=True, text=True, check=False)
    # Its standard error counts the warnings that it suppressed; unless it could not run at all.
    return result.stdout + (result.stderr if result.returncode and not result.stdout else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    files = by_need(options.files or
                    [path for path in git("ls-files", "--", "*.cc") if os.path.exists(path)])
    found = left_out = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for said in pool.map(lambda path: check(path, deadline), files):
            left_out += said is None
            if said:
                found += 1
                print(said, flush=True)
    print(f"clang-tidy: {len(files) - left_out} files, {found} with findings"
          + (f", {left_out} left out for lack of time" if left_out else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
