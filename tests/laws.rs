//! Laws of the source and its documents, so that the map cannot lie. Imports run one way, only certain files touch the
//! operating system, and keys, defaults, options and commands are the same wherever they are documented. These tests
//! read files and start nothing but `--help`; each says what to do about a breach.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildd_sequencer::config::keys::{self, Key};
use buildd_sequencer::config::{Job, Sequencer};

/// Files outside `system/` and `daemon/` that may touch the operating system: the program itself, what comes before the
/// loop, and the commands, which are programs of their own.
const OUTSIDE_THE_LOOP: [&str; 3] = ["main", "start", "client"];

/// Words that only those files may use: the crates and modules of std that reach the system, and the clocks.
const SYSTEM_WORDS: [&str; 9] = [
    "nix::",
    "mio::",
    "signal_hook::",
    "std::fs",
    "std::process",
    "std::net",
    "std::os::",
    "Instant::now",
    "SystemTime::now",
];

/// A source file, without its tests and comments.
struct Source {
    /// Its path below `src`, without ending; `mod` files go by their folder's name.
    name: String,
    /// The whole text.
    text: String,
    /// The lines that are compiled into the program.
    code: Vec<String>,
}

impl Source {
    /// Its folder, or itself at the top.
    fn subject(&self) -> &str {
        self.name.split('/').next().unwrap()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below `directory` with this ending, as paths from the top of the project.
fn files(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path.to_str().unwrap().to_string());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {directory}");
    found
}

fn sources() -> Vec<Source> {
    let paths = files("src", ".rs").into_iter();
    paths
        // Code shared by tests counts as test.
        .filter(|path| !path.ends_with("/tests.rs") && !path.ends_with("/made.rs"))
        .map(|path| {
            let text = read(&path);
            let name = path.strip_prefix("src/").unwrap().strip_suffix(".rs");
            let name = name.unwrap().trim_end_matches("/mod").to_string();
            let code = code(&text);
            Source { name, text, code }
        })
        .collect()
}

/// The lines of a file that are neither comment nor test.
fn code(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else if !line.trim_start().starts_with("//") {
            code.push(line.to_string());
        }
    }
    code
}

/// Skips the item after an attribute at the margin.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let item = lines.find(|line| {
        let first = line.chars().next();
        first.is_some_and(|c| c.is_ascii_lowercase())
    });
    if item.is_some_and(|item| !item.ends_with(';')) {
        lines.find(|line| *line == "}");
    }
}

/// The modules that a file imports, as paths below `src`: `config/chain`, `text`.
fn imports(source: &Source) -> BTreeSet<String> {
    let text = source.code.join(" ");
    let own: Vec<&str> = source.name.split('/').collect();
    let mut found = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        use_tree(part, &[], &mut found);
    }
    for (at, _) in text.match_indices("super::") {
        if !text[..at].ends_with("super::") {
            use_tree(&text[at..], &own, &mut found);
        }
    }
    found
}

/// Adds the modules that the text names, which begins like the rest of a `use` declaration below the module `at`.
/// Returns the text behind them.
fn use_tree<'a>(text: &'a str, at: &[&'a str], found: &mut BTreeSet<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') {
            rest = use_tree(rest, at, found);
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
            if rest.is_empty() {
                break;
            }
        }
        return rest.trim_start().strip_prefix('}').unwrap_or(rest);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let mut at = at.to_vec();
    match word {
        "self" => {}
        "super" => drop(at.pop()),
        _ if word.starts_with(char::is_lowercase) => at.push(word),
        // A type, or everything.
        _ => {
            found.insert(at.join("/"));
            return rest;
        }
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return use_tree(rest, &at, found);
    }
    found.insert(at.join("/"));
    rest
}

/// The nodes that can be reached from themselves.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reaches = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for next in graph.get(node).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let nodes = graph.keys();
    nodes
        .filter(|node| reaches(node).contains(node.as_str()))
        .cloned()
        .collect()
}

#[track_caller]
fn nothing(what: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{what}:\n{}", breaches.join("\n"));
}

#[test]
fn imports_run_one_way_between_the_folders() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let subject = source.subject().to_string();
        let others = imports(&source).into_iter();
        let others = others.map(|path| path.split('/').next().unwrap().to_string());
        let others = others.filter(|other| *other != subject);
        graph.entry(subject.clone()).or_default().extend(others);
    }
    assert!(graph["daemon"].contains("system"), "the graph is empty");
    nothing("a circle of imports goes through", &circles(&graph));
}

