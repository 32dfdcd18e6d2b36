"""Random configuration files with what Python's own ConfigParser reads in them.

    configparser.py COUNT SEED

Python 2.7's is the reference. Python 3's knows other rules for comments, blank lines and indentation; it is given
each file as 2.7 would see it (`for_python_3`), so that it still has the last word on keys, values and sections.

Where our dialect differs on purpose, the file is changed before Python sees it or its answer after (`ours`):
- A `;` at the very start of a value begins a comment if white space precedes it. ConfigParser looks at the value's
  last character instead, by accident.
- A line that cannot be read takes the indented lines below it along. ConfigParser gives them to the key before it,
  or, where there is none, refuses them too.
- A key that begins with `[` is refused. Such files are left out, and those where chance has made a header.
- White space around a whole value is stripped, as lazr.config does.
- A file of which every line is indented is dedented, as lazr.config does. A line of any white space is blank then.

Standard output: for each file `text LENGTH`, its bytes, then `error LINE` for each line that is refused, or
`value LENGTHS` and section, key and value; then `end`.
"""

import io
import random
import re
import sys
import textwrap

PYTHON_2 = sys.version_info[0] == 2
if PYTHON_2:
    import ConfigParser as configparser
else:
    # This file has the module's name and stands first in its path.
    sys.path.pop(0)
    import configparser

OURS = [
    "meta",
    "buildsequencer",
    "buildsequencer_job.template",
    "buildsequencer_job.a",
    "buildsequencer_job.a.optional",
    "buildsequencer_job.b-1",
]
OTHERS = ["canonical", "a b.c", "Buildsequencer", " meta", "meta [x", "buildsequencer_jobs.a"]
SPACE = " \t\n\r\x0b\x0c"
PIECES = [
    "a", "Key", "value", "b1", "=", ":", ";", ";", " ;", "; ", "\t;", "#", " # ", "rem", "REM ", "[", "]", "[meta]", "'", '"', '""',
    "\\", "%", "%(x)s", "${x}", " ", "  ", "\t", "none", "/", ".", "-", "\xc3\xa9", "\xc3\x89", "\xe2\x80\xa8",
]
if PYTHON_2:
    # White space that Python 3 strips, being no longer of ASCII's only.
    PIECES.append("\xc2\xa0")


def words(least, most):
    return "".join(random.choice(PIECES) for _ in range(random.randint(least, most)))


def key():
    name = random.choice(["key", "Key", "mindelay", "a b", "x.y", "rem", "remark", "k;", "k ;", '""', "%", "#k"])
    return random.choice(["", "", "", "r", "z"]) + name


def line():
    kind = random.random()
    if kind < 0.40:
        gap = random.choice(["", "", " ", "\t"])
        return key() + gap + random.choice(":=") + random.choice(["", " ", " ", "\t "]) + words(0, 5)
    if kind < 0.47:
        return key() + random.choice([": ", "="]) + random.choice(['""', "", ";", " ; x", '"" ; x', "x ;y;z", "x;y ;z"])
    if kind < 0.62:
        return random.choice([" ", "    ", "\t", "\x0b", "\x0c", "\r"]) + words(1, 5)
    if kind < 0.70:
        return random.choice(["", " ", "\t", "  \r"])
    if kind < 0.80:
        return random.choice(["#", ";", "rem", "Rem ", "rEM\t", "rem\x0b"]) + random.choice(["", " x", ": y", " [meta]"])
    if kind < 0.995:
        return "[" + random.choice(OURS) + "]" + random.choice(["", "", " ", " ; x", "]", "x: y"])
    return words(1, 4)


def text():
    lines = ["[" + random.choice(OURS) + "]"]
    for _ in range(random.randint(0, 25)):
        if random.random() < 0.05:
            # Lines that Python would refuse do not matter there, so there are none.
            lines += ["[" + random.choice(OTHERS) + "]", "key: " + words(0, 5)]
            lines.append("[" + random.choice(OURS) + "]")
        made = line()
        if made[:1] in SPACE and header(lines[-1].split("\n")[-1]) and random.random() < 0.9:
            made = "key: x\n" + made
        lines.append(made + random.choice(["", "", "", " ", "\r", "\t", "\x0c"]))
    made = "\n".join(lines) + random.choice(["\n", ""])
    return indented(made) if random.random() < 0.2 else made


def indented(text):
    """Each line behind the same blanks and tabs, blank ones perhaps not."""
    margin = random.choice([" ", "\t", "    ", " \t", "\t  "])
    bare = random.random() < 0.5
    return "\n".join(("" if bare and not line.strip(SPACE) else margin) + line for line in text.split("\n"))


