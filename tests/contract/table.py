#!/usr/bin/env python3
"""Writes results into the table of docs/contract.md, or checks that they are what stands there.

    table.py [--check] DOCUMENT SUBJECT=REPORT…

A report is what `REPORT=… tests/contract/run.sh` wrote. A subject that is not given keeps its column.
"""

import json
import pathlib
import sys

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
SUBJECTS = ("ours", "reference")
SIGNS = {"yes": "yes", "no": "**no**", "not examined": "–"}


def read(document):
    """The columns that stand in the table: for each subject, id → cell."""
    cells = {subject: {} for subject in SUBJECTS}
    for line in document.split(BEGIN)[1].split(END)[0].splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if len(row) == 3 + len(SUBJECTS) and row[0].startswith("`"):
            for subject, cell in zip(SUBJECTS, row[3:], strict=True):
                cells[subject][row[0].strip("`")] = cell
    return cells


def table(duties, cells):
    """The areas in the order of their first check, each with its own table."""
    lines = []
    for level in ("must", "should"):
        counts = []
        for subject in SUBJECTS:
            found = [cells[subject].get(identity, "–") for identity, one in duties.items() if one["level"] == level]
            holding = sum(cell == SIGNS["yes"] for cell in found)
            counts.append(f"{subject} {holding} of {sum(cell != '–' for cell in found)}")
        lines.append(f"**{level.capitalize()}**: " + ", ".join(counts) + ".\n")
    for area in dict.fromkeys(identity.split(".")[0] for identity in duties):
        lines += [f"### {area}", "", "| Id | Duty | Source | Ours | Reference |", "|---|---|---|---|---|"]
        for identity, one in duties.items():
            if identity.split(".")[0] != area:
                continue
            duty = one["duty"].replace("|", "\\|") + (" *(should)*" if one["level"] == "should" else "")
            row = [f"`{identity}`", duty, one["source"], *(cells[subject].get(identity, "–") for subject in SUBJECTS)]
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)


def main(arguments):
    check = "--check" in arguments
    path, *reports = [argument for argument in arguments if argument != "--check"]
    path = pathlib.Path(path)
    document = path.read_text()
    cells = read(document)
    duties = {}
    for argument in reports:
        subject, report = argument.split("=", 1)
        results = json.loads(pathlib.Path(report).read_text())
        duties |= results
        cells[subject] = {identity: SIGNS[one["outcome"]] for identity, one in results.items()}
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    written = f"{before}{BEGIN}\n\n{table(dict(sorted(duties.items())), cells)}\n{END}{after}"
    if not check:
        path.write_text(written)
    elif written != document:
        print(f"{path} does not say what was found: run {sys.argv[0]} without --check")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
