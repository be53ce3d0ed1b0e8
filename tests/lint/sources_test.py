#!/usr/bin/env python3
"""Runs each check of tools/lint/check_sources.py on the sources that this test was built from."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint", "tools/lint"]
import case_report  # pylint: disable=wrong-import-position
import check_sources  # pylint: disable=wrong-import-position

# A link to the file in the source tree; the tree is around it.
TREE = check_sources.Tree(os.path.dirname(os.path.realpath("WORKSPACE")))


class Sources(unittest.TestCase):
    def test_tree_is_the_source_tree(self):
        self.assertIn("tests/lint/sources_test.py", TREE.files)


def case(check):
    def run(self):
        found = check_sources.findings(TREE, check)
        if found:
            self.fail("\n".join(f"{f.path}:{f.line}: {f.message}" for f in found))
    return run


for name in check_sources.CHECKS:
    setattr(Sources, "test_" + name, case(name))

if __name__ == "__main__":
    case_report.main()