#[test]
fn imports_run_one_way_within_a_folder() {
    let names: BTreeSet<String> = sources().iter().map(|source| source.name.clone()).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        // A folder's own file names the other files in it, which import what all of them share from it.
        let below = format!("{}/", source.name);
        if names.iter().any(|name| name.starts_with(&below)) {
            continue;
        }
        let imported = imports(&source);
        let siblings = names.iter().filter(|name| {
            let below = |path: &String| path == *name || path.starts_with(&format!("{name}/"));
            **name != source.name && name.contains('/') && imported.iter().any(below)
        });
        graph.insert(source.name.clone(), siblings.cloned().collect());
    }
    let imports = |from: &str, to: &str| graph[from].contains(to);
    assert!(imports("config/layers", "config/keys") && imports("daemon/stream", "daemon/ready"));
    nothing("a circle of imports goes through", &circles(&graph));
}

#[test]
fn only_the_system_the_daemon_and_what_comes_before_it_touch_the_operating_system() {
    let mut breaches = Vec::new();
    for source in sources() {
        let may = matches!(source.subject(), "system" | "daemon")
            || OUTSIDE_THE_LOOP.contains(&source.subject());
        if may {
            continue;
        }
        for line in &source.code {
            // This only turns names into bytes and touches nothing.
            let line = line.replace("std::os::unix::ffi", "");
            let words = SYSTEM_WORDS.iter().filter(|word| line.contains(**word));
            breaches
                .extend(words.map(|word| format!("{}: {word} in '{}'", source.name, line.trim())));
        }
    }
    nothing(
        "decides, so it is told of time and files instead of asking for them",
        &breaches,
    );
}

#[test]
fn the_system_knows_nothing_of_jobs() {
    let mut breaches = Vec::new();
    for source in sources() {
        if source.subject() != "system" {
            continue;
        }
        for path in imports(&source) {
            let subject = path.split('/').next().unwrap();
            if ["job", "mail", "status", "daemon", "cli", "start"].contains(&subject) {
                breaches.push(format!("{} imports {path}", source.name));
            }
        }
    }
    nothing(
        "system/ wraps the operating system and nothing else",
        &breaches,
    );
}

#[test]
fn every_file_says_what_it_is_and_the_tour_names_every_folder() {
    let tour = read("src/lib.rs");
    let mut breaches = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            breaches.push(format!("{} has no header", source.name));
        }
        let header = tour.lines().filter(|line| line.starts_with("//!"));
        let subject = source.subject();
        let named = ["lib", "main"].contains(&subject)
            || header
                .clone()
                .any(|line| line.contains(&format!("`{subject}`")));
        if !named {
            breaches.push(format!("the tour in lib.rs does not name `{subject}`"));
        }
    }
    breaches.dedup();
    nothing("a newcomer reads these first", &breaches);
}

#[test]
fn tests_longer_than_their_code_stand_in_a_file_beside_it() {
    let mut breaches = Vec::new();
    for source in sources() {
        let block = source.text.rsplit_once("\n#[cfg(test)]\n");
        let Some((code, tests)) = block.filter(|(_, tests)| tests.contains("mod tests {")) else {
            continue;
        };
        let (code, tests) = (code.lines().count(), tests.lines().count());
        if tests > code {
            breaches.push(format!(
                "{}: {tests} lines of tests, {code} before them",
                source.name
            ));
        }
    }
    nothing("move these to tests.rs in a folder of that name", &breaches);
}

