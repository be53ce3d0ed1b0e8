#!/usr/bin/env python3
"""Runs "bazel test" and sums up test cases, not targets. Called by tools/test.

Which targets ran, and where their results lie, is taken from the event file that Bazel writes for
this very run, so results left over from earlier runs never count.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import xml.etree.ElementTree

# Lines of a failure's message that the summary shows; the whole log stands above it.
MESSAGE_LINES = 25
MESSAGE_COLUMNS = 160

Case = collections.namedtuple("Case", "name outcome message")  # "passed", "failed", "skipped"
Target = collections.namedtuple("Target", "label cases seconds")


def reason_of_skip(text):
    """Returns why a case was skipped, without the place in the source before it."""
    lines = text.strip().splitlines()
    if len(lines) > 1 and re.fullmatch(r"\S+:\d+", lines[0]):
        lines = lines[1:]
    return "\n".join(lines)


def cases_of_xml(text):
    """Returns the cases in the text of a test.xml."""
    try:
        root = xml.etree.ElementTree.fromstring(text)
    except xml.etree.ElementTree.ParseError:
        return []
    cases = []
    for element in root.iter("testcase"):
        suite = element.get("classname", "")
        name = f"{suite}.{element.get('name')}" if suite else element.get("name", "?")
        problems = element.findall("failure") + element.findall("error")
        skipped = element.find("skipped")
        if problems:
            messages = [problem.get("message") or problem.text or "" for problem in problems]
            cases.append(Case(name, "failed", "\n".join(messages)))
        elif skipped is not None or element.get("result") == "skipped":
            reason = "" if skipped is None else skipped.get("message") or skipped.text or ""
            cases.append(Case(name, "skipped", reason_of_skip(reason)))
        elif element.get("status") == "notrun":
            cases.append(Case(name, "skipped", "disabled"))
        else:
            cases.append(Case(name, "passed", ""))
    return cases


def cases_of_run(label, status, xml_text, log):
    """Returns the cases of one run of a target, or of one of its shards."""
    cases = cases_of_xml(xml_text)
    why = ""
    # Of a program that wrote no XML, or died before it could, Bazel writes some: the program as
    # its only case. The label and the end of the log say more.
    if [case.name for case in cases] == [label.lstrip("/").replace(":", "/")]:
        why = cases[0].message
        cases = []
    if status in ("PASSED", "FLAKY"):
        return cases or [Case(label, "passed", "")]
    if status == "FAILED" and any(case.outcome == "failed" for case in cases):
        return cases
    # It crashed, ran out of time, or a sanitizer had something to report at its end: the target
    # as a whole failed, and that is one failure.
    if status != "FAILED":
        why = "ran out of time" if status == "TIMEOUT" else status.lower().replace("_", " ")
    # Bazel's log begins with some lines about itself.
    tail = re.split(r"^-{40,}\n", log, maxsplit=1, flags=re.M)[-1].strip().splitlines()
    message = [why or "failed outside of its cases"] + tail[-MESSAGE_LINES + 1 :]
    return cases + [Case(label, "failed", "\n".join(message))]


def read(uri):
    """Returns the text of the file with a file:// address, "" if there is none."""
    try:
        path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def run_of(key):
    """Returns what identifies one run of a test, or of one of its shards."""
    return key["label"], key.get("run", 1), key.get("shard", 1)


