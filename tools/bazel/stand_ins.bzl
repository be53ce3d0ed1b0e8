"""What Debian's Bazel lacks to build C++ without a download.

Every Bazel of the 4.x series refers to rules_cc, rules_java, rules_proto and
remote_coverage_tools, even in a workspace of C++ alone, and fetches each from the network unless
the workspace defines it. Debian packages rules_java, rules_proto and platforms. Its rules_cc does
not load under its own Bazel, and remote_coverage_tools is not packaged, so small stand-ins take
their place: the C++ rules are built into Bazel 4, and coverage is not collected here. So are the
shell rules, which newer Bazels have in rules_shell.
"""

def _stand_in_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = %s)\n" % repr(ctx.name))
    for path, content in ctx.attr.files.items():
        ctx.file(path, content)

_stand_in = repository_rule(
    implementation = _stand_in_impl,
    attrs = {"files": attr.string_dict(mandatory = True)},
)

def _hand_on(*rules):
    """Returns the text of a .bzl file of rules that are the ones built into Bazel."""
    return "\n".join([
        "def {rule}(**attrs):\n    native.{rule}(**attrs)\n".format(rule = rule)
        for rule in rules
    ])

# Each rule in a file of its own, as BUILD files load them, and the file that had them all, which
# Bazel's own toolchains load.
_RULES_CC = dict({
    "BUILD.bazel": "",
    "cc/BUILD.bazel": "",
    "cc/defs.bzl": _hand_on(
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_proto_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
        "objc_library",
    ),
}, **{
    "cc/%s.bzl" % rule: _hand_on(rule)
    for rule in ["cc_binary", "cc_import", "cc_library", "cc_test"]
})

_RULES_SHELL = dict({
    "BUILD.bazel": "",
    "shell/BUILD.bazel": "",
}, **{
    "shell/%s.bzl" % rule: _hand_on(rule)
    for rule in ["sh_binary", "sh_library", "sh_test"]
})

_REMOTE_COVERAGE_TOOLS = """
package(default_visibility = ["//visibility:public"])

filegroup(name = "coverage_report_generator")

filegroup(name = "lcov_merger")
"""

# A workspace macro is called once; it has nothing to name.
# buildifier: disable=unnamed-macro
def debian_bazel():
    """Defines what Debian's Bazel would download, unless it is defined already."""
    for name, files in {
        "remote_coverage_tools": {"BUILD.bazel": _REMOTE_COVERAGE_TOOLS},
        "rules_cc": _RULES_CC,
        "rules_shell": _RULES_SHELL,
    }.items():
        if not native.existing_rule(name):
            _stand_in(name = name, files = files)
    for name, path in {
        "platforms": "/usr/share/bazel/platforms",
        "rules_java": "/usr/share/bazel/rules/java",
        "rules_proto": "/usr/share/bazel/rules/proto",
    }.items():
        if not native.existing_rule(name):
            native.local_repository(name = name, path = path)