def dedented(text):
    lines = text.split("\n")
    return textwrap.dedent("\n".join(line if line.strip(SPACE) else "" for line in lines))


def skipped(line):
    """Blank, or a comment in the first column."""
    return not line.strip(SPACE) or line[0] in "#;" or re.match(r"(?i)rem([ \t\r\x0b\x0c]|$)", line)


def at_start(line):
    """A key's line whose value begins with `;`: key, delimiter and white space, and the rest."""
    return re.match(r"([^:= \t\r\x0b\x0c][^:=]*[:=])([ \t\r\x0b\x0c]*)(;.*)$", line)


def ours(line):
    """A line as we mean it, where ConfigParser means something else."""
    found = at_start(line)
    if found and not skipped(line):
        return found.group(1) + (found.group(3).rstrip(SPACE) if not found.group(2) else "")
    return line


def for_python_3(lines):
    """The lines that count, with their numbers; comments and two lone quotes taken off, as 2.7 does."""
    for number, line in enumerate(lines, 1):
        if skipped(line):
            continue
        found = re.match(r"([^:= \t\r\x0b\x0c][^:=]*[:=])(.*)$", line)
        if found and not re.match(r"\[[^]]+\]", line):
            value = found.group(2)
            at = value.find(";")
            if at > 0 and value[at - 1] in SPACE:
                value = value[:at]
            line = found.group(1) + ("" if value.strip(SPACE) == '""' else value)
        yield number, line


class Parser(configparser.RawConfigParser):
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]")

    def optionxform(self, key):
        return re.sub("[A-Z]", lambda letter: letter.group().lower(), key)


def header(line):
    return Parser.SECTCRE.match(line)


def known(line):
    """Whether it is a header that was meant to be one."""
    found = header(line)
    return found and found.group("header") in OURS + OTHERS


def read(lines):
    """What Python makes of the lines: its parser, and the numbers of the lines that it refuses."""
    if PYTHON_2:
        parser = Parser()
        numbers = list(range(1, len(lines) + 1))
    else:
        parser = Parser(
            strict=False, delimiters=(":", "="), comment_prefixes=(), inline_comment_prefixes=(), default_section="\0"
        )
        numbered = list(for_python_3(lines))
        numbers = [number for number, _ in numbered]
        lines = [line for _, line in numbered]
    refused = []
    if not PYTHON_2:
        # It takes an indented line below a header for a key.
        alone = [at for at in range(1, len(lines)) if lines[at][0] in SPACE and below_header(lines, at)]
        refused = [numbers[at] for at in alone]
        lines = ["#: x" if at in alone else line for at, line in enumerate(lines)]
    try:
        file = io.BytesIO("\n".join(lines)) if PYTHON_2 else io.StringIO("\n".join(lines))
        (parser.readfp if PYTHON_2 else parser.read_file)(file)
    except configparser.ParsingError as error:
        refused += [numbers[number - 1] for number, _ in error.errors]
    return parser, sorted(refused)


def below_header(lines, at):
    """Whether nothing but what is skipped, or refused for the same reason, stands between it and a header."""
    while at > 0:
        at -= 1
        if header(lines[at]):
            return True
        if not skipped(lines[at]) and lines[at][0] not in SPACE:
            return False
    return False


def case(text):
    lines = [ours(line) for line in dedented(text).split("\n")]
    parser, refused = read(lines)
    values = [
        (section, key, parser.get(section, key).strip(SPACE))
        for section in OURS
        if parser.has_section(section) and not refused
        for key in parser.options(section)
        if key != "__name__"
    ]
    odd = [line for line in lines if line.startswith("[") and not known(line)]
    refused = [n for n in refused if lines[n - 1][0] not in SPACE or below_header(lines, n - 1)]
    return None if odd else (values, refused)


def encoded(text):
    return text if PYTHON_2 else text.encode("latin-1")


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    random.seed(seed)
    out = sys.stdout if PYTHON_2 else sys.stdout.buffer
    while count:
        made = text()
        found = case(made)
        if found is None:
            continue
        values, refused = found
        out.write(encoded("text %d\n%s\n" % (len(made), made)))
        for line in refused:
            out.write(encoded("error %d\n" % line))
        for value in values:
            out.write(encoded("value %d %d %d\n" % tuple(len(part) for part in value)))
            out.write(encoded("".join(value) + "\n"))
        out.write(encoded("end\n"))
        count -= 1


main()
