#!/usr/bin/env python3
"""An SMTP server for tests, on 127.0.0.1: it keeps what it is sent, byte for byte.

The N-th message becomes DIRECTORY/N.message, exactly what came after DATA less the dots of the transport, with its
line ends as they were; beside it DIRECTORY/N.envelope has the arguments of MAIL and of each RCPT, one a line. The
envelope appears last, so whoever sees it sees all. DIRECTORY/dialogue has every command and every answer.
It judges nothing but the grammar of SMTP.
"""

import argparse
import itertools
import os
import re
import socketserver

# RFC 5321, 4.1.2: a path in angle brackets, then parameters.
MAIL = re.compile(rb"FROM: ?(<[^>]*>)((?: [^ ]+)*) *$", re.IGNORECASE)
RCPT = re.compile(rb"TO: ?(<[^>]+>)((?: [^ ]+)*) *$", re.IGNORECASE)


class Store:
    """The directory, and the number of the next message."""

    def __init__(self, directory):
        self.directory = directory
        self.numbers = itertools.count(1)
        self.dialogue = open(os.path.join(directory, "dialogue"), "ab", buffering=0)

    def keep(self, envelope, message):
        name = os.path.join(self.directory, str(next(self.numbers)))
        for suffix, data in ((".message", message), (".envelope", b"".join(line + b"\n" for line in envelope))):
            with open(name + ".part", "wb") as part:
                part.write(data)
            os.rename(name + ".part", name + suffix)


class Session(socketserver.StreamRequestHandler):
    """One client, from its connection to QUIT."""

    def handle(self):
        self.sender = None
        self.recipients = []
        self.answer(b"220 sink.invalid ESMTP")
        while line := self.rfile.readline():
            self.server.store.dialogue.write(b"C: " + line)
            verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
            command = getattr(self, "do_" + verb.decode("ascii", "replace").lower(), None)
            if verb.upper() == b"QUIT":
                self.answer(b"221 bye")
                return
            self.answer(*(command(argument) if command else [b"502 no such command"]))

    def answer(self, *lines):
        """Sends an answer: all its lines but the last have `-` behind the code."""
        lines = [line[:3] + b"-" + line[4:] for line in lines[:-1]] + [lines[-1]]
        data = b"".join(line + b"\r\n" for line in lines)
        self.server.store.dialogue.write(b"".join(b"S: " + line + b"\n" for line in lines))
        self.wfile.write(data)

    def do_helo(self, _name):
        return [b"250 sink.invalid"]

    def do_ehlo(self, _name):
        return [b"250 sink.invalid"] + [b"250 " + word.encode() for word in self.server.extensions]

    def do_noop(self, _argument):
        return [b"250 done"]

    def do_vrfy(self, _argument):
        return [b"252 send it and see"]

    def do_rset(self, _argument):
        self.sender, self.recipients = None, []
        return [b"250 forgotten"]

    def do_mail(self, argument):
        match = MAIL.match(argument)
        if not match:
            return [b"501 no sender in angle brackets"]
        known = {word.split()[0].encode() for word in self.server.extensions}
        for parameter in match[2].upper().split():
            keyword = parameter.partition(b"=")[0]
            if (b"8BITMIME" if keyword == b"BODY" else keyword) not in known:
                return [b"555 not offered: " + parameter]
        self.sender, self.recipients = b"FROM:" + match[1] + match[2], []
        return [b"250 sender kept"]

    def do_rcpt(self, argument):
        match = RCPT.match(argument)
        if self.sender is None:
            return [b"503 MAIL comes first"]
        if not match:
            return [b"501 no recipient in angle brackets"]
        if match[1].strip(b"<>").decode("utf-8", "replace") in self.server.refused:
            return [b"550 no such mailbox here"]
        self.recipients.append(b"TO:" + match[1] + match[2])
        return [b"250 recipient kept"]

    def do_data(self, _argument):
        if not self.recipients:
            return [b"503 RCPT comes first"]
        self.answer(b"354 end with a dot")
        lines = []
        # Only CR LF ends a line; a line feed alone is content, which the test may want to know of.
        while (line := self.read_line()) != b".\r\n":
            if not line:
                return [b"451 cut short"]
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.store.keep([self.sender] + self.recipients, b"".join(lines))
        self.sender, self.recipients = None, []
        return [b"250 message kept"]

    def read_line(self):
        line = b""
        while not line.endswith(b"\r\n"):
            piece = self.rfile.readline()
            if not piece:
                return b""
            line += piece
        return line


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory", help="an existing directory for what arrives")
    parser.add_argument("--port", type=int, default=25, help="0: any free one; it is written to DIRECTORY/port")
    parser.add_argument("--no-8bitmime", action="store_true", help="offer no 8BITMIME and no SMTPUTF8")
    parser.add_argument("--refuse", action="append", default=[], metavar="ADDRESS", help="answer 550 to this RCPT")
    options = parser.parse_args()
    with Sink(("127.0.0.1", options.port), Session) as sink:
        sink.store = Store(options.directory)
        sink.refused = set(options.refuse)
        sink.extensions = ["SIZE 0"] + ([] if options.no_8bitmime else ["8BITMIME", "SMTPUTF8"])
        port = os.path.join(options.directory, "port")
        with open(port + ".part", "w") as part:
            part.write(f"{sink.server_address[1]}\n")
        os.rename(port + ".part", port)
        sink.serve_forever()


if __name__ == "__main__":
    main()
