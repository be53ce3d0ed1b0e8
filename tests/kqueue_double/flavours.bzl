"""The flavours of the kqueue double: how the systems that have kqueue differ."""

load("@rules_cc//cc:cc_library.bzl", "cc_library")

# By name: how its system differs from the neutral one, in what the headers say and in what they do
# not. Which systems are like that is in docs/portability.md.
_FLAVOURS = {
    "neutral": {},
    "freebsd": {
        "AIOS_KQUEUE_OVERWRITES_UDATA": 1,
        "AIOS_SYSTEM_HABITS": "aios::test::kFreebsd",
    },
    "macos": {
        "AIOS_KQUEUE_OVERWRITES_UDATA": 1,
        "AIOS_KQUEUE_ERRORS_KEEP_FLAGS": 1,
        "AIOS_SYSTEM_HABITS": "aios::test::kMacos",
        "AIOS_SYSTEM_HAS_SOCKET_FLAGS": 0,
        "AIOS_SYSTEM_HAS_ACCEPT4": 0,
        "AIOS_SYSTEM_HAS_MSG_NOSIGNAL": 0,
        "AIOS_ACCEPT_DROPS": 1,
    },
    "netbsd": {
        "AIOS_KQUEUE_HAS_USER_FILTER": 0,
        "AIOS_KQUEUE_HAS_INTEGER_UDATA": 1,
        "AIOS_KQUEUE_TICK_NANOSECONDS": 10000000,
        "AIOS_SYSTEM_HABITS": "aios::test::kNetbsd",
        "AIOS_SYSTEM_HAS_ACCEPT4": 0,
    },
}

_NEUTRAL = {
    "AIOS_KQUEUE_HAS_USER_FILTER": 1,
    "AIOS_KQUEUE_HAS_INTEGER_UDATA": 0,
    "AIOS_KQUEUE_OVERWRITES_UDATA": 0,
    "AIOS_KQUEUE_ERRORS_KEEP_FLAGS": 0,
    "AIOS_KQUEUE_TICK_NANOSECONDS": 1,
    "AIOS_SYSTEM_HAS_SOCKET_FLAGS": 1,
    "AIOS_SYSTEM_HAS_ACCEPT4": 1,
    "AIOS_SYSTEM_HAS_MSG_NOSIGNAL": 1,
}

FLAVOURS = sorted(_FLAVOURS)

# The neutral one has the sockets of this system.
FLAVOURS_WITH_SOCKETS = [
    flavour
    for flavour in FLAVOURS
    if "AIOS_SYSTEM_HABITS" in _FLAVOURS[flavour]
]

def flavour_defines(name):
    """Returns the macros that say what the system of a flavour is like.

    Args:
      name: the flavour.

    Returns:
      The macros, as `local_defines` takes them.
    """
    values = dict(_NEUTRAL, AIOS_KQUEUE_FLAVOUR = name, **_FLAVOURS[name])
    return ["%s=%s" % item for item in sorted(values.items())]

def kqueue_kernel_over_double(name, flavour, srcs, **attrs):
    """Defines the kqueue kernel as it is in backends/, over a flavour of the double.

    Args:
      name: of the target.
      flavour: one of FLAVOURS.
      srcs: the sources of the flavour.
      **attrs: as of every cc_library.
    """
    deps = [
        ":kqueue_double",
        ":sys_event",
        "//aios:address",
        "//aios:error",
        "//aios:kernel",
        "//backends:kqueue_filters",
        "//backends:posix_socket",
    ]

    # One program may hold them all.
    defines = flavour_defines(flavour) + ["KqueueKernel=KqueueKernel_" + flavour]

    if flavour in FLAVOURS_WITH_SOCKETS:
        defines = defines + ["%s=%s_%s" % (symbol, symbol, flavour) for symbol in [
            "FromNative",
            "FromNativeIpv6",
            "PosixKernel",
            "ToNative",
            "ToNativeIpv6",
        ]]
        cc_library(
            name = name + "_sockets",
            testonly = True,
            srcs = ["//backends:posix_socket.cc"],
            copts = ["-include", "tests/kqueue_double/socket_calls.h"],
            local_defines = defines + ["AIOS_SOCKETS_OF_LINUX=0"],
            deps = deps + [":socket_calls"],
        )
        deps = deps + [name + "_sockets"]

    cc_library(
        name = name,
        testonly = True,
        srcs = srcs + [
            "//backends:kqueue_kernel.cc",
            "//backends:kqueue_kernel.h",
        ],
        local_defines = defines,
        deps = deps,
        **attrs
    )
