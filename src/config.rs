//! Layers of configuration: file < environment < flags. What there is to configure is each
//! program's business: one struct of `Option`s that derives `clap::Parser` (flags and, through
//! `env`, the environment), `Serialize` and `Deserialize` (the file).
//!
//! A key of the file is the flag without its dashes. A struct under `#[command(flatten)]` is a
//! table of the file.

use std::{fmt::Display, path::Path, process::ExitCode};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

/// What a start ends with when the configuration is at fault (as clap does for a wrong flag).
pub const MISCONFIGURED: u8 = 2;

/// `given` (flags and environment), with `file` filling in what it leaves open.
///
/// A field that must not be set by a file is `#[serde(skip)]`; such fields keep the value they
/// have in `Default`, so take them out of `given` before.
pub fn layered<T>(given: T, file: Option<&Path>) -> anyhow::Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let Some(path) = file else { return Ok(given) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the config file {}", path.display()))?;
    over(given, &text).map_err(|fault| anyhow::anyhow!("{}{fault}", path.display()))
}

/// Says on stderr, in one line, why `program` does not start.
pub fn refuse(program: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{program}: {error:#}");
    ExitCode::from(MISCONFIGURED)
}

/// Says whether `program` could start with its settings, as far as could be told without starting.
#[expect(
    clippy::print_stdout,
    reason = "what was asked for on the command line"
)]
pub fn told(program: &str, would_do: anyhow::Result<()>) -> ExitCode {
    if let Err(error) = would_do {
        return refuse(program, &error);
    }
    println!("{program}: these settings can work");
    ExitCode::SUCCESS
}

fn over<T>(given: T, text: &str) -> Result<T, String>
where
    T: Serialize + DeserializeOwned,
{
    // First as the program's own type: only that names the line of a wrong key or value.
    let filed: T = toml::from_str(text).map_err(|error| fault(text, &error))?;
    let mut merged = table(&filed)?;
    lay(&mut merged, table(&given)?);
    merged.try_into().map_err(unnamed)
}

fn table<T: Serialize>(layer: &T) -> Result<toml::Table, String> {
    toml::Table::try_from(layer).map_err(unnamed)
}

/// What is set in `upper` wins; tables are merged key by key, lists replaced as a whole.
fn lay(lower: &mut toml::Table, upper: toml::Table) {
    for (key, value) in upper {
        // A list that nobody gave: clap has no other word for it.
        if value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        match (lower.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// `:LINE: the line: which rule`, to follow the name of the file.
fn fault(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..at]
        .iter()
        .filter(|&&b| b == b'\n')
        .count();
    let content = text.lines().nth(line).unwrap_or_default().trim();
    let message = error.message().replace('\n', "; ");
    format!(":{}: `{content}`: {message}", line + 1)
}

fn unnamed(error: impl Display) -> String {
    format!(": {}", error.to_string().trim().replace('\n', "; "))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Program {
        listen_on: Option<String>,
        threshold: Option<u32>,
        names: Vec<String>,
        limits: Limits,
    }

    #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Limits {
        most: Option<u32>,
        least: Option<u32>,
    }

    #[test]
    fn what_is_given_wins_and_the_file_fills_the_rest() {
        let given = Program {
            threshold: Some(3),
            limits: Limits {
                most: Some(9),
                least: None,
            },
            ..Program::default()
        };
        let file = "listen-on = 'here'\nthreshold = 7\n[limits]\nmost = 1\nleast = 2\n";
        let merged = over(given, file).unwrap();
        assert_eq!(merged.listen_on.as_deref(), Some("here"));
        assert_eq!(merged.threshold, Some(3));
        assert_eq!(
            merged.limits,
            Limits {
                most: Some(9),
                least: Some(2)
            }
        );
    }

    #[test]
    fn a_list_of_the_file_stays_unless_another_is_given() {
        let file = "names = ['a', 'b']\n";
        let names = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let given = Program {
                names,
                ..Program::default()
            };
            over(given, file).unwrap().names
        };
        assert_eq!(names(&[]), ["a", "b"]);
        assert_eq!(names(&["c"]), ["c"]);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let fault = over(Program::default(), "threshold = 3\ntreshold = 4\n").unwrap_err();
        assert!(
            fault.starts_with(":2: `treshold = 4`: unknown field `treshold`"),
            "{fault}"
        );
        assert!(!fault.contains('\n'));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line() {
        let fault = over(Program::default(), "\n[limits]\nmost = 'many'\n").unwrap_err();
        assert!(
            fault.starts_with(":3: `most = 'many'`: invalid type"),
            "{fault}"
        );
    }

    #[test]
    fn a_file_that_is_not_toml_is_said_with_its_line() {
        let fault = over(Program::default(), "threshold = 3\nlisten\n").unwrap_err();
        assert!(fault.starts_with(":2: `listen`: "), "{fault}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = layered(Program::default(), Some(Path::new("/nowhere/x.toml")));
        let error = format!("{:#}", missing.unwrap_err());
        assert!(
            error.starts_with("cannot read the config file /nowhere/x.toml: "),
            "{error}"
        );
    }
}
