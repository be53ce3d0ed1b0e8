#!/usr/bin/env python3
"""The pages for users: links lead somewhere, and docs/lispworks.md knows all names of both sides."""

import os
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = ["tests/lint"]
import case_report  # pylint: disable=wrong-import-position

# A link to the file in the source tree; the tree is around it.
ROOT = os.path.dirname(os.path.realpath("WORKSPACE"))

PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "aios/README.md", "tests/README.md"] + sorted(
    "docs/" + name for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md")
)
PAGE = "docs/lispworks.md"

# Options that Lisp has no counterpart for, and the page that explains them.
NOT_OF_LISP = {"LookupOptions": "docs/names.md", "ResolverOptions": "docs/names.md"}

# Package COMM, as of LispWorks 8.1.
LISP_SYMBOLS = """
accept-tcp-connections-creating-async-io-states accepting-handle accepting-handle-collection
accepting-handle-local-port accepting-handle-name accepting-handle-socket
accepting-handle-user-info apply-in-wait-state-collection-process
async-io-ssl-failure-indicator-from-failure-args async-io-state async-io-state-abort
async-io-state-abort-and-close async-io-state-address async-io-state-attach-ssl
async-io-state-buffered-data-length async-io-state-collection async-io-state-ctx
async-io-state-detach-ssl async-io-state-discard async-io-state-finish
async-io-state-get-buffered-data async-io-state-handshake async-io-state-max-read
async-io-state-name async-io-state-object async-io-state-old-length async-io-state-peer-address
async-io-state-read-buffer async-io-state-read-status async-io-state-read-timeout
async-io-state-read-with-checking async-io-state-receive-message async-io-state-send-message
async-io-state-send-message-to-address async-io-state-shutdown async-io-state-ssl
async-io-state-ssl-side async-io-state-user-info async-io-state-wait-for-input
async-io-state-write-buffer async-io-state-write-status async-io-state-write-timeout
attach-ssl call-wait-state-collection close-accepting-handle close-async-io-state
close-wait-state-collection connect-to-tcp-server create-and-run-wait-state-collection
create-async-io-state create-async-io-state-and-connected-tcp-socket
create-async-io-state-and-connected-udp-socket create-async-io-state-and-udp-socket
create-ssl-client-context create-ssl-server-context detach-ssl get-default-local-ipv6-address
get-host-entry get-ip-default-zone-id get-service-entry get-socket-address
get-socket-peer-address ip-address-string ipv6-address loop-processing-wait-state-collection
make-wait-state-collection reset-ssl-abstract-context socket-connection-address
socket-connection-peer-address socket-connection-socket socket-stream-handshake
ssl-abstract-context ssl-abstract-context-name ssl-closed ssl-condition ssl-condition-ssl-code
ssl-connection-implementation ssl-connection-protocol-version ssl-connection-ssl-ref
ssl-connection-verify ssl-error ssl-failure ssl-handshake-timeout ssl-verification-failure
ssl-x509-lookup start-up-server string-ip-address wait-for-wait-state-collection
wait-state-collection wait-state-collection-alive-p wait-state-collection-stop-loop
""".split()

# Code on the page that is C++ but not of aios.
OTHER_NAMES = {"absl", "std", "true", "false", "char", "int", "native_handle"}
# Names in capitals that are Lisp.
LISP_NAMES = {"COMM"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def code_spans(text):
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def body_of(code, name):
    """Returns what stands between the braces of a class, struct or enum; None if there is none."""
    start = re.search(rf"^(?:class|struct|enum class) {name}\b[^;{{]*\{{", code, re.M)
    if not start:
        return None
    line = code[start.end() :].partition("\n")[0]
    return line if line.endswith("};") else code[start.end() :].partition("\n}")[0]


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        dead = []
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
                if re.match(r"https?://", target):
                    continue
                path, _, anchor = target.partition("#")
                full = os.path.normpath(os.path.join(ROOT, os.path.dirname(page), path))
                if path and not os.path.exists(full):
                    dead.append(f"{page}: {target}")
                elif anchor:
                    text = read(os.path.relpath(full, ROOT) if path else page)
                    anchors = {
                        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
                        for title in re.findall(r"^#+ (.*)$", text, re.M)
                    }
                    if anchor not in anchors:
                        dead.append(f"{page}: {target}")
        self.assertEqual(dead, [])

    def test_files_that_are_named_exist(self):
        missing = []
        for page in PAGES:
            for span in code_spans(read(page)):
                if re.fullmatch(
                    r"(aios|backends|bench|docs|examples|tests|tools)/([\w/]*\.\w+|([\w]+/)*)", span
                ):
                    if not os.path.exists(os.path.join(ROOT, span)):
                        missing.append(f"{page}: {span}")
        self.assertEqual(missing, [])


    def test_examples_are_short(self):
        names = [name for name in os.listdir(os.path.join(ROOT, "examples")) if name.endswith(".cc")]
        self.assertGreaterEqual(len(names), 3)
        for name in names:
            self.assertLess(read("examples/" + name).count("\n"), 80, name)


class Lispworks(unittest.TestCase):
    def setUp(self):
        self.page = read(PAGE)
        self.headers = {
            "aios/" + name: read("aios/" + name)
            for name in os.listdir(os.path.join(ROOT, "aios")) if name.endswith(".h")
        }
        self.headers["backends/default_kernel.h"] = read("backends/default_kernel.h")

    def test_has_every_lisp_symbol(self):
        spans = set(code_spans(self.page))
        self.assertEqual([name for name in LISP_SYMBOLS if name not in spans], [])

    def test_every_symbol_that_the_headers_mention_is_one(self):
        unknown = set()
        for text in self.headers.values():
            text = re.sub(r"\n *// ?", " ", text)
            for mention in re.findall(r"\bLisp: ((?:`[\w-]+`(?:, )?)+)", text):
                unknown |= set(re.findall(r"`([\w-]+)`", mention)) - set(LISP_SYMBOLS)
        self.assertEqual(unknown, set())

    def test_every_cpp_name_exists(self):
        code = "\n".join(without_comments(text) for text in self.headers.values())
        missing = []
        for span in code_spans(self.page):
            if "-" in span or span.startswith(":") or span.endswith(".h"):
                continue  # Lisp, or a file
            if not re.search(r"::|[A-Z_]", span):
                continue  # Lisp, too
            for name in re.findall(r"(?:[A-Za-z_]\w*::)*[A-Za-z_]\w*", span):
                scope, _, member = name.rpartition("::")
                if name.split("::")[0] in OTHER_NAMES | LISP_NAMES:
                    continue
                body = body_of(code, scope) if scope else code
                if body is None or not re.search(rf"\b{member}\b", body):
                    missing.append(name)
        self.assertEqual(missing, [])

    def test_every_field_of_options_is_mapped(self):
        missing = []
        for path, text in self.headers.items():
            for struct, body in re.findall(
                r"^struct (\w+Options) \{\n(.*?)^\};", without_comments(text), re.M | re.S
            ):
                page = read(NOT_OF_LISP[struct]) if struct in NOT_OF_LISP else self.page
                for field in re.findall(r"(\w+)(?: = [^;]+)?;", body):
                    if f"`{struct}::{field}`" in page:
                        continue
                    # Several structs share some lines.
                    if struct in page and f"`{field}`" in page:
                        continue
                    missing.append(f"{path}: {struct}::{field}")
        self.assertEqual(missing, [])


if __name__ == "__main__":
    case_report.main()
