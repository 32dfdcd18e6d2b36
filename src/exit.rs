//! Exit statuses, in sysexits' terms where there is one (sysexits.h).

/// All went well.
pub const OK: u8 = 0;
/// The system refused something at run time, or a command was refused.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// No daemon answers.
pub const NO_DAEMON: u8 = 3;
/// The configuration is wrong (EX_CONFIG).
pub const CONFIG: u8 = 78;
