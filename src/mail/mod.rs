//! Mail: what a report says, how it is encoded, and the queue that sends it until sendmail takes it. Pure:
//! `daemon::mailer` starts sendmail.

pub mod queue;
pub mod quoted_printable;
pub mod report;
