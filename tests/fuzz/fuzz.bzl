"""Fuzz targets that are tests as well."""

load("@rules_cc//cc:cc_test.bzl", "cc_test")

def fuzz_test(
        name,
        srcs,
        corpus,
        deps,
        dictionary = None,
        mutations = 50000,
        runs = 500000,
        max_seconds = 30,
        data = [],
        **attrs):
    """Declares a fuzz target: LLVMFuzzerTestOneInput(), given inputs until one fails.

    A normal build needs no libFuzzer: the test replays the corpus and a fixed number of mutations
    of it, the same in every run. With --config=fuzz, the target is linked with libFuzzer, and the
    test is a short search of it. For a long one, which writes failing inputs to the current folder:

        bazel run --config=fuzz //tests/fuzz:NAME -- -runs=-1 -max_total_time=3600 [FOLDER]

    FOLDER (absolute) keeps the inputs that reached something new. `-- FILE` tries one input again,
    as `bazel run //tests/fuzz:NAME -- --corpus=FILE --mutations=0` does without libFuzzer.

    Args:
      name: of the test.
      srcs: sources; one defines LLVMFuzzerTestOneInput().
      corpus: folder in this package, with one input a file.
      deps: libraries.
      dictionary: file in this package with frequent tokens, in libFuzzer's format.
      mutations: number of inputs to try in a normal build.
      runs: number of inputs to try with libFuzzer.
      max_seconds: libFuzzer ends after this time, however many inputs it has tried.
      data: further files needed.
      **attrs: further attributes of cc_test.
    """
    inputs = native.glob([corpus + "/**"])
    if not inputs:
        fail("there is no input in %s" % corpus)
    folder = native.package_name() + "/"
    replay = ["--corpus=" + folder + corpus, "--mutations=%d" % mutations]

    # A fixed seed: a check that others wait for gives one answer. Searches choose their own
    # (-seed=0).
    search = ["--seeds=" + folder + corpus, "-runs=%d" % runs, "-max_total_time=%d" % max_seconds, "-seed=1"]
    if dictionary:
        inputs.append(dictionary)
        replay.append("--dictionary=" + folder + dictionary)
        search.append("-dict=" + folder + dictionary)
    cc_test(
        name = name,
        srcs = srcs,
        args = select({
            "//:fuzzing": search,
            "//conditions:default": replay,
        }),
        data = inputs + data,
        linkopts = select({
            "//:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//:fuzzing": ["//tests/fuzz:libfuzzer_arguments"],
            "//conditions:default": ["//tests/fuzz:replay_main"],
        }),
        **attrs
    )
