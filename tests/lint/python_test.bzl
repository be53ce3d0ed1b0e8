"""Tests written in Python."""

load("@rules_shell//shell:sh_test.bzl", "sh_test")

def python_test(name, data = [], size = "small", **attrs):
    """A test in the file <name>.py, run by the system's Python 3.

    Not a py_test: Bazel's own Python rules want a toolchain. The file calls case_report.main().

    Args:
      name: the name of the test.
      data: the files that the test reads or imports.
      size: that of the sh_test.
      **attrs: of the sh_test.
    """
    sh_test(
        name = name,
        size = size,
        srcs = [name + ".py"],
        data = data + ["//tests/lint:case_report.py"],
        **attrs
    )
