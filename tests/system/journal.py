"""What the journal made of a daemon's log: journal.py WHAT LINES ENTRIES

LINES is what the daemon writes to the journal, ENTRIES is `journalctl --all --output=json`. WHAT is one of
  lines       each line that is not blank has become one entry, with its text and in its order
  priorities  an entry has the priority of its line, and messages have theirs
  breaks      journald has ended no entry but at the end of its line
  begins      no entry begins with what a job has printed
"""

import json
import re
import sys

what, lines_file, entries_file = sys.argv[1:]


def message(entry):
    text = entry["MESSAGE"]
    return text.encode() if isinstance(text, str) else bytes(text)


entries = [json.loads(line) for line in open(entries_file, encoding="utf-8")]
entries = [entry for entry in entries if entry.get("_TRANSPORT") == "stdout"]
lines = open(lines_file, "rb").read().split(b"\n")[:-1]
# journald makes no entry of a line that is blank.
lines = [(line[:3], line[3:]) for line in lines if line[3:].strip()]

# How busy each job was differs from one run to the next, and how many lines that takes.
BUSY = re.compile(rb"\t(BUSY |     ).*\d%")
lines = [line for line in lines if not BUSY.match(line[1])]
entries = [entry for entry in entries if not BUSY.match(message(entry))]


def unfolded(lines):
    """A line of the status that is longer than a terminal is wide goes on with four blanks; where, its numbers decide."""
    whole = []
    for prefix, text in lines:
        if text.startswith(b"\t    ") and whole and whole[-1][0] == prefix:
            whole[-1] = (prefix, whole[-1][1] + text[4:])
        else:
            whole.append((prefix, text))
    return whole


STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[-\] ")
failures = []


def expect(condition, *words):
    if not condition:
        failures.append(" ".join(str(word)[:200] for word in words))


def alike(text):
    """Without what differs from one run to the next (times and their width, process ids), and blanks at the end, which
    journald takes."""
    text = re.sub(rb" *(\d+[dhm])?\d+(\.\d+)?[dhms]\b", b" #", text)
    return re.sub(rb"[0-9a-f.]*\d[0-9a-f.]*", b"#", text).rstrip()


if what == "lines":
    expect(len(lines) > 100, "only", len(lines), "lines")
    told = unfolded(lines)
    kept = unfolded((b"<%s>" % entry["PRIORITY"].encode(), message(entry)) for entry in entries)
    expect(len(kept) == len(told), len(kept), "entries of", len(told), "lines")
    for (_, line), (_, text) in zip(told, kept):
        expect(alike(line) == alike(text), "line", line, "is entry", text)
    text = b"".join(message(entry) for entry in entries)
    expect(text.count(b"payroll") > 20000, "text is missing")
elif what == "priorities":
    for (prefix, line), entry in zip(lines, entries):
        expect(prefix == b"<%s>" % entry["PRIORITY"].encode(), prefix, line, "has", entry["PRIORITY"])
    wanted = {
        rb"Running nul": "6",
        rb"Job \S+ completed with exit code 0": "6",
        rb"Job \S+ completed with exit code 1": "4",
        rb"Job (output|error output) was:": "6",
        rb"From: Launchpad Build Daemon": "34",
        rb"Mail to ops@example.com failed": "34",
        rb"Received SIGUSR2": "6",
        rb"Main loop terminated": "6",
        rb"(nul|long)-live: ": "6",
    }
    for pattern, priorities in wanted.items():
        begin = re.compile(STAMP.pattern + pattern)
        found = [entry["PRIORITY"] for entry in entries if begin.match(message(entry))]
        expect(found and set(found) == set(priorities), pattern, "has", sorted(set(found)))
    # What belongs to a message has its priority.
    before = None
    for entry in entries:
        if message(entry).startswith(b"\t"):
            expect(entry["PRIORITY"] == before, message(entry), "has", entry["PRIORITY"], "after", before)
        before = entry["PRIORITY"]
elif what == "breaks":
    for entry in entries:
        expect("_LINE_BREAK" not in entry, entry.get("_LINE_BREAK"), message(entry))
        expect(len(message(entry)) < 48 * 1024, len(message(entry)), "bytes")
elif what == "begins":
    for entry in entries:
        text = message(entry)
        expect(text.startswith(b"\t") or STAMP.match(text), text)
        expect(not re.match(rb"\S+ \[-\] Job payroll", text), text)
else:
    sys.exit(__doc__)

print("\n".join(failures[:10]))
sys.exit(bool(failures))
