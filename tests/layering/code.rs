//! Rust source as the layering rules see it: the tree's files, their code without comments and strings, and the
//! names that the code uses. Which names are allowed where is the rules' business.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One file of the tree.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the insides of strings blanked out; lines stay where they are.
    pub(crate) code: String,
}

/// All `.rs` files under `folder`, in the order of their paths.
pub(crate) fn files(root: &Path, folder: &str) -> Vec<File> {
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    paths.iter().map(|path| File::read(root, path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder that can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

impl File {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("source files are text");
        let inside = path.strip_prefix(root).expect("a path under the root");
        Self {
            path: inside.display().to_string().replace('\\', "/"),
            code: without_words(&text),
            text,
        }
    }

    /// The code up to the file's tests, which may look at a clock.
    pub(crate) fn production(&self) -> &str {
        let tests = self.code.find("#[cfg(test)]\nmod tests");
        &self.code[..tests.unwrap_or(self.code.len())]
    }

    /// The module of the crate that the file belongs to: `origin` for `src/origin/media.rs`.
    pub(crate) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let end = inside.find('/').unwrap_or(inside.len() - ".rs".len());
        &inside[..end]
    }

    /// The modules of its own crate that the file names, through `crate::` or `super::`.
    pub(crate) fn siblings(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            if !word_ends(&self.code[..at]) {
                named.extend(firsts(&self.code[at + "crate::".len()..]));
            }
        }
        // `super::` leads out of the module only as often as the file lies deep.
        let depth = self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"));
        for (at, _) in self.code.match_indices("super::") {
            let before = &self.code[..at];
            if before.ends_with("super::") || word_ends(before) {
                continue;
            }
            let rest = self.code[at..].trim_start_matches("super::");
            let ups = (self.code.len() - at - rest.len()) / "super::".len();
            let nested = usize::from(at >= self.production().len());
            if ups == depth + nested {
                named.extend(firsts(rest));
            }
        }
        named
    }
}

/// Whether `code` names `path` (such as `std::fs`): as written, or out of braces (`std::{fs, ..}`).
pub(crate) fn names(code: &str, path: &str) -> bool {
    let plain = code.match_indices(path).any(|(at, _)| {
        let after = code[at + path.len()..].chars().next();
        !word_ends(&code[..at]) && !after.is_some_and(is_word)
    });
    plain
        || path.rsplit_once("::").is_some_and(|(outer, last)| {
            code.match_indices(&format!("{outer}::{{"))
                .any(|(at, _)| firsts(&code[at + outer.len() + "::".len()..]).contains(last))
        })
}

/// The first names of a path, or of every branch of a `{...}`.
fn firsts(rest: &str) -> BTreeSet<String> {
    let Some(inside) = rest.strip_prefix('{') else {
        let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
        return BTreeSet::from([name]);
    };
    let (mut named, mut name, mut deep) = (BTreeSet::new(), String::new(), 0);
    let mut first = true;
    for c in inside.chars() {
        match c {
            '{' => deep += 1,
            '}' if deep == 0 => break,
            '}' => deep -= 1,
            ',' if deep == 0 => first = true,
            c if deep == 0 && first && is_word(c) => name.push(c),
            c if c.is_whitespace() => {}
            _ => first = false,
        }
        if !(name.is_empty() || first && is_word(c)) {
            named.insert(std::mem::take(&mut name));
        }
    }
    named.extend((!name.is_empty()).then_some(name));
    named
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_ends(code: &str) -> bool {
    code.chars().next_back().is_some_and(is_word)
}

/// Blanks out comments and the insides of strings. Knows as much of Rust's grammar as that takes.
fn without_words(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (length, blank) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), true)
        } else if let Some(length) = raw_string(rest).filter(|_| !word_ends(&code)) {
            (length, true)
        } else if c == '"' {
            (string(rest), true)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            let end = rest[2..].find('\'').map_or(rest.len(), |end| end + 3);
            (end, true)
        } else {
            (c.len_utf8(), false)
        };
        let (piece, after) = rest.split_at(length);
        if blank {
            code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(piece);
        }
        rest = after;
    }
    code
}

/// How long the string is that `rest` begins with, quotes included.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The same of a raw string, if it is one.
fn raw_string(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let hashes = inside.bytes().take_while(|&b| b == b'#').count();
    let body = inside[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)? + close.len();
    Some(rest.len() - body.len() + end)
}

#[test]
fn names_in_comments_and_strings_do_not_count() {
    let code = without_words("a // tokio\n\"tokio \\\" tokio\" r#\"tokio\"# '\"' b /* tokio */ c");
    assert!(!names(&code, "tokio"), "{code}");
    assert!(["a", "b", "c"].iter().all(|word| names(&code, word)));
}

#[test]
fn a_name_is_found_inside_braces_and_not_inside_words() {
    let code = "use std::{collections::{BTreeMap, fs}, net, time::Instant};";
    assert!(names(code, "std::net") && names(code, "std::time"));
    assert!(!names(code, "std::fs") && !names("my_tokio::x", "tokio"));
}

#[test]
fn siblings_are_found_however_they_are_named() {
    let file = |path: &str, code: &str| File {
        path: path.into(),
        text: String::new(),
        code: code.into(),
    };
    let origin = file(
        "src/origin/media.rs",
        "use crate::{net, store::{A, B}, source::X}; use super::viewers; fn f() { super::super::manager::g() }",
    );
    assert_eq!(origin.module(), "origin");
    let named = Vec::from_iter(origin.siblings());
    assert_eq!(named, ["manager", "net", "source", "store"]);
    let face = file("src/origin/mod.rs", "use super::store;");
    assert_eq!(Vec::from_iter(face.siblings()), ["store"]);
}
