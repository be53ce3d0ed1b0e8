"""Abseil's public labels and the pkg-config packages behind them."""

# Bazel package below //absl, then its targets. A target's pkg-config package is absl_<target>,
# but where the second dictionary says otherwise.
_TARGETS = {
    "algorithm": ["algorithm", "container"],
    "base": [
        "base",
        "config",
        "core_headers",
        "dynamic_annotations",
        "endian",
        "log_severity",
        "no_destructor",
        "nullability",
        "prefetch",
    ],
    "cleanup": ["cleanup"],
    "container": [
        "btree",
        "fixed_array",
        "flat_hash_map",
        "flat_hash_set",
        "inlined_vector",
        "node_hash_map",
        "node_hash_set",
    ],
    "crc": ["crc32c"],
    "debugging": [
        "debugging",
        "failure_signal_handler",
        "leak_check",
        "stacktrace",
        "symbolize",
    ],
    "flags": [
        "commandlineflag",
        "config",
        "flag",
        "marshalling",
        "parse",
        "reflection",
        "usage",
        "usage_internal",
    ],
    "functional": ["any_invocable", "bind_front", "function_ref", "overload"],
    "hash": ["hash"],
    "log": [
        "absl_check",
        "absl_log",
        "check",
        "die_if_null",
        "flags",
        "globals",
        "initialize",
        "log",
        "log_entry",
        "log_sink",
        "log_sink_registry",
        "scoped_mock_log",
        "structured",
        "vlog_is_on",
    ],
    "memory": ["memory"],
    "meta": ["meta", "type_traits"],
    "numeric": ["bits", "int128"],
    "random": ["bit_gen_ref", "distributions", "random", "seed_gen_exception", "seed_sequences"],
    "status": ["status", "status_matchers", "statusor"],
    "strings": ["cord", "has_absl_stringify", "str_format", "string_view", "strings"],
    "synchronization": ["synchronization"],
    "time": ["time"],
    "types": ["any", "compare", "optional", "span", "variant"],
    "utility": ["if_constexpr", "utility"],
}

_RENAMED = {
    "absl/algorithm:container": "absl_algorithm_container",
    "absl/flags:commandlineflag": "absl_flags_commandlineflag",
    "absl/flags:config": "absl_flags_config",
    "absl/flags:flag": "absl_flags",
    "absl/flags:marshalling": "absl_flags_marshalling",
    "absl/flags:parse": "absl_flags_parse",
    "absl/flags:reflection": "absl_flags_reflection",
    "absl/flags:usage": "absl_flags_usage",
    "absl/flags:usage_internal": "absl_flags_usage_internal",
    "absl/log:absl_check": "absl_absl_check",
    "absl/log:absl_log": "absl_absl_log",
    "absl/log:flags": "absl_log_flags",
    "absl/log:globals": "absl_log_globals",
    "absl/log:initialize": "absl_log_initialize",
    "absl/log:structured": "absl_log_structured",
    "absl/random:bit_gen_ref": "absl_random_bit_gen_ref",
    "absl/random:distributions": "absl_random_distributions",
    "absl/random:random": "absl_random_random",
    "absl/random:seed_gen_exception": "absl_random_seed_gen_exception",
    "absl/random:seed_sequences": "absl_random_seed_sequences",
}

ABSEIL_TARGETS = {
    label: _RENAMED.get(label, "absl_" + label.rpartition(":")[2])
    for label in [
        "absl/%s:%s" % (package, target)
        for package, targets in _TARGETS.items()
        for target in targets
    ]
}
