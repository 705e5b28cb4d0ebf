//! Man pages and completions: that there are some for every program, of every option, and that those who read them can.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use tools::program::is_installed;

use super::{files, path, printed, programs};

#[test]
fn every_program_is_looked_at() {
    let shipped: BTreeSet<_> = programs()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let single = files("src/bin")
        .into_iter()
        .map(|file| file.trim_end_matches(".rs").to_owned());
    let folders = std::fs::read_dir(path("src/bin"))
        .unwrap()
        .map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let folders = folders.map(|entry| entry.file_name().into_string().unwrap());
    let mut built: BTreeSet<_> = single.chain(folders).collect();
    built.insert("segmenter".to_owned());
    assert_eq!(
        shipped, built,
        "a program of src/bin is not in programs() of tests/operations.rs"
    );
}

#[test]
fn man_pages_tell_of_every_option_and_can_be_read() {
    for (name, program) in programs() {
        let page = printed(&program, &["--generate", "man"]);
        for option in options(&program) {
            let written = option.replace('-', "\\-");
            assert!(page.contains(&written), "{name}: nothing about {option}");
        }
        if is_installed("mandoc") {
            // Long lines and other matters of style are nobody's trouble.
            let said = fed("mandoc", &["-T", "lint", "-W", "error"], &page);
            assert_eq!(said, "", "{name}");
        } else {
            eprintln!("SKIPPED: mandoc is not installed; man pages are only looked through");
        }
    }
}

#[test]
fn every_option_says_what_it_is() {
    for (name, program) in programs() {
        let script = printed(&program, &["--generate", "fish"]);
        let options: Vec<_> = script
            .lines()
            .filter(|line| line.starts_with("complete ") && line.contains(" -l "))
            .collect();
        assert!(options.len() > 3, "{name}: {script}");
        for line in options {
            assert!(
                line.contains(" -d "),
                "{name} has an option without help: {line}"
            );
        }
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        if !is_installed(shell) {
            eprintln!("SKIPPED: {shell} is not installed; its completions are not read");
            continue;
        }
        for (name, program) in programs() {
            let script = printed(&program, &["--generate", shell]);
            assert!(script.contains(name), "{shell}: {script}");
            assert_eq!(
                fed(shell, &[check, "/dev/stdin"], &script),
                "",
                "{name} for {shell}"
            );
        }
    }
}

/// The long options in `--help`, of subcommands too.
fn options(program: &Path) -> BTreeSet<String> {
    let help = printed(program, &["--help"]);
    let words = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    let long = |word: &str| {
        let end = word[2..].find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        word[..end.map_or(word.len(), |end| end + 2)].to_owned()
    };
    words.map(long).filter(|option| option.len() > 2).collect()
}

/// All that `program` says when it is fed `text`.
fn fed(program: &str, words: &[&str], text: &str) -> String {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = child.wait_with_output().unwrap();
    String::from_utf8([said.stdout, said.stderr].concat()).unwrap()
}
