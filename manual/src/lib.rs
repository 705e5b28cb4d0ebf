//! What a program says of itself beside `--help`, from the very same options: `PROGRAM --generate man` is its man page,
//! `bash`, `zsh` and `fish` are completions for these shells, and `config` the settings of its file, as Markdown.
//!
//! Here it is told what was asked for, and printed; `page` makes man pages, `settings` tables of settings. What options there are is each
//! program's own business.

mod page;
mod settings;

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, CommandFactory, Parser,
    builder::{PossibleValuesParser, TypedValueParser as _},
    error::Result,
};
use clap_complete::Shell;
use serde::Serialize;

/// A program whose options may be in a file as well.
pub trait Filed: CommandFactory + Serialize {
    /// Settings with everything in it that a file may have: an entry called `NAME` in each table of named ones.
    fn sample() -> Self;

    /// What only a file may say, and what it is, by its name or with its table before it (`streams.NAME.key`); all else is as of the option of that name.
    const ONLY_FILED: &[(&str, &str)] = &[];
}

/// The command line; does not return if something is wrong with it, or if something else was asked for than to run.
pub fn parse<P: Parser>() -> P {
    try_parse::<P>().unwrap_or_else(|error| error.exit())
}

/// Likewise, for a program that has something to do before it ends.
pub fn try_parse<P: Parser>() -> Result<P> {
    read(std::env::args_os(), &print::<P>)
}

/// The command line of a program that has a file of settings.
pub fn parse_filed<P: Parser + Filed>() -> P {
    let told = |page| match page {
        Page::Settings => settings::table(&P::command(), &P::sample(), P::ONLY_FILED),
        other => print::<P>(other),
    };
    read(std::env::args_os(), &told).unwrap_or_else(|error| error.exit())
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Page {
    Man,
    Completions(Shell),
    Settings,
}

const PAGES: [(&str, Page); 5] = [
    ("man", Page::Man),
    ("bash", Page::Completions(Shell::Bash)),
    ("zsh", Page::Completions(Shell::Zsh)),
    ("fish", Page::Completions(Shell::Fish)),
    ("config", Page::Settings),
];

fn read<P: Parser>(
    line: impl IntoIterator<Item = OsString>,
    told: &dyn Fn(Page) -> String,
) -> Result<P> {
    let mut command = P::command().arg(asking());
    let mut matches = command.try_get_matches_from_mut(line)?;
    if let Some(page) = matches.remove_one::<Page>(GENERATE) {
        // Nobody is left to tell if stdout is gone.
        let _ = std::io::stdout().write_all(told(page).as_bytes());
        std::process::exit(0);
    }
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Not in `--help`: it is for those who make packages.
fn asking() -> Arg {
    let kinds = PossibleValuesParser::new(PAGES.map(|(name, _)| name)).map(|kind| {
        let page = PAGES.into_iter().find(|(name, _)| *name == kind);
        page.map_or(Page::Man, |(_, page)| page)
    });
    Arg::new(GENERATE)
        .long(GENERATE)
        .value_name("WHAT")
        .help("Print the man page, completions for a shell, or the settings of the file")
        .action(ArgAction::Set)
        .value_parser(kinds)
        .exclusive(true)
        .hide(true)
}

const GENERATE: &str = "generate";

fn print<P: CommandFactory>(page: Page) -> String {
    let mut command = P::command();
    let own = command.get_name().to_owned();
    // A package may have it under another name than ours.
    let called = std::env::args_os().next().map(PathBuf::from);
    let called = called
        .as_deref()
        .and_then(Path::file_name)
        .map(OsStr::to_string_lossy);
    let called = called.filter(|called| called.ends_with(&own));
    let name = called.map_or_else(|| own.clone(), Cow::into_owned);
    match page {
        Page::Man => page::man(command, &name[..name.len() - own.len()]),
        Page::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
        Page::Settings => format!("{name} has no file of settings.\n"),
    }
}

/// All options of `command`, without those of its subcommands and those that nobody is told of.
fn told_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A program of one stream.
    #[derive(Debug, Parser)]
    #[command(name = "one", version)]
    struct One {
        /// What to stream
        source: String,
        /// How often
        #[arg(long)]
        often: Option<u32>,
    }

    fn line(words: &[&str]) -> Result<One> {
        read(words.iter().map(OsString::from), &|_| {
            unreachable!("nothing else was asked for")
        })
    }

    #[test]
    fn who_asks_for_nothing_else_notices_nothing() {
        let one = line(&["one", "film", "--often", "3"]).unwrap();
        assert_eq!((one.source.as_str(), one.often), ("film", Some(3)));
        assert!(line(&["one"]).unwrap_err().to_string().contains("<SOURCE>"));
        let help = line(&["one", "--help"]).unwrap_err().to_string();
        assert!(!help.contains(GENERATE), "{help}");
    }

    #[test]
    fn a_page_that_there_is_not_is_told_with_those_that_there_are() {
        let said = line(&["one", "--generate", "perl"])
            .unwrap_err()
            .to_string();
        assert!(said.contains("man, bash, zsh, fish, config"), "{said}");
        let said = line(&["one", "film", "--generate", "man"])
            .unwrap_err()
            .to_string();
        assert!(said.contains("cannot be used with"), "{said}");
    }

    #[test]
    fn a_man_page_tells_of_every_option() {
        let page = print::<One>(Page::Man);
        assert!(
            page.contains("How often") && page.contains("What to stream"),
            "{page}"
        );
        assert!(
            page.contains(".SH \"EXIT STATUS\"") && !page.contains(GENERATE),
            "{page}"
        );
    }
}
