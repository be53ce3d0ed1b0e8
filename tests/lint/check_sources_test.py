#!/usr/bin/env python3
"""Each check finds what it is there for, and nothing in code that is right."""

import sys
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint", "tools/lint"]
import case_report  # pylint: disable=wrong-import-position
import check_sources  # pylint: disable=wrong-import-position


def found(check, files, exceptions=()):
    """Returns "path:line" of what the check finds in a tree of the files."""
    tree = check_sources.Tree(files=dict(files))
    return [f"{finding.path}:{finding.line}"
            for finding in check_sources.findings(tree, check, exceptions)]


class Layers(unittest.TestCase):
    def finds(self, path, *lines, others=()):
        files = {path: "\n".join(lines) + "\n", **dict(others)}
        return [place.partition(":")[2] for place in found("layers", files)]

    def test_aios_knows_nobody(self):
        for folder in ("backends", "sim", "tests", "bench"):
            self.assertEqual(self.finds("aios/a.h", f'#include "{folder}/b.h"'), ["1"], folder)

    def test_aios_may_know_itself_abseil_and_c_ares(self):
        self.assertEqual(self.finds("aios/a.cc", '#include "aios/a.h"', "#include <string>",
                                    '#include "absl/time/time.h"', '#include "ares.h"'), [])

    def test_aios_knows_no_other_library(self):
        self.assertEqual(self.finds("aios/a.cc", '#include "gtest/gtest.h"', '#include "uv.h"'),
                         ["1", "2"])

    def test_libraries_by_layer(self):
        for path, expected in (("sim/a.cc", []), ("aios/a.cc", ["1"]), ("backends/a.cc", ["1"])):
            self.assertEqual(self.finds(path, '#include "nlohmann/json.hpp"'), expected, path)

    def test_sim_never_knows_backends(self):
        self.assertEqual(self.finds("sim/a.cc", '#include "aios/kernel.h"', '#include "sim/a.h"',
                                    '#include "backends/epoll_kernel.h"'), ["3"])

    def test_backends_never_know_sim(self):
        self.assertEqual(self.finds("backends/a.cc", '#include "aios/kernel.h"',
                                    '#include "sim/a.h"'), ["2"])

    def test_tests_know_all(self):
        self.assertEqual(self.finds("tests/a.cc", '#include "aios/a.h"', '#include "sim/a.h"',
                                    '#include "backends/a.h"', '#include "gtest/gtest.h"'), [])

    def test_examples_show_public_headers_only(self):
        others = {"aios/aios.h": '#include "aios/address.h"\n'}
        self.assertEqual(
            self.finds("examples/a.cc", '#include "aios/aios.h"', '#include "aios/address.h"',
                       '#include "backends/default_kernel.h"', '#include "aios/event_loop.h"',
                       '#include "backends/epoll_kernel.h"', others=others), ["4", "5"])

    def test_our_headers_in_quotes_by_their_whole_path(self):
        others = {"aios/b.h": ""}
        self.assertEqual(self.finds("aios/a.cc", "#include <aios/b.h>", '#include "b.h"',
                                    others=others), ["1", "2"])

    def test_comments_do_not_count(self):
        self.assertEqual(self.finds("aios/a.cc", '// #include "sim/a.h"', "/*",
                                    '#include "sim/a.h"', "*/"), [])

    def test_blanks_in_the_directive_do_not_hide_it(self):
        self.assertEqual(self.finds("aios/a.cc", '  #  include "sim/a.h"'), ["1"])


class Parts(unittest.TestCase):
    def finds(self, path, *headers):
        text = "".join(f'#include "{header}"\n' for header in headers)
        return [place.partition(":")[2] for place in found("parts", {path: text})]

    def test_a_part_knows_those_above_it(self):
        self.assertEqual(self.finds("aios/state/output.cc", "aios/state/output.h",
                                    "aios/state/channel.h", "aios/event_loop.h"), [])

    def test_a_part_knows_none_below_it(self):
        self.assertEqual(self.finds("aios/state/output.cc", "aios/state/replies.h",
                                    "aios/state/state.h", "aios/state/send_lookup.h"),
                         ["1", "2", "3"])

    def test_the_state_knows_all(self):
        self.assertEqual(self.finds("aios/state/events.cc", "aios/state/state.h",
                                    "aios/state/replies.h", "aios/state/send_lookup.h"), [])

    def test_a_file_that_is_no_part_is_found(self):
        self.assertEqual(self.finds("aios/state/more.h"), ["1"])

    def test_what_is_below_states_knows_only_what_is_below_the_loop(self):
        self.assertEqual(self.finds("aios/event_loop.h", "aios/state/output_operation.h",
                                    "aios/state/channel.h"), ["2"])
        self.assertEqual(self.finds("aios/state/output_operation.h", "aios/event_loop.h"), ["1"])

    def test_others_know_what_they_like(self):
        self.assertEqual(self.finds("aios/connect_tcp.cc", "aios/state/state.h"), [])


