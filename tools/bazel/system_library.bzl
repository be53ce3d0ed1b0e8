"""Libraries of the system's package manager under the labels of their Bazel modules.

A repository made by `system_library` downloads nothing. It reads the pkg-config files of what is
installed and declares one cc_library for each, with that package's own archive, and what it
requires as dependencies, so that Bazel knows the real graph: every archive appears once on a link
line, in the right order. The labels that users write stand for those.

A repository is only looked at when something that is being built needs it, so a library that
nothing builds need not be installed.
"""

# Longest chain of requirements that is followed; Starlark has no unbounded loops.
_MAX_DEPTH = 100

# Parts of the C library and the compiler: always linked as the toolchain does.
_TOOLCHAIN_LIBRARIES = ["-latomic", "-lc", "-ldl", "-lm", "-lpthread", "-lrt", "-lstdc++"]

def _words(text):
    return [word for word in text.replace("\t", " ").split(" ") if word]

def _missing(ctx, what):
    fail(("@%s needs %s, which is not installed. On Debian: apt-get install %s " +
          "(tools/setup of aios does this).") % (ctx.name, what, " ".join(ctx.attr.debian)))

def _expand(text, variables):
    """Replaces ${name} by its value. Values are expanded already: a file defines before use."""
    for name, value in variables.items():
        text = text.replace("${%s}" % name, value)
    return text

def _required(text):
    """Returns the names in a list of requirements such as "a = 1, b >= 2, c"."""
    names = []
    version_next = False
    for word in _words(text.replace(",", " ")):
        if word[0] in "<>=!":
            version_next = True
        elif version_next:
            version_next = False
        else:
            names.append(word)
    return names

def _parse(ctx, content):
    """Parses the content of a pkg-config file.

    pkg-config could be asked instead, but the version in Debian 12 walks every path through the
    graph of requirements, of which Abseil has so many that the answers take twenty seconds.
    """
    variables = {}
    fields = {}
    for line in content.replace("\\\n", " ").splitlines():
        line = line.partition("#")[0].strip()
        colon = line.find(":")
        equals = line.find("=")
        if equals > 0 and (colon < 0 or equals < colon):
            variables[line[:equals].strip()] = _expand(line[equals + 1:].strip(), variables)
        elif colon > 0:
            fields[line[:colon]] = _expand(line[colon + 1:].strip(), variables)
    requires = _required(fields.get("Requires", ""))
    libs = _words(fields.get("Libs", ""))
    if ctx.attr.static:
        requires += _required(fields.get("Requires.private", ""))
        libs += _words(fields.get("Libs.private", ""))
    return struct(
        requires = requires,
        folders = [word[len("-L"):] for word in libs if word.startswith("-L")],
        libs = [word for word in libs if not word.startswith("-L")],
        cflags = _words(fields.get("Cflags", "")),
    )

def _describe(ctx, roots):
    """Returns the pkg-config packages among `roots` that exist, and all that they require."""
    tool = ctx.which("pkg-config")
    if not tool:
        fail("@%s needs pkg-config, which is not installed. On Debian: apt-get install pkg-config" % ctx.name)
    result = ctx.execute([tool, "--variable=pc_path", "pkg-config"])
    folders = ctx.os.environ.get("PKG_CONFIG_PATH", "") + ":" + result.stdout.strip()
    packages = {}
    seen = {}
    pending = roots
    for _ in range(_MAX_DEPTH):
        following = {}
        for name in pending:
            seen[name] = True
            for folder in folders.split(":"):
                file = ctx.path(folder + "/" + name + ".pc") if folder else None
                if file and file.exists:
                    packages[name] = _parse(ctx, ctx.read(file))
                    following.update([(required, True) for required in packages[name].requires])
                    break
        pending = [name for name in following if name not in seen]
        if not pending:
            break
    return packages

