#!/usr/bin/env python3
"""The list of planted bugs, tools/mutants/mutants.txt, and how tools/mutants/mutants.py reads it."""

import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint", "tools/mutants"]
import case_report  # pylint: disable=wrong-import-position
import mutants  # pylint: disable=wrong-import-position

# A link to the file in the source tree; the tree is around it.
TREE = os.path.dirname(os.path.realpath("WORKSPACE"))


def read(file):
    with open(os.path.join(TREE, file), encoding="utf-8") as stream:
        return stream.read()


class List(unittest.TestCase):
    def setUp(self):
        self.mutants = mutants.parse(read(mutants.LIST))

    def test_each_can_be_planted(self):
        for mutant in self.mutants:
            with self.subTest(mutant.name):
                changed = mutants.plant(mutant, read)
                self.assertTrue(changed)
                for file, text in changed.items():
                    self.assertTrue(file.startswith("aios/"), file)
                    self.assertNotEqual(text, read(file))

    def test_there_are_many_in_many_places(self):
        self.assertGreaterEqual(len(self.mutants), 40)
        files = {hunk.file for mutant in self.mutants for hunk in mutant.hunks}
        self.assertGreaterEqual(len(files), 20)


class Planting(unittest.TestCase):
    SOURCE = "int f() {\n  return g(a, b);\n}\nint h;\n"

    def plant(self, text):
        mutant, = mutants.parse("Words.\n" + text)
        return mutants.plant(mutant, lambda file: self.SOURCE)

    def test_white_space_may_run_otherwise(self):
        changed = self.plant("== one\nIt is.\n-- x.cc\nreturn g(a,\n         b);\n-- becomes\nreturn 1;\n")
        self.assertEqual(changed, {"x.cc": "int f() {\n  return 1;\n}\nint h;\n"})

    def test_two_places(self):
        changed = self.plant("== one\nIt is.\n-- x.cc\nint h;\n-- becomes\n-- x.cc\na, b\n-- becomes\nint h;\n")
        self.assertEqual(changed["x.cc"], "int f() {\n  return g(int h;);\n}\n\n")

    def test_mistakes(self):
        for text, told in (
                ("== one\nIt is.\n-- x.cc\nnowhere\n-- becomes\nx\n", "0 times"),
                ("== one\nIt is.\n-- x.cc\nint\n-- becomes\nx\n", "2 times"),
                ("== one\nIt is.\n-- x.cc\nint  h;\n-- becomes\nint h ;\n", "changes nothing"),
                ("== one\nIt is.\n-- x.cc\nf() {\n-- becomes\n\n-- x.cc\n{ return\n-- becomes\n\n", "overlap"),
                ("== one\nIt is\n-- x.cc\nint h;\n-- becomes\nx\n", "does not say"),
                ("== o-e\nIt is.\n-- x.cc\nint h;\n-- becomes\nx\n", "no name"),
                ("== one\nIt is.\n-- x.cc\nint h;\n", "needs"),
                ("== one\nIt is.\n-- x.cc\nint h;\n-- x.cc\nx\n", "then"),
        ):
            with self.subTest(text):
                with self.assertRaisesRegex(mutants.Mistake, told):
                    self.plant(text)
        twice = "== one\nIt is.\n-- x.cc\nint h;\n-- becomes\nx\n" * 2
        with self.assertRaisesRegex(mutants.Mistake, "two called one"):
            mutants.parse(twice)


if __name__ == "__main__":
    case_report.main()
