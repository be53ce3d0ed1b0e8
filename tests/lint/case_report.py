"""Runs the unittest cases of a script and reports each to Bazel as a case of its own."""

import os
import sys
import time
import unittest
import xml.etree.ElementTree as etree


class _Result(unittest.TextTestResult):
    """Notes each case as an element of Bazel's test.xml."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.suite = etree.Element("testsuite", name="python")

    def startTest(self, test):
        super().startTest(test)
        suite, name = test.id().split(".")[-2:]
        self.started = time.monotonic()
        self.case = etree.SubElement(self.suite, "testcase", classname=suite, name=name)

    def stopTest(self, test):
        self.case.set("time", f"{time.monotonic() - self.started:.3f}")
        super().stopTest(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        etree.SubElement(self.case, "failure", message=str(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        # A class or module that could not be set up fails without being started.
        if not hasattr(self, "case"):
            self.case = etree.SubElement(self.suite, "testcase", classname="setup", name=str(test))
        etree.SubElement(self.case, "error", message=f"{err[0].__name__}: {err[1]}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        etree.SubElement(self.case, "skipped", message=reason)


def main():
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=_Result)
    result = unittest.main(testRunner=runner, exit=False).result
    path = os.environ.get("XML_OUTPUT_FILE")
    if path:
        suites = etree.Element("testsuites")
        suites.append(result.suite)
        etree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
    sys.exit(not result.wasSuccessful())