def _library(ctx, name, package, packages):
    """Returns the cc_library of one pkg-config package: its own archives and flags."""
    archives = []
    linkopts = []
    for flag in package.libs:
        files = [
            ctx.path(folder + "/lib" + flag[len("-l"):] + ".a")
            for folder in package.folders
            if ctx.attr.static and flag.startswith("-l") and flag not in _TOOLCHAIN_LIBRARIES
        ]
        files = [file for file in files if file.exists]
        if files:
            archive = name + "/" + files[0].basename
            ctx.symlink(files[0], "pkg_config/" + archive)
            archives.append(archive)
        else:
            linkopts.append(flag)
    defines = []
    includes = []
    for flag in package.cflags:
        if flag.startswith("-D"):
            defines.append(flag[len("-D"):])
        elif flag.startswith("-I") and flag != "-I/usr/include":
            # Bazel takes only include folders inside of the repository.
            include = "%s/include%d" % (name, len(includes))
            ctx.symlink(flag[len("-I"):], "pkg_config/" + include)
            includes.append(include)
    return """
cc_library(
    name = {name},
    srcs = {archives},
    hdrs = glob({headers}, allow_empty = True),
    defines = {defines},
    includes = {includes},
    linkopts = {linkopts},
    deps = {deps},
)
""".format(
        name = repr(name),
        archives = repr(archives),
        headers = repr([include + "/**" for include in includes]),
        defines = repr(defines),
        includes = repr(includes),
        linkopts = repr(linkopts),
        deps = repr([":" + dep for dep in package.requires if dep in packages]),
    )

def _system_library_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = %s)\n" % repr(ctx.name))
    for header in ctx.attr.headers:
        if not ctx.path("/usr/include/" + header).exists:
            _missing(ctx, "<%s>" % header)
    roots = {
        word: True
        for words in ctx.attr.targets.values()
        for word in _words(words)
        if not word.startswith("-l")
    }
    packages = {}
    if roots:
        packages = _describe(ctx, roots.keys())
        if not [name for name in roots if name in packages]:
            _missing(ctx, " ".join(roots.keys()[:3]))
    header = "package(default_visibility = [\"//visibility:public\"])\n"
    ctx.file("pkg_config/BUILD.bazel", header + "".join([
        _library(ctx, name, package, packages)
        for name, package in packages.items()
    ]))

    # The labels by Bazel package. One that this version of the library does not have is left out:
    # Bazel then says that there is no such target.
    build_files = {}
    for label, words in ctx.attr.targets.items():
        words = _words(words)
        if [word for word in words if not word.startswith("-l") and word not in packages]:
            continue
        package, _, name = label.rpartition(":")
        build_files.setdefault(package, []).append("""
cc_library(
    name = {name},
    linkopts = {linkopts},
    deps = {deps},
)
""".format(
            name = repr(name),
            linkopts = repr([word for word in words if word.startswith("-l")]),
            deps = repr(["//pkg_config:" + word for word in words if not word.startswith("-l")]),
        ))
    for package, rules in build_files.items():
        ctx.file(package + "/BUILD.bazel" if package else "BUILD.bazel", header + "".join(rules))

system_library = repository_rule(
    implementation = _system_library_impl,
    attrs = {
        "debian": attr.string_list(
            mandatory = True,
            doc = "The Debian packages that contain it; named when it is missing.",
        ),
        "headers": attr.string_list(
            doc = "Headers under /usr/include that must exist, for a library unknown to pkg-config.",
        ),
        "static": attr.bool(
            default = True,
            doc = "Link static archives where there are any: calls do not go through the PLT.",
        ),
        "targets": attr.string_dict(
            mandatory = True,
            doc = "Labels without '@repository//' (\":ares\", \"absl/time:time\"), and for each " +
                  "the pkg-config packages, or -l flags, that it stands for.",
        ),
    },
    environ = ["PATH", "PKG_CONFIG_PATH"],
    # Asks again when a Bazel server starts: packages are installed and upgraded meanwhile.
    local = True,
)
