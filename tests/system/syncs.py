"""Reads what strace saw of a daemon (one process, `-s` long enough for a request) and judges how it wrote its files.

    python3 syncs.py TRACE STATE METRICS DIRECTORY

Paths are as the daemon names them. Prints what it has seen, and how often; where a rule is broken, or there is a line
that it cannot read, it says so instead and exits 1.
"""

import re
import sys
from collections import Counter

LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)(?: .*)?")
OPENED = re.compile(r'(AT_FDCWD|\d+), "([^"]*)", ([A-Z_|]+)(?:, (\d+))?')
TWO_PATHS = re.compile(r'(?:(AT_FDCWD|\d+), )?"([^"]*)", (?:(AT_FDCWD|\d+), )?"([^"]*)"(?:, 0)?')
ONE_PATH = re.compile(r'(?:(AT_FDCWD|\d+), )?"([^"]*)"(?:, 0)?')
NUMBER = re.compile(r"(\d+)(?:, .*)?", re.S)
TEXT = re.compile(r'\d+, "((?:[^"\\]|\\.)*)"(?:\.\.\.)?, (\d+)(?:, .*)?')
STRING = re.compile(r'(?:, |iov_base=)"((?:[^"\\]|\\.)*)"')
NEW = {"O_WRONLY", "O_CREAT", "O_EXCL", "O_APPEND", "O_NOFOLLOW", "O_CLOEXEC"}
READ_ONLY = {"O_RDONLY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW", "O_PATH", "O_DIRECTORY", "O_LARGEFILE"}


class Broken(Exception):
    """A rule that does not hold."""


class File:
    """An open file that the daemon made."""

    def __init__(self, path, mode):
        self.path = path
        self.mode = mode
        self.size = 0
        self.synced = False


class Daemon:
    """What the daemon has done so far."""

    def __init__(self, state, metrics, directory):
        self.state, self.metrics, self.directory = state, metrics, directory
        self.files = {}
        # Descriptors of the directory: those that can be synced, and those that names may count from.
        self.directories = set()
        self.bases = set()
        # Whether the name that was put in place last is on the disk.
        self.name_is_safe = True
        # What a client has asked for, by which descriptor, and how often the state was replaced since.
        self.request = None
        self.client = None
        self.written = 0
        self.done = Counter()

    def named(self, base, name):
        """The path of a name that counts from this descriptor, if that is the directory's."""
        is_within = base not in (None, "AT_FDCWD") and int(base) in self.bases
        return f"{self.directory}/{name}" if is_within else name

    def openat(self, arguments, result):
        match = OPENED.fullmatch(arguments)
        if not match or result < 0:
            return
        path, flags, mode = self.named(*match.group(1, 2)), set(match.group(3).split("|")), match.group(4)
        self.files.pop(result, None)
        self.directories.discard(result)
        self.bases.discard(result)
        if path == self.directory and "O_PATH" in flags:
            self.bases.add(result)
        elif path == self.directory and "O_RDONLY" in flags:
            self.directories.add(result)
        if path in (self.state, self.metrics) and not flags <= READ_ONLY:
            raise Broken(f"{path} is opened for writing in its place")
        if path.endswith(".new"):
            if flags != NEW:
                raise Broken(f"{path} is opened with {'|'.join(sorted(flags))}")
            self.files[result] = File(path, mode)

    def write(self, arguments, result):
        number = int(NUMBER.match(arguments).group(1))
        if self.request and number == self.client:
            self.answer("".join(STRING.findall(arguments)))
        file = self.files.get(number)
        if file:
            match = TEXT.fullmatch(arguments)
            if not match or result != int(match.group(2)):
                raise Broken(f"{file.path} is written in part")
            file.size += result
            file.synced = False

    writev = sendto = sendmsg = write

    def fdatasync(self, arguments, result):
        number = int(arguments)
        if number in self.directories:
            if result == 0:
                self.name_is_safe = True
        elif number in self.files:
            self.files[number].synced = result == 0
        else:
            raise Broken(f"something else is synced: {number}")

    fsync = fdatasync

    def rename(self, arguments, result):
        match = TWO_PATHS.fullmatch(arguments)
        if not match:
            raise Broken(f"a rename that cannot be read: {arguments}")
        old, new = self.named(*match.group(1, 2)), self.named(*match.group(3, 4))
        if new not in (self.state, self.metrics):
            return
        files = [file for file in self.files.values() if file.path == old]
        if len(files) != 1:
            raise Broken(f"{new} is made of {old}, which is not one file that it wrote")
        [file] = files
        if not file.size:
            raise Broken(f"{new} is made of an empty file")
        if new == self.state:
            if not file.synced:
                raise Broken(f"{new} is renamed before it is synced")
            if file.mode != "0600":
                raise Broken(f"{new} is made with mode {file.mode}")
            self.name_is_safe = False
            self.written += 1
        elif file.synced:
            raise Broken(f"{new} is synced, for which nobody asked")
        if result == 0:
            self.done[new] += 1

    renameat = renameat2 = rename

    def unlink(self, arguments, result):
        match = ONE_PATH.match(arguments)
        path = match and self.named(*match.group(1, 2))
        if path == self.state:
            raise Broken(f"{self.state} is removed")
        if path == self.metrics and result == 0:
            self.done["removed"] += 1

    unlinkat = unlink

    def recvfrom(self, arguments, result):
        match = TEXT.match(arguments)
        asked = match and re.fullmatch(r"(pause|resume)( \w+)?\\n", match.group(1))
        if asked and result > 0:
            self.client = int(NUMBER.match(arguments).group(1))
            self.request = asked.group(1)
            self.written = 0

    read = recvfrom

    def answer(self, answer):
        if re.fullmatch(r"0\\n(paused|resumed) \S+\\n", answer):
            if self.written != 1:
                raise Broken(f"{answer} is answered after {self.written} writes")
            if not self.name_is_safe:
                raise Broken(f"{answer} is answered before it is on the disk")
            self.done[f"{self.request} kept"] += 1
        elif re.fullmatch(r"0\\n\S+ was (paused already|not paused)\\n", answer):
            if self.written:
                raise Broken(f"{answer} is answered after a write")
            self.done[f"{self.request} of nothing"] += 1
        else:
            raise Broken(f"an answer that cannot be read: {answer}")
        self.request = None

    def close(self, arguments, _):
        number = int(arguments)
        self.files.pop(number, None)
        self.directories.discard(number)
        self.bases.discard(number)


def read(trace, daemon):
    """Has the daemon do all of it; whether it has ended well."""
    with open(trace, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("---"):
                continue
            if line.startswith("+++"):
                return line == "+++ exited with 0 +++\n"
            match = LINE.fullmatch(line.rstrip("\n"))
            try:
                if not match:
                    raise Broken("a line that cannot be read")
                call, arguments, result = match.groups()
                getattr(daemon, call, lambda *_: None)(arguments, int(result))
            except Broken as broken:
                sys.exit(f"{trace}:{number}: {broken}")
    return False


def main():
    trace, *places = sys.argv[1:]
    daemon = Daemon(*places)
    if not read(trace, daemon):
        sys.exit("the daemon did not stop cleanly")
    if not daemon.name_is_safe:
        sys.exit("the state of the stop is not on the disk")
    for what, times in sorted(daemon.done.items()):
        print(what, times)


if __name__ == "__main__":
    main()
