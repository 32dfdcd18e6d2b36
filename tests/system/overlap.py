"""Judges the marks of jobs (mark.c): overlap.py FILE. Exits 1 if two hosts were alive at once, or a host started a run
after another one had taken over.

A run is alive between its start and its last mark. A gap of more than 100 ms is no life: its host was frozen then. What
a frozen run did in its first instant after that, before it was killed, nothing on a host can prevent: such a remainder,
of at most 100 ms and by an owner that had lost the key, is counted and not judged."""

import sys

GAP = 100_000_000


def read(path):
    """The marks of each run, by host, job and start, in order of time. The start is one of them."""
    runs = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            fields = line.split()
            # The last line may be half-written.
            if len(fields) == 6 and line.endswith("\n"):
                at, host, job, run, _, token = fields
                # Without the guard there is none.
                token = token.replace("-", "0")
                marks = runs.setdefault((host, job, run), [(int(run), int(token))])
                marks.append((int(at), int(token)))
    for marks in runs.values():
        marks.sort()
    return runs


def stretches(runs):
    """When which host was alive: begin, end, host, token, and whether a gap came before."""
    found = []
    for (host, _, _), marks in runs.items():
        begin, token = marks[0]
        last, thawed = begin, False
        for at, _ in marks[1:]:
            if at - last > GAP:
                found.append((begin, last, host, token, thawed))
                begin, thawed = at, True
            last = at
        found.append((begin, last, host, token, thawed))
    return sorted(found)


def main():
    runs = read(sys.argv[1])
    begins = sorted((marks[0][0], marks[0][1], host) for (host, _, _), marks in runs.items())
    late, highest = [], 0
    for at, token, host in begins:
        if token < highest:
            late.append((at, token, host))
        highest = max(highest, token)
    first = {}
    for at, token, _ in begins:
        first.setdefault(token, at)

    def lost(token, at):
        return any(other > token and begin <= at for other, begin in first.items())

    alive, both, remainders = [], [], 0
    for begin, end, host, token, thawed in stretches(runs):
        if thawed and end - begin <= GAP and lost(token, end):
            remainders += 1
            continue
        alive = [other for other in alive if other[1] > begin]
        both += [(begin, host, other[2]) for other in alive if other[2] != host]
        alive.append((begin, end, host))
    hosts = sorted({host for host, _, _ in runs})
    print(f"{len(runs)} runs on {', '.join(hosts)}, {len(first)} owners; at once on two hosts: {len(both)}; "
          f"started after a takeover: {len(late)}; remainders of frozen runs: {remainders}")
    for trouble in (both + late)[:5]:
        print("   ", *trouble)
    # What shows nothing proves nothing.
    sys.exit(1 if both or late or len(hosts) < 2 else 0)


main()
