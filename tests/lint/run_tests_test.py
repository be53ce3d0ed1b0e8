#!/usr/bin/env python3
"""The summary of tools/test counts what ran: every case once, nothing that did not run."""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint", "tools"]
import case_report  # pylint: disable=wrong-import-position
import run_tests  # pylint: disable=wrong-import-position

GTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5" failures="1" disabled="1" errors="0" time="0.1" name="AllTests">
  <testsuite name="S" tests="5">
    <testcase name="A" status="run" result="completed" time="0." classname="S" />
    <testcase name="B" status="run" result="completed" time="0." classname="S">
      <failure message="b.cc:2&#x0A;wrong" type=""><![CDATA[b.cc:2
wrong]]></failure>
      <failure message="b.cc:3&#x0A;worse" type=""/>
    </testcase>
    <testcase name="C" status="run" result="skipped" time="0." classname="S">
      <skipped message="c.cc:9&#x0A;no IPv6"/>
    </testcase>
    <testcase name="DISABLED_D" status="notrun" result="suppressed" time="0." classname="S"/>
    <testcase name="E" status="run" result="completed" time="0." classname="S" />
  </testsuite>
</testsuites>"""
GTEST_PASSED = '<testsuites><testsuite><testcase name="A" classname="S"/></testsuite></testsuites>'
# What Bazel writes for a program that writes no XML.
BAZEL_FAILED = """<testsuites><testsuite name="tests/x" tests="1" errors="1">
  <testcase name="tests/x" status="run" duration="0" time="0">
    <error message="exited with error code 134"></error></testcase>
  <system-out>log</system-out></testsuite></testsuites>"""
BAZEL_PASSED = """<testsuites><testsuite name="tests/x" tests="1" errors="0">
  <testcase name="tests/x" status="run" duration="0" time="0"></testcase></testsuite></testsuites>"""
LOG = "exec pager\nExecuting tests from //tests:x\n" + "-" * 77 + "\nfirst\nlast\n"


class Summary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.files = 0
        self.events = []

    def file(self, text):
        self.files += 1
        path = os.path.join(self.folder, f"{self.files} file")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return "file://" + path.replace(" ", "%20")

    def ran(self, label, status, xml, log="", **key):
        key = {"label": label, "run": 1, "shard": 1, **key}
        self.announced(key)
        outputs = [{"name": "test.log", "uri": self.file(log)}]
        if xml is not None:
            outputs.append({"name": "test.xml", "uri": self.file(xml)})
        self.events.append({
            "id": {"testResult": {"attempt": 1, **key}},
            "testResult": {"status": status, "testAttemptDurationMillis": "1500",
                           "testActionOutput": outputs}})

    def announced(self, key):
        self.completed(key["label"], completed={"success": True},
                       children=[{"testResult": key}, {"testSummary": {"label": key["label"]}}])

    def completed(self, label, **content):
        self.events.append({"id": {"targetCompleted": {"label": label}}, **content})

    def counts(self):
        targets = run_tests.targets_of_events(self.events)
        self.text = run_tests.summary(targets)
        self.last = self.text.splitlines()[-1]
        return [run_tests.count(targets, outcome) for outcome in ("passed", "failed", "skipped")]

    def test_cases_of_googletest(self):
        self.ran("//tests:x", "FAILED", GTEST)
        self.assertEqual(self.counts(), [2, 1, 2])
        self.assertEqual(self.last, "2 passed, 1 failed, 2 skipped")
        self.assertIn("//tests:x  S.B", self.text)
        self.assertIn("worse", self.text)

    def test_skipped_cases_have_their_reason(self):
        self.ran("//tests:x", "PASSED", GTEST)
        self.counts()
        self.assertIn("S.C\n      no IPv6", self.text)
        self.assertIn("S.DISABLED_D\n      disabled", self.text)

    def test_no_word_of_skipped_if_there_are_none(self):
        self.ran("//tests:x", "PASSED", GTEST_PASSED)
        self.counts()
        self.assertEqual(self.last, "1 passed, 0 failed")

    def test_shards_add_up(self):
        self.ran("//tests:x", "PASSED", GTEST_PASSED, shard=1)
        self.ran("//tests:x", "FAILED", GTEST, shard=2)
        self.assertEqual(self.counts(), [3, 1, 2])
        self.assertIn("3.0s  //tests:x", self.text)

    def test_only_the_last_attempt_counts(self):
        self.ran("//tests:x", "FAILED", GTEST, attempt=1)
        self.ran("//tests:x", "PASSED", GTEST_PASSED, attempt=2)
        self.assertEqual(self.counts(), [1, 0, 0])

    def test_a_target_without_cases_is_one(self):
        self.ran("//tests:x", "PASSED", None)
        self.ran("//tests:y", "PASSED", "<testsuites/>")
        self.ran("//tests:z", "PASSED", "no xml")
        self.assertEqual(self.counts(), [3, 0, 0])

    def test_bazels_own_xml_is_one_case(self):
        self.ran("//tests:x", "PASSED", BAZEL_PASSED)
        self.assertEqual(self.counts(), [1, 0, 0])

    def test_a_crash_is_one_failure_with_the_end_of_the_log(self):
        self.ran("//tests:x", "FAILED", BAZEL_FAILED, LOG)
        self.assertEqual(self.counts(), [0, 1, 0])
        self.assertIn("exited with error code 134\n      first\n      last", self.text)
        self.assertNotIn("pager", self.text)

    def test_a_timeout_is_one_failure(self):
        self.ran("//tests:x", "TIMEOUT", None, LOG)
        self.ran("//tests:y", "TIMEOUT", GTEST_PASSED, LOG)
        self.assertEqual(self.counts(), [1, 2, 0])
        self.assertIn("ran out of time", self.text)

    def test_a_failure_after_the_last_case_is_one(self):
        # A leak, for example: all cases passed.
        self.ran("//tests:x", "FAILED", GTEST_PASSED, LOG)
        self.assertEqual(self.counts(), [1, 1, 0])
        self.assertIn("failed outside of its cases", self.text)

    def test_what_does_not_build_is_a_failure(self):
        self.completed("//tests:x", completed={"failureDetail": {"message": "gcc failed"}})
        self.completed("//aios:a", completed={})
        self.completed("//aios:b", completed={"success": True})
        self.assertEqual(self.counts(), [0, 2, 0])
        self.assertIn("gcc failed", self.text)

    def test_what_could_not_be_analysed_is_a_failure(self):
        self.completed("//tests:x", aborted={"reason": "ANALYSIS_FAILURE"})
        self.events.append({"id": {"pattern": {"pattern": ["//nope:x"]}},
                            "aborted": {"description": "no such package"}})
        self.assertEqual(self.counts(), [0, 2, 0])

    def test_a_test_that_was_not_run_is_a_failure(self):
        self.announced({"label": "//tests:x", "run": 1, "shard": 1})
        self.assertEqual(self.counts(), [0, 1, 0])

    def test_a_shard_that_was_not_run_is_a_failure(self):
        self.ran("//tests:x", "PASSED", GTEST_PASSED, shard=1)
        self.announced({"label": "//tests:x", "run": 1, "shard": 2})
        self.assertEqual(self.counts(), [1, 1, 0])

    def test_a_test_that_a_filter_left_out_does_not_count(self):
        self.completed("//tests:x", completed={"success": True})
        self.assertEqual(self.counts(), [0, 0, 0])

    def test_nothing_ran(self):
        self.assertEqual(self.counts(), [0, 0, 0])


if __name__ == "__main__":
    case_report.main()
