//! The settings that a file may have, table by table, as Markdown. Which there are is what the program's own type is written as;
//! what they are is what its options say.

use std::fmt::Write as _;

use clap::{Arg, Command};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::told_of;

/// A section for the program, and in it a table for each table of its file.
///
/// # Panics
/// If nothing says what some setting is. A test makes these tables, so that this is found there.
pub(crate) fn table(
    command: &Command,
    sample: &impl Serialize,
    only_filed: &[(&str, &str)],
) -> String {
    let sample = serde_json::to_value(sample).unwrap_or_default();
    let mut text = format!("## {}\n", command.get_name());
    let of = Of {
        command,
        only_filed,
    };
    if let Some(settings) = sample.as_object() {
        of.rows(settings, &[], &mut text);
    }
    text
}

struct Of<'a> {
    command: &'a Command,
    only_filed: &'a [(&'a str, &'a str)],
}

impl Of<'_> {
    /// What is in the table at `path`, and then the tables in it.
    fn rows(&self, settings: &Map<String, Value>, path: &[&str], text: &mut String) {
        let (inner, own): (Vec<_>, Vec<_>) =
            settings.iter().partition(|(_, value)| value.is_object());
        if !own.is_empty() {
            let title = match path {
                [] => "Before any table".to_owned(),
                path => format!("`[{}]`", path.join(".")),
            };
            let _ = writeln!(
                text,
                "\n### {title}\n\n| setting | option | variable | what |\n|---|---|---|---|"
            );
        }
        for (key, _) in own {
            let _ = writeln!(text, "{}", self.row(key, path));
        }
        for (key, value) in inner {
            let path: Vec<_> = path.iter().copied().chain([key.as_str()]).collect();
            if let Some(settings) = value.as_object() {
                self.rows(settings, &path, text);
            }
        }
    }

    /// One setting of the table at `path`. In a table of named ones it is of that one, and no option says it.
    fn row(&self, key: &str, path: &[&str]) -> String {
        let named = path.contains(&"NAME");
        let whole = [path, &[key]].concat().join(".");
        let id = key.replace('-', "_");
        let option = told_of(self.command).find(|option| option.get_id() == id.as_str());
        let mut only_filed = self.only_filed.iter();
        let own = only_filed.find(|(only, _)| *only == key || *only == whole);
        let what = match (own, option) {
            (Some((_, what)), _) => (*what).to_owned(),
            (None, Some(option)) => help(option),
            (None, None) => panic!("nothing says what the setting {key} is"),
        };
        let option = option.filter(|_| !named && own.is_none());
        let flag = option.map(flag).unwrap_or_default();
        let variable = option.and_then(Arg::get_env);
        let variable = variable
            .map(|name| format!("`{}`", name.to_string_lossy()))
            .unwrap_or_default();
        format!("| `{key}` | {flag} | {variable} | {} |", cell(&what))
    }
}

fn flag(option: &Arg) -> String {
    let value = option.get_value_names().unwrap_or_default().first();
    let takes = option.get_action().takes_values();
    let value = value.filter(|_| takes).map(ToString::to_string);
    match (option.get_long(), value) {
        (Some(long), Some(value)) => format!("`--{long} {}`", value.replace('|', "\\|")),
        (Some(long), None) => format!("`--{long}`"),
        (None, value) => format!("`{}`", value.unwrap_or_default()),
    }
}

fn help(option: &Arg) -> String {
    let help = option.get_long_help().or(option.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let choices: Vec<_> = option
        .get_possible_values()
        .iter()
        .filter(|choice| !choice.is_hide_set() && option.get_action().takes_values())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    // Where the placeholder does not say it already.
    let placeholder = option.get_value_names().unwrap_or_default().first();
    let told = placeholder.is_some_and(|name| name == "BOOL" || name.contains('|'));
    match choices.as_slice() {
        [] => help,
        _ if told => help,
        choices => format!("{help}: {}", choices.join(", ")),
    }
}

/// One line, with nothing in it that would end the cell or be taken for an element of HTML.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    /// A program.
    #[derive(Debug, Default, Parser, Serialize)]
    #[command(name = "one")]
    #[serde(rename_all = "kebab-case")]
    struct One {
        /// How often
        #[arg(long, env = "ONE_OFTEN", value_name = "low|high")]
        how_often: Option<u32>,
        #[command(flatten)]
        net: Net,
        #[arg(skip)]
        streams: std::collections::BTreeMap<String, Net>,
    }

    #[derive(Clone, Debug, Default, clap::Args, Serialize)]
    struct Net {
        /// Where it listens
        /// [default: everywhere]
        #[arg(long)]
        listen: Option<String>,
        #[arg(skip)]
        key: Option<String>,
    }

    const TOLD: &str = "\
## one

### Before any table

| setting | option | variable | what |
|---|---|---|---|
| `how-often` | `--how-often low\\|high` | `ONE_OFTEN` | How often |

### `[net]`

| setting | option | variable | what |
|---|---|---|---|
| `key` |  |  | A secret |
| `listen` | `--listen LISTEN` |  | Where it listens [default: everywhere] |

### `[streams.NAME]`

| setting | option | variable | what |
|---|---|---|---|
| `key` |  |  | A secret |
| `listen` |  |  | Where it listens [default: everywhere] |
";

    #[test]
    fn settings_are_told_table_by_table() {
        let mut one = One::default();
        one.streams.insert("NAME".to_owned(), Net::default());
        assert_eq!(table(&One::command(), &one, &[("key", "A secret")]), TOLD);
    }

    #[test]
    #[should_panic(expected = "nothing says what the setting key is")]
    fn a_setting_that_nothing_tells_of_is_a_fault() {
        table(&One::command(), &One::default(), &[]);
    }
}
