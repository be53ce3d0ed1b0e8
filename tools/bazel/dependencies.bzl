"""The libraries that aios is built on, taken from the system's package manager.

Their labels are the ones of their Bazel modules, so a workspace that depends on aios may define
any of these repositories itself, before it calls aios_dependencies().
"""

load("//tools/bazel:abseil.bzl", "ABSEIL_TARGETS")
load("//tools/bazel:system_library.bzl", "system_library")

def _system(name, **attrs):
    if not native.existing_rule(name):
        system_library(name = name, **attrs)

def aios_dependencies():
    """Defines the repositories of all libraries that aios, its tests and benchmarks use.

    To add one: one call of _system with the Debian package and, for each label, the pkg-config
    packages behind it. A library without pkg-config file is named by its -l flag and a header:
    _system("libev", debian = ["libev-dev"], headers = ["ev.h"], targets = {":ev": "-lev"}).
    """
    _system("com_google_absl", debian = ["libabsl-dev"], targets = ABSEIL_TARGETS)
    _system(
        "com_google_googletest",
        debian = ["libgtest-dev", "libgmock-dev"],
        # GoogleTest's own build has GoogleMock in both.
        targets = {
            ":gtest": "gmock gtest",
            ":gtest_main": "gmock_main gmock gtest",
        },
    )
    _system(
        "com_github_google_benchmark",
        debian = ["libbenchmark-dev"],
        targets = {
            ":benchmark": "benchmark",
            ":benchmark_main": "-lbenchmark_main benchmark",
        },
    )
    _system(
        "com_github_cares_cares",
        debian = ["libc-ares-dev"],
        targets = {":ares": "libcares"},
    )
    _system(
        "com_github_jbeder_yaml_cpp",
        debian = ["libyaml-cpp-dev"],
        targets = {":yaml-cpp": "yaml-cpp"},
    )
    _system(
        "com_github_nlohmann_json",
        debian = ["nlohmann-json3-dev"],
        targets = {":json": "nlohmann_json"},
    )

    # What //bench:compare measures beside aios; nothing else needs them.
    _system(
        "libuv",
        debian = ["libuv1-dev"],
        targets = {":libuv": "libuv-static"},
    )
    _system(
        "libevent",
        debian = ["libevent-dev"],
        targets = {
            ":event": "libevent_core",
            ":event_pthreads": "libevent_pthreads",
        },
    )
    _system(
        "asio",
        debian = ["libasio-dev"],
        headers = ["asio.hpp"],
        targets = {":asio": ""},
    )