def targets_of_events(events):
    """Returns the test targets of a run, and whatever else did not build, from Bazel's events."""
    attempts = {}
    announced = set()
    broken = {}
    for event in events:
        kind = event.get("id", {})
        if "targetConfigured" in kind:
            if "aborted" in event:
                label = kind["targetConfigured"]["label"]
                broken[label] = event["aborted"].get("description", "")
        elif "targetCompleted" in kind:
            label = kind["targetCompleted"]["label"]
            # Of a test that is to be run: one that only a filter left out announces nothing.
            announced.update(run_of(child["testResult"]) for child in event.get("children", [])
                             if "testResult" in child)
            if "aborted" in event:
                # A target that --build_tests_only or a filter left out is not a failure.
                if event["aborted"].get("reason") not in ("SKIPPED", "NO_BUILD"):
                    broken[label] = event["aborted"].get("description", "")
            elif not event.get("completed", {}).get("success"):
                detail = event["completed"].get("failureDetail", {})
                broken[label] = detail.get("message", "")
        elif "testResult" in kind:
            run = run_of(kind["testResult"])
            attempt = kind["testResult"].get("attempt", 1)
            # A later attempt of a flaky test takes the place of the earlier.
            if event.get("testResult", {}).get("status", "NO_STATUS") != "NO_STATUS" and (
                    run not in attempts or attempt >= attempts[run][0]):
                attempts[run] = (attempt, event["testResult"])
        elif "pattern" in kind and "aborted" in event:
            name = " ".join(kind["pattern"].get("pattern", []))
            broken[name] = event["aborted"].get("description", "")
    targets = {}
    for (label, _, _), (_, result) in sorted(attempts.items()):
        files = {file["name"]: file.get("uri", "") for file in result.get("testActionOutput", [])}
        cases = cases_of_run(label, result["status"], read(files.get("test.xml", "")),
                             read(files.get("test.log", "")))
        known, seconds = targets.get(label, ([], 0))
        seconds += int(result.get("testAttemptDurationMillis", 0)) / 1000
        targets[label] = (known + cases, seconds)
    for label, why in broken.items():
        if label not in targets:
            # The compiler's messages stand above; what Bazel says here begins with the reason.
            why = why.partition("\n")[0][:MESSAGE_COLUMNS]
            targets[label] = ([Case(label, "failed", f"did not build\n{why}")], 0)
    for label, _, _ in sorted(announced - set(attempts)):
        known, seconds = targets.get(label, ([], 0))
        targets[label] = (known + [Case(label, "failed", "was not run")], seconds)
    return [Target(label, *targets[label]) for label in sorted(targets)]


def count(targets, outcome):
    return sum(case.outcome == outcome for target in targets for case in target.cases)


def summary(targets):
    """Returns the summary for people, with the line that counts at its end."""
    lines = ["", "   cases     time  target"]
    for target in targets:
        notes = [
            f"{sum(case.outcome == outcome for case in target.cases)} {outcome}"
            for outcome in ("failed", "skipped")
            if any(case.outcome == outcome for case in target.cases)
        ]
        lines.append(
            f"{len(target.cases):8d} {target.seconds:7.1f}s  {target.label}"
            + (f"  ({', '.join(notes)})" if notes else "")
        )
    for outcome, title in (("skipped", "Skipped"), ("failed", "Failed")):
        found = [
            (target.label, case)
            for target in targets
            for case in target.cases
            if case.outcome == outcome
        ]
        if not found:
            continue
        lines += ["", f"{title}:"]
        for label, case in found:
            lines.append(f"  {label}" + (f"  {case.name}" if case.name != label else ""))
            message = case.message.strip().splitlines() or ["no reason given"]
            lines += [f"      {line}" for line in message[:MESSAGE_LINES]]
            if len(message) > MESSAGE_LINES:
                lines.append("      ...")
    skipped = count(targets, "skipped")
    lines += [
        "",
        f"{count(targets, 'passed')} passed, {count(targets, 'failed')} failed"
        + (f", {skipped} skipped" if skipped else ""),
    ]
    return "\n".join(lines)


def is_target(argument):
    return not argument.startswith("-")


def main(arguments):
    targets = [] if any(map(is_target, arguments)) or "--" in arguments else ["//..."]
    with tempfile.TemporaryDirectory() as folder:
        events_path = os.path.join(folder, "events.json")
        options = [
            "--keep_going",
            "--test_summary=none",
            "--noshow_loading_progress",
            f"--build_event_json_file={events_path}",
        ]
        if not sys.stderr.isatty():
            options += ["--curses=no", "--color=no", "--show_progress_rate_limit=30"]
        # Standard output is for the summary.
        status = subprocess.run(
            ["bazel", "test"] + options + arguments + targets, stdout=sys.stderr, check=False
        ).returncode
        try:
            with open(events_path, encoding="utf-8") as file:
                events = [json.loads(line) for line in file if line.strip()]
        except (OSError, ValueError):
            events = []
    found = targets_of_events(events)
    if status != 0 and not count(found, "failed"):
        # 4 is Bazel's way to say that everything built and there was no test in it.
        why = "no tests were found" if status == 4 else f"bazel test ended with status {status}"
        found.append(Target("bazel", [Case("bazel", "failed", why)], 0))
    print(summary(found))
    return 1 if status or count(found, "failed") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
