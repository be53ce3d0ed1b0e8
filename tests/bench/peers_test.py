#!/usr/bin/env python3
"""The servers on other libraries do the same work as the floor and aios."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/bench", "tests/lint"]
import case_report  # pylint: disable=wrong-import-position
from servers_test import SERVERS, Servers  # pylint: disable=wrong-import-position,unused-import


class Peers(unittest.TestCase):
    def test_all_are_there(self):
        self.assertEqual(len(SERVERS), 8)
        self.assertTrue(all(os.path.exists(command[0]) for command in SERVERS))


if __name__ == "__main__":
    case_report.main()
