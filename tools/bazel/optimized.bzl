"""Programs as their users build them, for what measures or counts what they cost."""

_NO_FRAME_POINTERS = "-fomit-frame-pointer"

# As `--config=opt` does: see .bazelrc.
def _to_optimized_impl(settings, _attr):
    copts = settings["//command_line_option:copt"]
    if _NO_FRAME_POINTERS not in copts:
        copts = copts + [_NO_FRAME_POINTERS]
    return {
        "//command_line_option:compilation_mode": "opt",
        "//command_line_option:copt": copts,
    }

_to_optimized = transition(
    implementation = _to_optimized_impl,
    inputs = ["//command_line_option:copt"],
    outputs = [
        "//command_line_option:compilation_mode",
        "//command_line_option:copt",
    ],
)

def _optimized_binary_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = program,
        target_file = ctx.attr.binary[0][DefaultInfo].files_to_run.executable,
        is_executable = True,
    )
    return [DefaultInfo(executable = program, files = depset([program]))]

optimized_binary = rule(
    implementation = _optimized_binary_impl,
    doc = "The program `binary`, built with optimisation whatever the mode of the build.",
    attrs = {
        "binary": attr.label(executable = True, mandatory = True, cfg = _to_optimized),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    executable = True,
)
