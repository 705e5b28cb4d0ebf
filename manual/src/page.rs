//! A man page: of the options and subcommands of a program, and of what all programs have in common.

use std::fmt::Write as _;

use clap::Command;
use clap_mangen::Man;

/// The page of `command`, in roff; programs are called by their names with `prefix` here. Subcommands are told of on the same page.
pub(crate) fn man(command: Command, prefix: &str) -> String {
    let own = command.get_name().to_owned();
    let name = format!("{prefix}{own}");
    // It is kept for good, and for good is until the page is printed.
    let kept: &'static str = name.clone().leak();
    let mut command = command.name(kept).bin_name(kept);
    command.build();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help" && !subcommand.is_hide_set())
        .cloned()
        .collect();
    let after = command.get_after_help().map(ToString::to_string);
    let filed = command
        .get_arguments()
        .any(|option| option.get_id() == "config");
    // Dozens of options are told below, and one by one.
    let usage = usage(&command);
    let title = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH \"{title}\" 1 \"\" \"Spillway {version}\" \"Spillway\"\n");
    let man = Man::new(command);
    page += &section(|out| man.render_name_section(out));
    let _ = writeln!(page, ".SH SYNOPSIS\n\\fB{}\\fR {usage}", escaped(&name));
    page += &section(|out| man.render_description_section(out));
    if let Some(after) = after {
        let _ = writeln!(page, ".PP\n{}", escaped(&after));
    }
    page += &section(|out| man.render_options_section(out));
    if !subcommands.is_empty() {
        page += ".SH SUBCOMMANDS\n";
    }
    for subcommand in subcommands {
        page += &within(&name, subcommand);
    }
    if filed {
        page += FILED;
    }
    page += COMMON;
    let others: Vec<_> = PROGRAMS.iter().filter(|other| **other != own).collect();
    let others: Vec<_> = others
        .iter()
        .map(|other| format!("\\fB{}\\fR(1)", escaped(&format!("{prefix}{other}"))))
        .collect();
    let _ = writeln!(page, ".SH \"SEE ALSO\"\n{}", others.join(", "));
    page
}

/// A subcommand, as a part of the page of the program `name`.
fn within(name: &str, subcommand: Command) -> String {
    let title = escaped(&format!("{name} {}", subcommand.get_name()));
    let usage = usage(&subcommand);
    let about = subcommand
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let man = Man::new(subcommand);
    let options = section(|out| man.render_options_section(out));
    let options = options.strip_prefix(".SH OPTIONS\n").unwrap_or(&options);
    format!(
        ".SS \"{title}\"\n{}.\n.PP\n\\fB{title}\\fR {usage}\n{options}",
        escaped(&about)
    )
}

/// What follows the name on a command line.
fn usage(command: &Command) -> String {
    let mut usage = "[\\fIOPTIONS\\fR]".to_owned();
    for argument in command.get_positionals() {
        let names = argument.get_value_names().unwrap_or_default();
        for name in names {
            let name = format!("\\fI{}\\fR", escaped(name));
            let _ = match argument.is_required_set() {
                true => write!(usage, " {name}"),
                false => write!(usage, " [{name}]"),
            };
        }
    }
    usage
}

/// What `render` writes, which into memory always works.
fn section(render: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    let _ = render(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// As text that means nothing else in roff.
fn escaped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\\\").replace('-', "\\-");
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Who has a man page.
const PROGRAMS: [&str; 5] = [
    "client",
    "local-server",
    "primary",
    "segmenter",
    "traffic-manager",
];

const FILED: &str = r#".SH FILES
.TP
\fBthe file of \-\-config\fR
Settings in TOML. A flag wins over its variable in the environment, which wins over the file. Which table of the file a setting is in is told by
\fB\-\-generate config\fR, and by docs/configuration.md of the sources.
"#;

const COMMON: &str = r#".SH ENVIRONMENT
.TP
\fBRUST_LOG\fR
How much is logged, to stderr: \fBerror\fR, \fBwarn\fR, \fBinfo\fR (the default), \fBdebug\fR or \fBtrace\fR; or by module, as in \fBinfo,spillway::origin=debug\fR.
.PP
Options that name a variable take their value from it where the flag is not given.
.SH "EXIT STATUS"
.TP
\fB0\fR
It was told to stop, or what it had to do is done.
.TP
\fB1\fR
It failed: the last line on stderr says why.
.TP
\fB2\fR
The options or the settings cannot work; one line on stderr says which, and why.
"#;
