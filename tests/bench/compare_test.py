#!/usr/bin/env python3
"""The comparison measures what it says, and fails on counts alone."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint", "bench"]
import case_report  # pylint: disable=wrong-import-position
import report  # pylint: disable=wrong-import-position

CONTESTANTS = ("epoll", "epoll_twin", "epoll_edge", "aios")


def compare(*arguments):
    return subprocess.run(["bench/compare.py", *arguments], capture_output=True, text=True,
                          check=False)


class Compare(unittest.TestCase):
    def test_the_floor_and_aios_in_every_scenario(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            done = compare("--rounds=1", "--scale=0.001", "--no_instructions", "--check",
                           "--measure=times,counts,memory",
                           "--contestants=" + ",".join(CONTESTANTS), f"--json={path}")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            again = compare(f"--read_json={path}")
        self.assertEqual(again.stdout, done.stdout)
        self.assertEqual(sorted(found["scenarios"]), sorted(found["results"]))
        for scenario, results in found["results"].items():
            # What is only counted needs no twin.
            self.assertLessEqual({"epoll", "epoll_edge", "aios"}, set(results), scenario)
            self.assertIn(found["scenarios"][scenario]["what"], done.stdout)
        counted = found["results"]["ping_pong_1_64"]["epoll"]
        if "uncounted" in counted:
            self.skipTest(counted["uncounted"])
        self.assertEqual(counted["calls"], 3)
        self.assertEqual(counted["calls_by_name"], {"epoll_wait": 1, "recvfrom": 1, "sendto": 1})

    def test_instructions_are_the_same_every_time(self):
        counts = []
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            for _ in range(2):
                done = compare("--measure=counts", "--contestants=epoll", "--scenarios=udp_1",
                               f"--json={path}")
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(path, encoding="utf-8") as file:
                    counted = json.load(file)["results"]["udp_1"]["epoll"]
                if "uncounted" in counted:
                    self.skipTest(counted["uncounted"])
                counts.append(counted["instructions"])
        self.assertGreater(counts[0], 20)
        # What they do is the same; what wakes them when is the machine's.
        self.assertAlmostEqual(counts[0], counts[1], delta=counts[0] / 5)

    def test_urgent_programs_are_timed_as_well(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            done = compare("--measure=times", "--urgent", "--rounds=2", "--scale=0.01",
                           "--contestants=epoll,aios", "--scenarios=ping_pong_1_64,churn",
                           f"--json={path}")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)["results"]
        for scenario in ("ping_pong_1_64", "churn"):
            for contestant in ("epoll", "aios"):
                times = found[scenario][contestant]["cpu_us"]
                self.assertEqual(len(times), 2)
                self.assertGreater(min(times), 0)

    def test_bad_options_are_refused(self):
        for argument in ("--rounds=0", "--scale=0", "--scenarios=none", "--contestants=none",
                         "--measure=none", "--what", "--page=none.md"):
            self.assertEqual(compare(argument).returncode, 2, argument)


class Goals(unittest.TestCase):
    @staticmethod
    def results(**measured):
        """`measured`: of a scenario, results by contestant."""
        return {"machine": "a machine", "options": {"rounds": 3},
                "scenarios": {name: {"what": name, "service": "echo", "floor": "epoll"}
                              for name in measured},
                "results": measured, "inside": {}, "note": ""}

    def test_times_are_medians_beside_the_floor_and_the_best_peer(self):
        found = report.goals(self.results(ping_pong_50_64={
            "epoll": {"cpu_us": [4.0, 1.0, 2.0]}, "epoll_twin": {"cpu_us": [2.2]},
            "libuv": {"cpu_us": [8.0]}, "libevent": {"cpu_us": [4.0]},
            "aios": {"cpu_us": [2.0, 3.0, 100.0]}}))
        self.assertEqual([(goal.value, goal.limit) for goal in found],
                         [(1.5, 1.05), (0.75, 1.1)])

    def test_what_was_not_measured_has_no_goal(self):
        self.assertEqual(report.goals(self.results(churn={"epoll": {"cpu_us": [1.0]}})), [])
        self.assertEqual(report.goals(self.results(churn={"aios": {"calls": 11.0}})),
                         [report.Goal("calls", "churn: kernel calls", 11.0, 10)])

    def test_the_table_has_a_line_for_each_and_ratios(self):
        text = report.table(self.results(ready_16={
            "epoll": {"calls": 2.0, "instructions": 50.0},
            "aios": {"calls": 4.0, "instructions": 175.0}}))
        lines = text.splitlines()
        self.assertEqual(lines[-3].split(), ["contestant", "calls", "x", "instr.", "x"])
        self.assertEqual(lines[-1].split(), ["aios", "4.000", "2.00", "175", "3.50"])

    def test_the_page_keeps_what_is_around_the_tables(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
            results = self.results(churn={"epoll": {"cpu_us": [2.0]}, "aios": {"cpu_us": [3.0]}})
            for _ in range(2):
                report.write_page(results, path)
                with open(path, encoding="utf-8") as file:
                    page = file.read()
                self.assertTrue(page.startswith("before\n" + report.BEGIN), page)
                self.assertTrue(page.endswith(report.END + "\nafter\n"), page)
                self.assertNotIn("old", page)
                self.assertIn("| churn | 2.00 | **1.50** |", page)

    def test_timers_and_posts_beside_the_others(self):
        results = self.results()
        results["inside"] = {
            "timer_bench": {"Arm<Aios>/1000000": [12.0], "Arm<PlainWheel>/1000000": [4.0]},
            "apply_bench": {"Post<Aios>": [30.0], "Post<Libuv>": [60.0], "Post<Libevent>": [90.0],
                            "Post<Asio>": [20.0]}}
        self.assertEqual([(goal.value, goal.limit) for goal in report.goals(results)],
                         [(3, 5), (1.5, 1.3)])


if __name__ == "__main__":
    case_report.main()
