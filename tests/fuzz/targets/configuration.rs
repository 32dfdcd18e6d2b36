//! Any bytes as a configuration: no panic, faults that can be told in one line each, and what is accepted prints
//! as a configuration that reads back as the same. The first NUL divides the base from the file that lies over it.

#![no_main]

use buildd_sequencer::config::chain::{Chain, File};
use buildd_sequencer::config::{Fault, Loaded, check, parse};
use libfuzzer_sys::fuzz_target;

fn read(texts: &[&[u8]]) -> Result<Loaded, Vec<Fault>> {
    let file = |(number, text): (usize, &&[u8])| File {
        path: format!("{number}.conf").into(),
        text: text.to_vec(),
    };
    parse(Chain {
        files: texts.iter().enumerate().map(file).collect(),
        ..Chain::default()
    })
}

fn printable(line: &str) -> bool {
    !line.contains(char::is_control)
}

fuzz_target!(|data: &[u8]| {
    let texts: Vec<&[u8]> = data.splitn(2, |&byte| byte == 0).collect();
    let loaded = match read(&texts) {
        Ok(loaded) => loaded,
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(printable(&fault.to_string()), "{fault}");
                assert!(fault.line > 0, "{fault}");
            }
            return;
        }
    };
    let before = loaded.config.clone();
    let (warnings, _) = loaded.warnings(usize::MAX);
    for warning in &warnings {
        assert!(printable(&warning.to_string()), "{warning}");
        assert!(warning.line > 0, "{warning}");
    }
    for few in [0, 1, 20] {
        let (told, more) = loaded.warnings(few);
        assert_eq!(told.len(), few.min(warnings.len()));
        assert_eq!(told.len() + more, warnings.len());
    }
    let config = loaded.config;
    assert_eq!(config, before);
    assert!(!config.jobs.is_empty());
    for (_, warning) in check::warnings(&config) {
        assert!(printable(&warning), "{warning}");
    }
    for job in &config.jobs {
        assert!(!job.argv().is_empty(), "{job:?}");
        for to in config.sequencer.recipients(job) {
            assert!(&**to == "-" || !to.starts_with('-'), "{to}");
            assert!(
                !to.contains(|c: char| c.is_control() || c.is_whitespace()),
                "{to}"
            );
        }
    }
    let printed = check::print(&config);
    let again =
        read(&[printed.as_bytes()]).unwrap_or_else(|faults| panic!("{printed}\n{faults:?}"));
    assert_eq!(check::print(&again.config), printed);
    let commands = |config: &buildd_sequencer::config::Config| -> Vec<Vec<String>> {
        config.jobs.iter().map(|job| job.argv()).collect()
    };
    assert_eq!(commands(&again.config), commands(&config), "{printed}");
});
