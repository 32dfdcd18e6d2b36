//! The form of a message for programs: JSON objects, a line each, and each shorter than 16 KiB whatever a job has
//! printed.

use crate::json::{Object, fit, quote_bytes, quote_ends};
use crate::message::{Message, Output, Stream};

/// Of a text, and of each stream, so many of the first and of the last bytes are written, as escaped.
const END: usize = 2048;
/// So many bytes of a stream that is written whole are in one object, as escaped.
const PIECE: usize = 8192;

/// What an object holds beside the message's own fields.
enum More<'a> {
    Nothing,
    /// The ends of these.
    Ends(&'a [Stream<'a>]),
    /// A piece of a stream, its number, and how many there are.
    Piece(&'static str, &'a [u8], [u64; 2]),
}

/// Hands out the lines of a message, each an object without its line feed. `time` is that of the message (RFC 3339).
pub(super) fn lines(time: &str, message: &dyn Message, each: &mut dyn FnMut(&str)) {
    let words = message.to_string();
    let mut line = String::new();
    let mut write = |text: &[&[u8]], more: &More<'_>| {
        line.clear();
        object(&mut line, time, message, text, more);
        each(&line);
    };
    let first = words.split('\n').next().unwrap_or_default();
    let title = message.title().unwrap_or(first).as_bytes();
    match message.output() {
        Output::None => {
            for text in words.split('\n') {
                write(&[text.as_bytes()], &More::Nothing);
            }
        }
        Output::Ends(streams) => write(&[title], &More::Ends(&streams)),
        Output::Whole(streams) => {
            let mut parts = [0, 0];
            pieces(&streams, &mut |_, _| parts[1] += 1);
            pieces(&streams, &mut |name, piece| {
                parts[0] += 1;
                write(&[title], &More::Piece(name, piece, parts));
            });
        }
        Output::Line(bytes) => {
            in_pieces(bytes, END, &mut |piece| {
                write(&[title, piece], &More::Nothing)
            });
        }
    }
}

fn object(to: &mut String, time: &str, message: &dyn Message, text: &[&[u8]], more: &More<'_>) {
    let (event, level) = message.head();
    let mut object = Object::begin(to);
    object.text("time", time);
    object.text("level", level.word());
    object.text("event", event);
    quote_ends(object.name("message"), [text, &[]], 0, END);
    message.fields(&mut object);
    match more {
        More::Nothing => {}
        More::Ends(streams) => streams
            .iter()
            .for_each(|stream| put_ends(&mut object, stream)),
        More::Piece(name, piece, [part, parts]) => {
            object.number("part", *part);
            object.number("parts", *parts);
            quote_bytes(object.name(name), piece);
        }
    }
    object.end();
}

fn put_ends(object: &mut Object<'_>, stream: &Stream<'_>) {
    let parts: [&[&[u8]]; 2] = [&[stream.before], &stream.after];
    let gone = quote_ends(object.name(stream.name), parts, stream.missing, END);
    if gone > 0 {
        object.number(&format!("{}_left_out", stream.name), gone);
    }
}

fn pieces<'a>(streams: &[Stream<'a>], each: &mut dyn FnMut(&'static str, &'a [u8])) {
    for stream in streams {
        let [older, newer] = stream.after;
        for bytes in [stream.before, stream.gap, older, newer] {
            if !bytes.is_empty() {
                in_pieces(bytes, PIECE, &mut |piece| each(stream.name, piece));
            }
        }
    }
}

/// Hands out pieces that have at most `most` bytes as escaped; one, if there are no bytes.
fn in_pieces<'a>(mut bytes: &'a [u8], most: usize, each: &mut dyn FnMut(&'a [u8])) {
    loop {
        let (piece, rest) = bytes.split_at(fit(bytes, most));
        each(piece);
        if rest.is_empty() {
            return;
        }
        bytes = rest;
    }
}