#[test]
fn nothing_is_newer_than_the_compiler_that_the_project_promises() {
    // rustc accepts let chains from 1.88 on, whatever rust-version says, and clippy reports neither them nor, in tests,
    // what the standard library had later.
    let manifest = read("Cargo.toml");
    assert!(
        manifest.contains("rust-version = \"1.85\""),
        "this law is old"
    );
    let mut breaches = Vec::new();
    for path in ["src", "tests", "contrib/bench"]
        .iter()
        .flat_map(|d| files(d, ".rs"))
    {
        for (number, line) in (1..).zip(read(&path).lines()) {
            let is_newer = ["&& let ", "std::io::pipe("]
                .iter()
                .any(|new| line.trim_start().starts_with(new) || line.contains(&format!(" {new}")));
            if is_newer {
                breaches.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    nothing("these need a newer Rust than 1.85", &breaches);
}

/// Words of a text that could be names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn every_public_item_is_used() {
    // The library has no users but the program, the benchmark, the fuzz targets and the tests of other files.
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |text: &str| {
        for word in words(text) {
            *used.entry(word.to_string()).or_default() += 1;
        }
    };
    for source in sources() {
        count(&source.code.join("\n"));
    }
    for path in ["contrib/bench", "tests/fuzz/targets"]
        .iter()
        .flat_map(|d| files(d, ".rs"))
    {
        count(&read(&path));
    }
    for path in [
        "tests/simulation.rs",
        "tests/laws.rs",
        "tests/behaviour/configparser.rs",
    ] {
        count(&read(path));
    }
    let mut breaches = Vec::new();
    for source in sources() {
        for line in &source.code {
            let line = line.trim_start();
            let Some(rest) = line.strip_prefix("pub ") else {
                continue;
            };
            let mut rest =
                words(rest).skip_while(|word| ["const", "unsafe", "async"].contains(word));
            let (kind, name) = (
                rest.next().unwrap_or_default(),
                rest.next().unwrap_or_default(),
            );
            let (kind, name) = match kind {
                "fn" | "struct" | "enum" | "trait" | "type" | "static" => (kind, name),
                // The name follows `const`.
                _ if line.starts_with("pub const ") => ("const", kind),
                _ => continue,
            };
            if used.get(name).is_none_or(|&times| times < 2) {
                breaches.push(format!("{}: {kind} {name}", source.name));
            }
        }
    }
    nothing("nobody uses these; remove them, or what would", &breaches);
}

#[test]
fn no_decision_hangs_on_the_words_of_a_message() {
    let mut breaches = Vec::new();
    for source in sources() {
        for line in &source.code {
            let asks = [
                "message.starts_with",
                "message.contains",
                "message ==",
                "why.contains",
            ];
            if asks.iter().any(|word| line.contains(word)) {
                breaches.push(format!("{}: {}", source.name, line.trim()));
            }
        }
    }
    nothing("decide by an enum; words are for people", &breaches);
}

/// Keys as a document has them: section and name, and the default.
type Told = BTreeMap<(&'static str, String), Option<String>>;

/// The keys of buildd-sequencer.conf(5), with the defaults that it states.
fn keys_of_the_page() -> Told {
    let mut told = Told::new();
    let (mut section, mut last) = (None, None);
    for line in read("contrib/man/buildd-sequencer.conf.5").lines() {
        if let Some(title) = line.strip_prefix(".Sh ") {
            section = match title {
                "THE DAEMON" => Some("daemon"),
                "JOBS" => Some("job"),
                _ => None,
            };
        }
        let key = line
            .strip_prefix(".It Ic ")
            .and_then(|rest| rest.split(' ').next());
        if let (Some(section), Some(key)) = (section, key) {
            last = Some((section, key.to_string()));
            told.insert((section, key.to_string()), None);
        }
        let default = line.strip_prefix("Default: ");
        if let (Some(last), Some(default)) = (&last, default) {
            told.insert(
                last.clone(),
                Some(default.trim_end_matches('.').to_string()),
            );
        }
    }
    told
}

/// The keys of the shipped configuration, with the defaults that it states.
fn keys_of_the_installed_configuration() -> Told {
    let mut told = Told::new();
    let mut section = None;
    for line in read("contrib/buildd-sequencer.conf").lines() {
        let is_default = line.starts_with('#');
        let line = line.trim_start_matches('#');
        if let Some(header) = line.strip_prefix('[') {
            section = match header {
                "buildsequencer]" => Some("daemon"),
                _ if header.starts_with("buildsequencer_job.") => Some("job"),
                _ => None,
            };
        }
        let (Some(section), Some((key, value))) = (section, line.split_once(':')) else {
            continue;
        };
        if key.bytes().all(|byte| byte.is_ascii_lowercase()) {
            let default = is_default.then(|| value.trim().to_string());
            told.insert((section, key.to_string()), default);
        }
    }
    told
}

/// Checks that each default in a document, read as a value, is the program's default.
fn check_defaults<T: Default>(
    section: &'static str,
    known: &[Key<T>],
    told: &Told,
    document: &str,
) {
    let mut breaches = Vec::new();
    for key in known {
        let Some(default) = told.get(&(section, key.name.to_string())) else {
            breaches.push(format!("{document} does not name {}", key.name));
            continue;
        };
        // A default that is another key's value is given in words.
        let Some(default) = default.as_deref().filter(|text| !text.starts_with("as")) else {
            continue;
        };
        let value = if default == "empty" { "" } else { default };
        let mut read = T::default();
        let shown = key.set(&mut read, value).map(|()| (key.show)(&read));
        let expected = (key.show)(&T::default());
        let same = shown.as_deref() == Ok(&expected)
            // A value set by hand may do more than the same default.
            || (key.name == "stuckafter" && value == "1h");
        if !same {
            breaches.push(format!(
                "{document}: {} is {expected}, not {default}",
                key.name
            ));
        }
    }
    let names = told
        .keys()
        .filter(|(of, _)| *of == section)
        .map(|(_, name)| name);
    let unknown = names.filter(|name| !known.iter().any(|key| key.name == *name));
    breaches.extend(unknown.map(|name| format!("{document}: there is no key {name}")));
    nothing("program and documents must name the same", &breaches);
}

#[test]
fn manual_page_and_installed_configuration_have_the_programs_keys_and_defaults() {
    let documents = [
        ("buildd-sequencer.conf(5)", keys_of_the_page()),
        (
            "contrib/buildd-sequencer.conf",
            keys_of_the_installed_configuration(),
        ),
    ];
    for (document, told) in documents {
        check_defaults::<Sequencer>("daemon", &keys::SEQUENCER, &told, document);
        check_defaults::<Job>("job", &keys::JOB, &told, document);
    }
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_buildd-sequencer"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of `--help`.
fn commands() -> BTreeSet<String> {
    let help = help();
    let list = help.split("Commands:\n").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap();
    let lines = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let found: BTreeSet<String> = lines
        .map(|line| line.split_whitespace().next().unwrap().to_string())
        .collect();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The long options of a text.
fn options(text: &str) -> BTreeSet<String> {
    let parts = text.split("--").skip(1);
    parts
        .map(|part| {
            let name = part
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || "-_".contains(*c));
            name.collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn manual_page_and_completions_have_the_programs_commands_and_options() {
    let (commands, options_of_help) = (commands(), options(&help()));
    let page = read("contrib/man/buildd-sequencer.8");
    let page_options = page.split("Fl -").skip(1);
    let page_options: BTreeSet<String> = page_options
        .map(|rest| rest.split([' ', '\n']).next().unwrap().to_string())
        .collect();
    let mut breaches = Vec::new();
    for command in &commands {
        if !page.contains(&format!(".It Cm {command}")) {
            breaches.push(format!("buildd-sequencer(8) lacks the command {command}"));
        }
    }
    for option in options_of_help.difference(&page_options) {
        breaches.push(format!("buildd-sequencer(8) lacks the option --{option}"));
    }
    for option in page_options.difference(&options_of_help) {
        breaches.push(format!(
            "--help lacks the option --{option} of buildd-sequencer(8)"
        ));
    }
    // The help does not offer twistd's options that have no effect.
    let silent = [
        "no_save",
        "python",
        "prefix",
        "debug",
        "encrypted",
        "reactor",
        "originalname",
        "savestats",
        "profiler",
        "profile",
    ];
    for shell in ["buildd-sequencer.bash", "_buildd-sequencer"] {
        let completion = read(&format!("contrib/completions/{shell}"));
        let known: BTreeSet<&str> = words(&completion).collect();
        for command in &commands {
            if !known.contains(command.as_str()) {
                breaches.push(format!("{shell} lacks the command {command}"));
            }
        }
        let offered = options(&completion);
        for option in &options_of_help {
            if !offered.contains(option) && !silent.contains(&option.as_str()) {
                breaches.push(format!("{shell} lacks the option --{option}"));
            }
        }
    }
    nothing("whoever documents or completes, names all", &breaches);
}

#[test]
fn readme_names_only_commands_options_and_keys_that_there_are() {
    let readme = read("README");
    let options_of_help = options(&help());
    let mut breaches = Vec::new();
    for line in readme
        .lines()
        .filter(|line| line.contains("buildd-sequencer "))
    {
        let after = line.split("buildd-sequencer ").nth(1).unwrap();
        for option in options(after) {
            if !options_of_help.contains(&option) {
                breaches.push(format!("README: --{option}: {}", line.trim()));
            }
        }
        let is_command = line.starts_with("    ") && !line.contains(" - ");
        let first = after.split([' ', '\n']).next().unwrap();
        let named = first.bytes().all(|byte| byte.is_ascii_lowercase()) && !first.is_empty();
        if is_command && named && !commands().contains(first) {
            breaches.push(format!("README: no command '{first}': {}", line.trim()));
        }
    }
    nothing("what README shows must work", &breaches);
}
