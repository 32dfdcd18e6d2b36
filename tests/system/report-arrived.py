#!/usr/bin/env python3
"""Compares a report that arrived at smtp-sink.py with what the daemon should have sent.

    report-arrived.py SINK OUTPUTS SENDER KIND...

SINK is the sink's directory. OUTPUTS has, for each KIND, what its job wrote: KIND.out and KIND.err. The job is named
KIND, ran as `sh /check/fail.sh KIND`, exited with 3, and is reported to KIND@example.com.
"""

import email.utils
import glob
import re
import sys
import time

# What mail programs add of their own, and may.
ADDED = {b"received", b"content-disposition"}
WHEN = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
QUOTED = re.compile(rb"=([0-9A-F]{2})")


def arrived(sink, kind):
    """The messages of which KIND is a recipient, as (envelope, message)."""
    found = []
    for name in glob.glob(f"{sink}/*.envelope"):
        envelope = open(name, "rb").read().splitlines()
        if any(line.startswith(b"TO:<%s@example.com>" % kind) for line in envelope[1:]):
            found.append((envelope, open(name.replace(".envelope", ".message"), "rb").read()))
    return found


def expected_body(outputs, kind):
    read = {end: open(f"{outputs}/{kind.decode()}.{end}", "rb").read() for end in ("out", "err")}
    return (
        b"Job: %s\nCommand: sh /check/fail.sh %s\nExit code: 3\nStandard Error:\n\n" % (kind, kind)
        + read["err"] + b"\n\nStandard Output:\n\n" + read["out"] + b"\n"
    )


def travels_as_it_is(body):
    lines = body.split(b"\n")
    return not any(
        len(line) > 998 or line.startswith(b"From ") or not line.isascii() or b"\r" in line or b"\0" in line
        for line in lines
    )


def expected_headers(sender, kind, body):
    """Name and value, which is a pattern, of each header that must be there once."""
    encoding = b"7bit" if travels_as_it_is(body) else b"quoted-printable"
    return {
        b"From": re.escape(b"Launchpad Build Daemon Sequencer <%s>" % sender),
        b"To": re.escape(b"%s@example.com" % kind),
        b"Subject": b"Job %s exited with code 3" % kind,
        b"X-Launchpad": b"yes",
        b"X-Buildd": b"yes",
        b"X-Buildd-Host": rb"build\.example\.com",
        b"X-Buildd-Job": kind,
        b"X-Buildd-Started": WHEN,
        b"X-Buildd-Duration": rb"\d+(\.\d+)?",
        b"Date": rb"\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d \+0000",
        b"Message-ID": rb"<[\w.]+@build\.example\.com>",
        b"Auto-Submitted": b"auto-generated",
        b"Precedence": b"bulk",
        b"MIME-Version": rb"1\.0",
        b"Content-Type": b"text/plain; charset=utf-8",
        b"Content-Transfer-Encoding": encoding,
    }


def decode(text):
    """Quoted-printable, strictly: what RFC 2045 does not allow raises ValueError."""
    body = b""
    for line in text.split(b"\n"):
        if len(line) > 76:
            raise ValueError(f"an encoded line of {len(line)} bytes")
        if line.endswith((b" ", b"\t")):
            raise ValueError("white space at the end of an encoded line")
        soft = line.endswith(b"=")
        plain = line[:-1] if soft else line
        if b"=" in QUOTED.sub(b"", plain):
            raise ValueError(f"not quoted-printable: {plain!r}")
        body += QUOTED.sub(lambda match: bytes([int(match[1], 16)]), plain) + (b"" if soft else b"\n")
    # The last line's end is that of the text before it.
    return body[:-1]


def header_faults(lines, wanted):
    found = {}
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            found[name][-1] += b"\n" + line
            continue
        name, _, value = line.partition(b":")
        found.setdefault(name, []).append(value[1:])
    for name, pattern in wanted.items():
        values = found.pop(name, [])
        if len(values) != 1 or not re.fullmatch(pattern, values[0]):
            yield f"{name.decode()} should once be {pattern}, but is {values}"
        elif name == b"Date" and abs(email.utils.parsedate_to_datetime(values[0].decode()).timestamp() - time.time()) > 600:
            yield f"Date is not now: {values}"
    for name, values in found.items():
        if name.lower() not in ADDED:
            yield f"nobody sent this header: {name} {values}"


def difference(got, wanted):
    place = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    start = max(place - 30, 0)
    return (
        f"the body has {len(got)} bytes for {len(wanted)}, and differs from byte {place} on: "
        f"{got[start:place + 60]!r} for {wanted[start:place + 60]!r}"
    )


def faults(sink, outputs, sender, kind):
    found = arrived(sink, kind)
    if len(found) != 1:
        yield f"{len(found)} messages arrived"
        return
    envelope, message = found[0]
    if len(envelope) != 2 or not re.fullmatch(rb"FROM:<%s>(| .*)" % re.escape(sender), envelope[0]):
        yield f"the envelope is {envelope}"
    if not message.isascii() or b"\0" in message:
        yield "the message is not 7-bit"
    text = message.replace(b"\r\n", b"\n")
    if text.count(b"\n") != message.count(b"\r\n") or b"\r" in text:
        yield "a line does not end in CR LF, or has a CR within"
    if any(len(line) > 998 for line in text.split(b"\n")):
        yield "a line is longer than 998 bytes"
    head, _, text = text.partition(b"\n\n")
    wanted = expected_body(outputs, kind)
    yield from header_faults(head.split(b"\n"), expected_headers(sender, kind, wanted))
    try:
        body = text if travels_as_it_is(wanted) else decode(text)
    except ValueError as error:
        yield str(error)
        return
    if body != wanted:
        yield difference(body, wanted)


def main():
    sink, outputs, sender, *kinds = sys.argv[1:]
    found = [fault for kind in kinds for fault in faults(sink, outputs, sender.encode(), kind.encode())]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