class Portable(unittest.TestCase):
    def finds(self, line, path="aios/a.cc"):
        return bool(found("portable", {path: line + "\n"}))

    def test_system_headers(self):
        for header in ("sys/socket.h", "unistd.h", "sys/epoll.h", "time.h", "sys/time.h", "poll.h",
                       "netinet/in.h", "fcntl.h", "ctime", "csignal"):
            self.assertTrue(self.finds(f"#include <{header}>"), header)
        for header in ("vector", "cerrno", "chrono", "ares.h"):
            self.assertFalse(self.finds(f"#include <{header}>"), header)

    def test_system_calls(self):
        for call in ("close(fd);", "::close(fd);", "int n = ::recv(fd, p, 1, 0);", "if (send(a, b))",
                     "kqueue();", "epoll_wait(e, p, 1, 0);", "return write (fd, p, n);"):
            self.assertTrue(self.finds(call), call)

    def test_members_are_no_system_calls(self):
        for call in ("kernel->send(x);", "state.close(x);", "Stream::read(x);", "Close(x);",
                     "int socket() const;", "bool disconnect(x);", "on_read(x);"):
            self.assertFalse(self.finds(call), call)

    def test_clocks(self):
        for call in ("clock_gettime(CLOCK_REALTIME, &t);", "std::chrono::steady_clock::now();",
                     "std::chrono::system_clock::now();", "absl::Now();", "gettimeofday(&t, 0);",
                     "time(nullptr);", "std::time(NULL);", "clock();", "absl::GetCurrentTimeNanos()",
                     "using C = std::chrono::high_resolution_clock;"):
            self.assertTrue(self.finds(call), call)
        for call in ("absl::Time time;", "kernel->Now();", "set_time(0);", "deadline.time(0);"):
            self.assertFalse(self.finds(call), call)

    def test_sleeps(self):
        for call in ("std::this_thread::sleep_for(x);", "absl::SleepFor(x);", "usleep(1);",
                     "nanosleep(&a, &b);", "cv.wait_for(lock, x);"):
            self.assertTrue(self.finds(call), call)

    def test_randomness(self):
        for call in ("rand();", "std::rand();", "std::random_device d;", "absl::BitGen g;",
                     "random();", "std::default_random_engine e;"):
            self.assertTrue(self.finds(call), call)
        for call in ("std::mt19937_64 engine(seed);", "operand(1);", "rng.random(3);"):
            self.assertFalse(self.finds(call), call)

    def test_comments_and_strings_do_not_count(self):
        for line in ("// calls close(fd)", 'Log("close(fd) failed");', "/* time(0) */",
                     'R"(close(fd))";', "int million = 1'000'000; // '"):
            self.assertFalse(self.finds(line), line)

    def test_code_between_digit_separators_and_strings_does(self):
        self.assertTrue(self.finds("int a = 1'000; close(fd); int b = 2'000;"))
        self.assertTrue(self.finds('f("a\\"b"); close(fd); f("c");'))

    def test_sim_but_not_backends_and_tests(self):
        self.assertTrue(self.finds("close(fd);", "sim/a.cc"))
        self.assertFalse(self.finds("close(fd);", "backends/a.cc"))
        self.assertFalse(self.finds("close(fd);", "tests/a.cc"))


class Deterministic(unittest.TestCase):
    def finds(self, line, path="sim/a.cc"):
        return bool(found("deterministic", {path: line + "\n"}))

    def test_distributions(self):
        for line in ("std::uniform_int_distribution<int> d;", "std::shuffle(a, b, g);",
                     "absl::Uniform(g, 0, 1);", "absl::Uniform<int>(g, 0, 1);"):
            self.assertTrue(self.finds(line), line)

    def test_containers_without_order(self):
        for line in ("std::unordered_map<int, int> m;", "std::unordered_set<int> s;",
                     "absl::flat_hash_map<int, int> m;", "absl::node_hash_set<int> s;"):
            self.assertTrue(self.finds(line), line)
        self.assertFalse(self.finds("std::map<int, Host*> hosts; absl::btree_map<int, int> m;"))

    def test_order_by_address(self):
        self.assertTrue(self.finds("std::map<Host*, int> m;"))
        self.assertTrue(self.finds("std::set<const Host*> s;"))

    def test_hashes(self):
        self.assertTrue(self.finds("size_t h = std::hash<int>()(x);"))
        self.assertTrue(self.finds("size_t h = absl::HashOf(x);"))

    def test_floating_point(self):
        self.assertTrue(self.finds("double delay = 0;"))
        self.assertTrue(self.finds("static_cast<float>(x)"))
        self.assertFalse(self.finds("bool doubled = false;  // a double"))

    def test_only_where_it_matters(self):
        self.assertFalse(self.finds("std::unordered_set<int> s;", "backends/a.cc"))


