//! Quoted-printable (RFC 2045, 6.7) for any bytes. No byte is changed, lines stay short, and no mail program on the way
//! can mistake a line for one of its own. It encodes piece by piece and knows nothing of messages.

/// The longest line SMTP carries, without its end (RFC 5322, 2.1.1).
const MAX_PLAIN: usize = 998;
/// The longest encoded line, its `=` included (RFC 2045, 6.7, rule 5).
const MAX_LINE: usize = 76;

/// Whether `body` has to be encoded: it is not 7-bit, has a line over 998 bytes, holds CR or NUL, or has a line that
/// begins with `From `, which some delivery agents change.
pub fn needed(body: &[u8]) -> bool {
    body.split(|&b| b == b'\n').any(|line| {
        line.len() > MAX_PLAIN
            || line.starts_with(b"From ")
            || line
                .iter()
                .any(|&b| !b.is_ascii() || b == b'\r' || b == b'\0')
    })
}

/// Encodes from `raw[pos]` on. Appends whole lines to `out` until it has grown by `want` bytes or up to 80 more, and
/// returns the position to go on from. At `raw.len()` everything is encoded.
///
/// LF ends a line as it is. A body that does not end in LF gets a soft line break at its end, which decodes to nothing:
/// its last line is ended too.
pub fn encode_chunk(raw: &[u8], mut pos: usize, out: &mut Vec<u8>, want: usize) -> usize {
    let goal = out.len().saturating_add(want.max(1));
    while pos < raw.len() && out.len() < goal {
        pos = encode_line(raw, pos, out);
    }
    pos.min(raw.len())
}

/// Appends one encoded line with its end. `pos` is within `raw`.
fn encode_line(raw: &[u8], mut pos: usize, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    while let Some(&byte) = raw.get(pos) {
        if byte == b'\n' {
            out.push(b'\n');
            return pos + 1;
        }
        let plain = is_plain(raw, pos, out.len() == start);
        let width = if plain { 1 } else { 3 };
        // The last column of a line is kept for the `=` of a soft break, unless the line ends here anyway.
        let ends = raw.get(pos + 1) == Some(&b'\n');
        let room = if ends { MAX_LINE } else { MAX_LINE - 1 };
        if out.len() - start + width > room {
            break;
        }
        if plain {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', hex(byte >> 4), hex(byte & 15)]);
        }
        pos += 1;
    }
    out.extend_from_slice(b"=\n");
    pos
}

/// Whether the byte at `pos` may stand unencoded. `first` says that it would begin an encoded line.
fn is_plain(raw: &[u8], pos: usize, first: bool) -> bool {
    let rest = raw.get(pos..).unwrap_or_default();
    match rest {
        // Mail programs may drop white space at a line's end.
        [b' ' | b'\t'] | [b' ' | b'\t', b'\n', ..] => false,
        [b' ' | b'\t', ..] => true,
        // A single dot ends a message for SMTP and for sendmail without -i.
        [b'.', ..] if first => false,
        [b'F', b'r', b'o', b'm', b' ', ..] if first => false,
        [byte, ..] => byte.is_ascii_graphic() && *byte != b'=',
        [] => false,
    }
}

fn hex(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble & 15)]
}

#[cfg(test)]
mod tests;
