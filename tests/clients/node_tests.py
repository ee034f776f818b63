"""Serves the ONNX project's backend node tests and compares with what is known of each (node-tests-expected.json).

A case that passed and does not any more fails the run, and so does one whose reason has changed or that passes now:
`--update` writes down what is.
"""

import argparse
import json
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

from node_cases import NO_FORM, Outcome, load_cases, one_per_operator, run_cases

EXPECTED = Path(__file__).with_name("node-tests-expected.json")
DOCUMENT = Path(__file__).parents[2] / "docs/conformance.md"
# Findings that are printed; a server that is wrong in one thing can fail every case.
SHOWN = 30
MARKS = ("<!-- node tests -->\n", "<!-- end of node tests -->\n")

# Why a case does not pass: what it means, the stage that says so, and what to look for in the message.
REASONS = {
    "datatype": (
        "an input or output is of a type that the Open Inference Protocol cannot carry",
        "load",
        r'the (?:input|output) "[^"]*" is (?:a tensor |an? )?(\w+),',
    ),
    "domain": (
        "the operator is of a preview domain, which ONNX Runtime does not have",
        "load",
        r'uses (\w+ of the domain "[^"]+")',
    ),
    "kernel": (
        "ONNX Runtime has no kernel on the CPU for the operator in this version and with these types",
        "load",
        r"(?:uses the operator|Failed to find kernel for) (\w+\(\d+\))",
    ),
    "locale": (
        "ONNX Runtime wants a locale that this machine does not have",
        "load",
        r"Failed to construct locale with name:([\w.-]+?):",
    ),
    "unsupported": (
        "ONNX Runtime has the operator, but not what the case asks of it",
        "load|infer",
        r"(layout == 1|inconsistent total_sequence_length|Non per-tensor quantization|not defined for empty set)",
    ),
    "random": (
        "the operator draws random numbers, which ONNX Runtime draws otherwise",
        "compare",
        None,
    ),
    "values": (
        "ONNX Runtime computes other values than the reference, beyond the case's tolerance",
        "compare",
        None,
    ),
    "other": ("none of these", "", None),
}
# Whether these pass depends on the machine: its locales, or how its processor rounds.
OF_THE_MACHINE = {"locale", "values"}
# Operators that draw random numbers.
RANDOM = {"Bernoulli", "Dropout", "Multinomial"}
RANDOM |= {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def main() -> int:
    arguments = parse_arguments()
    cases = load_cases()
    known = json.loads(EXPECTED.read_text()) if EXPECTED.is_file() else {"notPassed": {}}
    reasons = {name: reason for reason, names in known["notPassed"].items() for name in names}
    if arguments.names:
        names = arguments.names
    elif arguments.all or arguments.update:
        names = sorted(cases)
    else:
        names = one_per_operator(cases, [name for name in cases if name not in reasons])

    started = time.monotonic()
    forms = ("binary", "json") if arguments.form == "both" else (arguments.form,)
    outcomes = run_cases([cases[name] for name in names], forms, progress(len(names)))
    passed = [name for name, outcome in outcomes.items() if outcome.stage == "passed"]
    without = sum(outcome.stage == NO_FORM for outcome in outcomes.values())
    if without:
        print(f"{without} node tests have no values in this form")
    print(f"{len(passed)} of {len(names) - without} node tests passed in {time.monotonic() - started:.0f} s")
    if arguments.update:
        write(cases, outcomes)
        return 0
    findings = differences(cases, outcomes, reasons)
    if arguments.all and not findings and table(known) not in DOCUMENT.read_text():
        findings.append(f"{DOCUMENT.name} has another table")
    for finding in findings[:SHOWN]:
        print(finding)
    if len(findings) > SHOWN:
        print(f"… and {len(findings) - SHOWN} more")
    if findings:
        print("if that is right: `cargo xtask clients --update`")
    return 1 if findings else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these cases only")
    parser.add_argument("--all", action="store_true", help="every case, not just one for each operator and datatype")
    parser.add_argument("--update", action="store_true", help="run every case and write down the result")
    parser.add_argument("--form", choices=("both", "binary", "json"), default="both", help="how tensors are sent")
    arguments = parser.parse_args()
    if arguments.update and arguments.form != "both":
        parser.error("--update writes down what both forms give: leave out --form")
    return arguments


def progress(total: int):
    """Tells how far the run is, on a terminal only."""

    def say(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return say


def classify(case, outcome: Outcome) -> tuple[str, str]:
    """The reason for which a case did not pass, and what is particular to it."""
    for reason, (_, stages, pattern) in REASONS.items():
        if outcome.stage in stages.split("|") and pattern and (found := re.search(pattern, outcome.message)):
            return reason, found.group(1)
    operators = {node.op_type for node in case.model.graph.node}
    if outcome.stage == "compare":
        return ("random" if operators & RANDOM else "values"), " ".join(sorted(operators))
    return "other", outcome.message


def differences(cases: dict, outcomes: dict[str, Outcome], reasons: dict[str, str]) -> list[str]:
    findings = []
    for name, outcome in outcomes.items():
        if outcome.stage == NO_FORM:
            continue
        expected = reasons.get(name)
        if outcome.stage == "passed":
            if expected is not None and expected not in OF_THE_MACHINE:
                findings.append(f"{name} passes now; it did not ({expected})")
            continue
        reason, detail = classify(cases[name], outcome)
        if expected is None and reason != "locale":
            findings.append(f"{name} passed and fails now ({reason}): {outcome.message}")
        elif expected is not None and reason != expected:
            findings.append(f"{name} fails for another reason ({reason}: {detail}) than before ({expected})")
    return findings


def write(cases: dict, outcomes: dict[str, Outcome]) -> None:
    not_passed: dict[str, dict[str, str]] = {reason: {} for reason in REASONS}
    for name, outcome in sorted(outcomes.items()):
        if outcome.stage != "passed":
            reason, detail = classify(cases[name], outcome)
            not_passed[reason][name] = detail
    known = {
        "onnx": version("onnx"),
        "cases": len(outcomes),
        "passed": len(outcomes) - sum(map(len, not_passed.values())),
        "notPassed": {reason: names for reason, names in not_passed.items() if names},
    }
    EXPECTED.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    document = DOCUMENT.read_text()
    start, end = document.index(MARKS[0]) + len(MARKS[0]), document.index(MARKS[1])
    DOCUMENT.write_text(document[:start] + table(known) + document[end:])
    print(f"wrote {EXPECTED.name} and {DOCUMENT.name}")


def table(known: dict) -> str:
    """What docs/conformance.md says of the result."""
    rows = [("passed, of " + str(known["cases"]), known["passed"])]
    rows += [(REASONS[reason][0], len(names)) for reason, names in known["notPassed"].items()]
    lines = [f"| {what} | {count} |\n" for what, count in rows]
    return f"| onnx {known['onnx']} | cases |\n|---|---|\n" + "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
