//! Reports on their way: what is written, how it is encoded, and the queue that sends it until it is taken.
//! Pure: what starts sendmail stands in `daemon::mailer`.

pub mod queue;
pub mod quoted_printable;
pub mod report;