class Built(unittest.TestCase):
    def finds(self, build, *paths):
        files = {"aios/BUILD.bazel": build, **{path: "" for path in paths}}
        return found("built", files)

    def test_a_file_that_nothing_builds(self):
        self.assertEqual(self.finds('cc_library(name = "a", srcs = ["a.cc"])', "aios/a.cc",
                                    "aios/b.cc", "aios/a.h"), ["aios/b.cc:1", "aios/a.h:1"])

    def test_a_comment_does_not_build(self):
        self.assertEqual(self.finds('# "a.cc"\n', "aios/a.cc"), ["aios/a.cc:1"])

    def test_a_folder_without_build_file_is_its_parents(self):
        self.assertEqual(self.finds('x(srcs = ["sub/a.cc"])', "aios/sub/a.cc", "aios/sub/b.cc"),
                         ["aios/sub/b.cc:1"])

    def test_globs(self):
        self.assertEqual(self.finds('x(srcs = glob(["*.cc", "s/**/*.h"]))', "aios/a.cc",
                                    "aios/s/t/a.h", "aios/s/a.h", "aios/s/a.cc", "aios/a.h"),
                         ["aios/s/a.cc:1", "aios/a.h:1"])

    def test_no_build_file_at_all(self):
        self.assertEqual(found("built", {"sim/a.cc": ""}), ["sim/a.cc:1"])

    def test_a_label_of_another_package(self):
        files = {"aios/BUILD.bazel": "", "aios/a.h": "",
                 "tests/BUILD.bazel": 'x(data = ["//aios:a.h"])'}
        self.assertEqual(found("built", files), [])


class Guards(unittest.TestCase):
    def test_named_by_the_path(self):
        good = "// A.\n\n#ifndef AIOS_A_B_H_\n#define AIOS_A_B_H_\n#endif\n"
        self.assertEqual(found("guards", {"aios/a_b.h": good}), [])
        self.assertEqual(found("guards", {"aios/a.h": good}), ["aios/a.h:1"])
        self.assertEqual(found("guards", {"aios/a.h": "#pragma once\n"}), ["aios/a.h:1"])

    def test_begins_with_the_project(self):
        good = "#ifndef AIOS_SIM_A_H_\n#define AIOS_SIM_A_H_\n#endif\n"
        self.assertEqual(found("guards", {"sim/a.h": good}), [])


class Packages(unittest.TestCase):
    def test_each_is_installed(self):
        files = {"tools/setup": "build='\nliba-dev: A\nlibb++: B\n'\n# libc-dev\n",
                 "tools/bazel/dependencies.bzl":
                     '_system("a", debian = ["liba-dev", "libb++"])\n'
                     '_system("c", debian = [\n    "libc-dev",\n])\n'}
        self.assertEqual(found("packages", files), ["tools/bazel/dependencies.bzl:3"])


class Text(unittest.TestCase):
    def finds(self, line, path="aios/a.cc"):
        return bool(found("text", {path: line + "\n"}))

    def test_blanks_at_the_end(self):
        self.assertTrue(self.finds("int a; "))
        self.assertTrue(self.finds("\t"))

    def test_open_ends_have_a_name(self):
        for mark in ("TODO", "FIXME", "XXX"):
            self.assertTrue(self.finds(f"// {mark}: later"), mark)
        self.assertFalse(self.finds("// " + "TODO(ann): why this waits"))

    def test_paths_of_one_machine(self):
        for folder in ("work", "root", "home", "tmp/abc"):
            self.assertTrue(self.finds("cd " + "/" + folder + "/aios", "tools/run"), folder)
        for text in ("cd $HOME/work", "https://host/home", "a/root", "mktemp", "/workspace"):
            self.assertFalse(self.finds(text, "tools/run"), text)

    def test_newline_at_the_end(self):
        self.assertEqual(found("text", {"aios/a.cc": "int a;"}), ["aios/a.cc:1"])

    def test_other_files_are_left_alone(self):
        self.assertFalse(self.finds("blank ", "tests/fuzz/corpus/a"))


class Exceptions(unittest.TestCase):
    FILES = {"aios/a.cc": "close(fd);\n::close(fd);\n"}

    def test_excuses_what_it_names(self):
        exception = ("portable", "aios/a.cc", "close(fd)")
        self.assertEqual(found("portable", self.FILES, [exception]), [])

    def test_excuses_nothing_else(self):
        for exception in [("portable", "aios/a.cc", "::close(fd)"),
                          ("layers", "aios/a.cc", "close(fd)")]:
            self.assertIn("aios/a.cc:1", found("portable", self.FILES, [exception]))

    def test_one_that_is_not_needed_is_found(self):
        exception = ("portable", "aios/b.cc", "close(fd)")
        self.assertIn("aios/b.cc:1", found("portable", self.FILES, [exception]))


if __name__ == "__main__":
    case_report.main()
