//! Everything that touches the operating system, as thin wrappers that know nothing of jobs.

pub mod control;
pub mod detach;
pub mod errors;
pub mod files;
pub mod log;
pub mod notify;
pub mod pidfile;
pub mod privileges;
pub mod process;
pub mod signals;
pub mod users;
