//! The files, manual pages and tests that the documents name exist, and the README reads well in a pager.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Place, stderr, stdout};

/// Where the project is.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages for people: the README, and whatever is called so or ends in `.md` in these folders.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README")];
    for folder in ["contrib", "tests"] {
        find_pages(Path::new(folder), &mut pages);
    }
    pages
}

fn find_pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(top().join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_directory = top().join(&path).symlink_metadata().unwrap().is_dir();
        if is_directory && name != "target" && name != "corpus" {
            find_pages(&path, pages);
        } else if name == "README" || (name.ends_with(".md") && !is_directory) {
            pages.push(path);
        }
    }
}

/// The words of a text that could name something, without the punctuation around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "`\"'()[]<>,;|=".contains(c))
        .map(|word| word.trim_end_matches(['.', ':', '!', '?']))
        .filter(|word| !word.is_empty())
}

/// Whether `word` is a path in the project, by its first folder; one with a star or capitals stands for several.
fn names_a_file(word: &str) -> bool {
    let first = word.split('/').next().unwrap_or_default();
    word.contains('/')
        && ["contrib", "src", "tests", ".ci"].contains(&first)
        && !word.contains('*')
        && !word.ends_with("/X.sh")
}

#[test]
fn the_readme_fits_a_terminal() {
    let readme = read("README");
    assert!(readme.lines().count() <= 200, "more than 200 lines");
    for (at, line) in readme.lines().enumerate() {
        let columns = line.chars().count();
        assert!(
            columns <= 80,
            "line {} has {columns} columns: {line}",
            at + 1
        );
        assert!(line.is_ascii() && !line.contains('\t'), "line {}", at + 1);
    }
}

#[test]
fn the_readme_names_the_two_commands_to_try_it() {
    let readme = read("README");
    for command in [
        "cargo run --release -- -c contrib/example.conf",
        "cargo test",
    ] {
        assert!(
            readme.lines().any(|line| line == format!("    {command}")),
            "{command}"
        );
    }
}

#[test]
fn the_readmes_configuration_is_read_without_a_fault_of_its_own() {
    let readme = read("README");
    let sample: String = readme
        .lines()
        .skip_while(|line| *line != "    [buildsequencer]")
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.trim_start().to_string() + "\n")
        .collect();
    // Programs and directories of its own it may miss here.
    let place = Place::new();
    place.write("conf", &sample);
    let checked = place.run(&["check", "-c", "conf"]);
    let printed = stdout(&checked);
    assert!(
        printed.contains("[buildsequencer_job.slave_scanner]\n"),
        "{printed}"
    );
    assert!(printed.contains("\ntimeout: 600\n"), "{printed}");
    let said = stderr(&checked);
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut named = 0;
    for page in pages() {
        for word in words(&read(&page)).filter(|word| names_a_file(word)) {
            assert!(top().join(word).exists(), "{} names {word}", page.display());
            named += 1;
        }
    }
    assert!(named > 50, "only {named} names were found");
}

#[test]
fn every_manual_page_that_a_page_names_exists() {
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("buildd-sequencer") {
            let name: String = text[at..]
                .chars()
                .take_while(|&c| c.is_ascii_alphanumeric() || "-.()".contains(c))
                .collect();
            let Some((name, section)) = name.split_once('(') else {
                continue;
            };
            let Some((section, _)) = section.split_once(')') else {
                continue;
            };
            let file = top().join(format!("contrib/man/{name}.{section}"));
            assert!(file.exists(), "{} names {name}({section})", page.display());
            named += 1;
        }
    }
    assert!(named >= 2, "only {named} names were found");
}

/// The anchor that a heading has: in small letters, with dashes for blanks and without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|&c| c.is_alphanumeric() || c == '-' || c == '_')
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(Path::new("")).join(file),
            };
            assert!(top().join(&target).exists(), "{}: {link}", page.display());
            let known = |line: &str| anchor(line.trim_start_matches('#')) == heading;
            assert!(
                heading.is_empty()
                    || read(&target)
                        .lines()
                        .any(|line| line.starts_with('#') && known(line)),
                "{}: {link}",
                page.display()
            );
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links were found");
}

#[test]
fn every_test_that_is_named_as_holding_a_promise_exists() {
    let mut modules: HashMap<String, String> = HashMap::new();
    for entry in fs::read_dir(top().join("tests/behaviour")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            modules.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
    let text = read("tests/README.md");
    let mut named = 0;
    for (module, test) in words(&text).filter_map(|word| word.split_once("::")) {
        if test.is_empty() {
            continue;
        }
        let source = modules
            .get(module)
            .unwrap_or_else(|| panic!("there is no module {module}"));
        let found = match test.strip_suffix('*') {
            Some(beginning) => source.contains(&format!("fn {beginning}")),
            None => source.contains(&format!("fn {test}()")),
        };
        assert!(found, "there is no test {module}::{test}");
        named += 1;
    }
    assert!(named > 50, "only {named} names were found");
}
