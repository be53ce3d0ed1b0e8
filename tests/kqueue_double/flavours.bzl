"""The flavours of the kqueue double: how the systems that have kqueue differ."""

load("@rules_cc//cc:cc_library.bzl", "cc_library")

# By name: what its sys/event.h and its behaviour are. Which systems are like that is in
# docs/portability.md.
_FLAVOURS = {
    "user": [],
    "pipe": ["AIOS_KQUEUE_HAS_USER_FILTER=0"],
    "integer": ["AIOS_KQUEUE_HAS_INTEGER_UDATA=1"],
    "overwriting": ["AIOS_KQUEUE_OVERWRITES_UDATA=1"],
}

FLAVOURS = sorted(_FLAVOURS)

def flavour_defines(name):
    """Returns the macros with which code that includes <sys/event.h> is compiled.

    Args:
      name: the flavour.

    Returns:
      The macros, as `local_defines` takes them.
    """
    defaults = [
        "AIOS_KQUEUE_HAS_USER_FILTER=1",
        "AIOS_KQUEUE_HAS_INTEGER_UDATA=0",
        "AIOS_KQUEUE_OVERWRITES_UDATA=0",
    ]
    chosen = _FLAVOURS[name]
    macros = [define.partition("=")[0] for define in chosen]
    return chosen + ["AIOS_KQUEUE_FLAVOUR=" + name] + [
        define
        for define in defaults
        if define.partition("=")[0] not in macros
    ]

def kqueue_kernel_over_double(name, flavour, posix_socket, srcs, **attrs):
    """Defines the kqueue kernel as it is in backends/, over a flavour of the double.

    Args:
      name: of the target.
      flavour: one of FLAVOURS.
      posix_socket: the label of the socket calls to build it on.
      srcs: the sources of the flavour.
      **attrs: as of every cc_library.
    """
    cc_library(
        name = name,
        testonly = True,
        srcs = srcs + [
            "//backends:kqueue_kernel.cc",
            "//backends:kqueue_kernel.h",
        ],
        # One program may hold them all.
        local_defines = flavour_defines(flavour) + ["KqueueKernel=KqueueKernel_" + flavour],
        deps = [
            ":kqueue_double",
            ":sys_event",
            posix_socket,
            "//aios:error",
            "//aios:kernel",
            "//backends:kqueue_filters",
        ],
        **attrs
    )
