#!/usr/bin/env python3
"""Plants small bugs in aios/, one at a time, and prints who finds each.

  tools/mutants/mutants.py [FLAG...] [NAME...]    all, or those with these names (as in a shell: read_*)

    --list             prints the names and what is wrong, and ends
    --seeds=N          of the searching simulations (default 200)
    --enough=N         the search of a bug stops when it was found in so many of them (default 3)
    --suites=WHEN      runs the tests: "never", "unfound" (default: when the search finds nothing), "always"
    --table=FILE       keeps the table in a file, too: each line as soon as it is known. Bugs of which the
                       file has a line already are not run again.
    --jobs=N           processes of the search at a time (default 2)

The bugs are in mutants.txt. They are planted in a copy of the sources, in a folder of its own that is
kept for the next time (below $XDG_CACHE_HOME, or ~/.cache): the sources are never changed, whatever
happens. Each is built there, with Bazel; then //tests/search:search runs simulations that expect
nothing, in which only the simulation's own checks judge. The tests stop at the first that fails.

Ends with 0 when every bug was found, 1 when one was not, 2 when something could not be done.
"""

import collections
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIST = "tools/mutants/mutants.txt"

SEARCH = "//tests/search:search"
# Those that say most about aios, in the order in which they are asked; the first that fails ends it.
SUITES = [
    ["//tests/core/..."],
    ["//tests/scenarios/...", "//tests/search/...", "//tests/sim/..."],
    ["//tests/conformance/...", "//tests/ending/..."],
    ["//tests/names/...", "//tests/name_server/..."],
    ["//tests:all", "//tests/counts/...", "//tests/programs/..."],
]

Mutant = collections.namedtuple("Mutant", ["name", "about", "hunks"])
Hunk = collections.namedtuple("Hunk", ["file", "old", "new"])


class Mistake(Exception):
    """Of the list, or of the command line."""


# ---- The list.


def parse(text):
    """Reads mutants.txt: after an introduction, for each mutant

      == name
      A sentence that says what is wrong.
      -- aios/file.cc
      text of the file
      -- becomes
      what stands there instead
    """
    mutants = []
    for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        head, *pieces = re.split(r"^-- ", part, flags=re.MULTILINE)
        name, _, about = head.partition("\n")
        name = name.strip()
        about = " ".join(about.split())
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise Mistake(f"{LIST}: \"{name}\" is no name")
        if not about.endswith("."):
            raise Mistake(f"{LIST}: {name} does not say what is wrong, in a sentence")
        if not pieces or len(pieces) % 2 != 0:
            raise Mistake(f"{LIST}: {name} needs, for each place, its text and what it becomes")
        hunks = []
        for old, new in zip(pieces[::2], pieces[1::2]):
            file, _, old = old.partition("\n")
            word, _, new = new.partition("\n")
            if word.strip() != "becomes" or not old.split():
                raise Mistake(f"{LIST}: {name}: \"-- FILE\" and a text, then \"-- becomes\" and one")
            hunks.append(Hunk(file.strip(), old, new))
        mutants.append(Mutant(name, about, hunks))
    names = [mutant.name for mutant in mutants]
    for name in names:
        if names.count(name) != 1:
            raise Mistake(f"{LIST}: there are two called {name}")
    return mutants


def plant(mutant, read):
    """Returns the changed text of each file of a mutant. `read` gives the text of a file.

    White space may run in any way: what clang-format has moved is found all the same.
    """
    # All places are found in the text as it is: what one becomes may contain another.
    texts = {}
    places = collections.defaultdict(list)
    for hunk in mutant.hunks:
        if hunk.file not in texts:
            texts[hunk.file] = read(hunk.file)
        pattern = r"\s*".join(re.escape(token) for token in tokens(hunk.old))
        found = list(re.finditer(pattern, texts[hunk.file]))
        if len(found) != 1:
            raise Mistake(f"{LIST}: {mutant.name}: its text is {len(found)} times in {hunk.file}, "
                          f"not once:\n{hunk.old}")
        places[hunk.file].append((found[0].start(), found[0].end(), hunk.new.rstrip("\n")))
    changed = {}
    for file, text in texts.items():
        end = len(text) + 1
        planted = text
        for begin, stop, new in sorted(places[file], reverse=True):
            if stop > end:
                raise Mistake(f"{LIST}: {mutant.name}: two of its texts overlap in {file}")
            planted = planted[:begin] + new.strip() + planted[stop:]
            end = begin
        if tokens(planted) == tokens(text):
            raise Mistake(f"{LIST}: {mutant.name} changes nothing in {file}")
        changed[file] = planted
    return changed


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text)


# ---- The copy of the sources.


class Copy:
    def __init__(self, root):
        self.root = root
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        key = hashlib.sha256(root.encode()).hexdigest()[:12]
        self.folder = os.path.join(cache, "aios_mutants", key)

    def update(self):
        """Makes it what the sources are now. Files that are the same stay untouched."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
        files = {file for file in listed if file and os.path.isfile(os.path.join(self.root, file))}
        user = ".bazelrc.user"
        if os.path.isfile(os.path.join(self.root, user)):
            files.add(user)
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
            for name in names:
                path = os.path.join(folder, name)
                if os.path.relpath(path, self.folder) not in files and not os.path.islink(path):
                    os.remove(path)
        for file in sorted(files):
            source = os.path.join(self.root, file)
            target = os.path.join(self.folder, file)
            with open(source, "rb") as stream:
                wanted = stream.read()
            if self.bytes_of(target) == wanted:
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as stream:
                stream.write(wanted)
            shutil.copymode(source, target)

    @staticmethod
    def bytes_of(path):
        try:
            with open(path, "rb") as stream:
                return stream.read()
        except OSError:
            return None

    def read(self, file):
        with open(os.path.join(self.folder, file), encoding="utf-8") as stream:
            return stream.read()

    def write(self, texts):
        for file, text in texts.items():
            with open(os.path.join(self.folder, file), "w", encoding="utf-8") as stream:
                stream.write(text)


# ---- Running.


class Run:
    def __init__(self, copy, seeds, enough, jobs):
        self.copy = copy
        self.seeds = seeds
        self.enough = enough
        self.jobs = jobs

    def bazel(self, command, *arguments):
        # Its server there is of no use to anybody else.
        return subprocess.run(
            ["bazel", "--max_idle_secs=60", command, "--noshow_progress", *arguments],
            cwd=self.copy.folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            errors="replace")

    def build(self):
        built = self.bazel("build", SEARCH)
        if built.returncode != 0:
            raise Mistake(f"it cannot be built:\n{built.stdout}")

    def search(self):
        """Returns what the lines say that the search prints, and all of its text."""
        scenarios = sorted(
            os.path.join("sim/scenarios", name)
            for name in os.listdir(os.path.join(self.copy.folder, "sim/scenarios")))
        program = os.path.join(self.copy.folder, "bazel-bin/tests/search/search")
        ran = subprocess.run(
            [program, f"--seeds=1..{self.seeds}", f"--enough={self.enough}", f"--jobs={self.jobs}",
             *scenarios],
            cwd=self.copy.folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace")
        found = re.findall(r"^(\w+): (\d+) of (\d+) seeds(?:: (.*))?$", ran.stdout, re.MULTILINE)
        if ran.returncode not in (0, 1) or not found:
            raise Mistake(f"the search went wrong:\n{ran.stdout}")
        return found, ran.stdout

    def suites(self):
        """The first test that fails; none when all pass."""
        for targets in SUITES:
            ran = self.bazel("test", "--notest_keep_going", "--test_output=errors", "--", *targets)
            if ran.returncode == 0:
                continue
            failed = re.search(r"^(//\S+)\s.*(?:FAILED|TIMEOUT)", ran.stdout, re.MULTILINE)
            if failed is None:
                if "error:" in ran.stdout:
                    return "the compiler"
                raise Mistake(f"the tests could not be run:\n{ran.stdout}")
            case = re.search(r"^\[  FAILED  \] ([\w./]+)", ran.stdout, re.MULTILINE)
            return failed[1] + (f" {case[1]}" if case else "")
        return None


def cells(found):
    """How the table tells what the search has found: the rules, and in how many seeds of how many."""
    for what, number, of, rules in found:
        if int(number):
            names = re.sub(r" \d+", "", rules)
            return [names, f"{number} of {of}" + (" scenarios" if what == "scenarios" else "")]
    return ["", "0"]


HEADER = ["mutant", "file", "rule", "seeds", "else", "s"]


def line(columns):
    return "| " + " | ".join(columns) + " |"


def read_table(path):
    """The lines of an earlier run, by name."""
    lines = {}
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            for text in stream:
                columns = [column.strip() for column in text.strip().strip("|").split("|")]
                if len(columns) == len(HEADER) and columns[0].startswith("`"):
                    lines[columns[0]] = columns
    return lines


def write_table(path, lines):
    if not path:
        return
    text = "\n".join([line(HEADER), line(["---"] * len(HEADER))] + [line(each) for each in lines]) + "\n"
    with open(path + ".part", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".part", path)


def main(arguments):
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    flags = {"--seeds": "200", "--enough": "3", "--suites": "unfound", "--table": "", "--jobs": "2"}
    only_list = "--list" in arguments
    patterns = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in flags:
            flags[name] = value
        elif argument.startswith("-") and argument != "--list":
            raise Mistake(f"there is no flag {argument}; --help tells")
        elif argument != "--list":
            patterns.append(argument)
    if flags["--suites"] not in ("never", "unfound", "always"):
        raise Mistake("--suites is never, unfound or always")
    seeds, enough, jobs = (int(flags[name]) for name in ("--seeds", "--enough", "--jobs"))

    with open(os.path.join(ROOT, LIST), encoding="utf-8") as stream:
        mutants = parse(stream.read())
    for pattern in patterns:
        if not fnmatch.filter([mutant.name for mutant in mutants], pattern):
            raise Mistake(f"no mutant is called {pattern}; --list tells")
    if patterns:
        mutants = [mutant for mutant in mutants
                   if any(fnmatch.fnmatch(mutant.name, pattern) for pattern in patterns)]
    if only_list:
        for mutant in mutants:
            print(f"{mutant.name}: {mutant.about}")
        return 0

    copy = Copy(ROOT)
    copy.update()
    planted = {mutant.name: plant(mutant, copy.read) for mutant in mutants}
    run = Run(copy, seeds, enough, jobs)
    print(f"building the sources as they are, in {copy.folder}", flush=True)
    run.build()
    found, text = run.search()
    if any(int(number) for _, number, _, _ in found):
        raise Mistake(f"the search finds something in the sources as they are:\n{text}")

    earlier = read_table(flags["--table"])
    lines = []
    rest = list(earlier.values())
    for number, mutant in enumerate(mutants, 1):
        begin = time.monotonic()
        progress = f"{number}/{len(mutants)} {mutant.name}"
        name = f"`{mutant.name}`"
        if name in earlier:
            lines.append(earlier[name])
            rest.remove(earlier[name])
            print(f"{progress}: as before", flush=True)
            continue
        before = {file: copy.read(file) for file in planted[mutant.name]}
        try:
            copy.write(planted[mutant.name])
            run.build()
            found, text = run.search()
            by_search = any(int(count) for _, count, _, _ in found)
            by_test = ""
            if flags["--suites"] == "always" or (flags["--suites"] == "unfound" and not by_search):
                by_test = run.suites() or "NOBODY"
        finally:
            copy.write(before)
        seconds = f"{time.monotonic() - begin:.0f}"
        files = ", ".join(sorted({os.path.basename(hunk.file) for hunk in mutant.hunks}))
        lines.append([name, files, *cells(found), by_test, seconds])
        write_table(flags["--table"], lines + rest)
        print(f"{progress}: {lines[-1][2]}; {lines[-1][3]}; {by_test or '-'} ({seconds} s)", flush=True)
        for told in text.splitlines():
            if told.startswith("  seed"):
                print(f"    {told.strip()[:200]}", flush=True)

    print()
    for columns in [HEADER, ["---"] * len(HEADER)] + lines:
        print(line(columns))
    by_search = sum(1 for columns in lines if columns[2])
    unfound = [columns[0] for columns in lines if not columns[2] and columns[4] in ("", "NOBODY")]
    print(f"\n{by_search} of {len(lines)} found by the simulation's own checks"
          + (f"; not found: {', '.join(unfound)}" if unfound else ""))
    return 1 if unfound else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Mistake as mistake:
        print(f"mutants: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(2)
