//! docs/configuration.md: as the programs tell of their settings today; and the files of settings that are given as examples.

use super::{files, printed, programs, text};

const PAGE: &str = "docs/configuration.md";

/// What makes it anew.
const HOW: &str = "WRITE=1 cargo test --test operations configuration";

const PREFACE: &str = "\
# Settings

All that `primary`, `local-server` and `traffic-manager` can be told. Made from the programs' own types: do not write here, but say

    WRITE=1 cargo test --test operations configuration

A file of settings is TOML, and is named with `--config FILE`. A flag wins over its variable in the environment, which wins over the file. In the file
a setting belongs to the table under whose heading it is here; a setting that is not known there is refused, with its line. A list is replaced as a whole.
What is in square brackets holds when nothing is said.

```toml
# primary.toml
log-format = \"json\"

[node]
listen = \"[::]:8080\"
manager = [\"http://tm.example.org:9000/\"]
egress-mbps = 900

[node.control]
control-secret-file = \"/etc/spillway/control.secret\"

[streams.talk]
source = \"publish\"
key-file = \"/etc/spillway/talk.key\"
```

All programs read `RUST_LOG` (how much is logged: `info`, or `info,spillway::origin=debug`). Secrets can be in the environment where no file is wanted:
`SPILLWAY_CONTROL_SECRET`, and `SPILLWAY_PUBLISH_KEY` for the stream on the command line.

";

#[test]
fn the_reference_of_the_configuration_is_what_the_programs_take() {
    let mut page = PREFACE.to_owned();
    for (name, program) in programs() {
        if ["primary", "local-server", "traffic-manager"].contains(&name) {
            page += &printed(&program, &["--generate", "config"]);
            page += "\n";
        }
    }
    let page = format!("{}\n", page.trim_end());
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(super::path(PAGE), &page).unwrap();
    }
    let there = std::fs::read_to_string(super::path(PAGE)).unwrap_or_default();
    let differs = page
        .lines()
        .zip(there.lines())
        .find(|(new, old)| new != old);
    assert!(
        page == there,
        "{PAGE} is of other programs (from {differs:#?} on); make it anew: {HOW}"
    );
}

#[test]
fn example_settings_are_settings() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("example-settings");
    std::fs::create_dir_all(&folder).unwrap();
    let example = PREFACE.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap().to_owned();
    let mut all = vec![("primary".to_owned(), example)];
    for file in files("deploy/config") {
        let (name, given) = (
            file.trim_end_matches(".toml").to_owned(),
            text(&format!("deploy/config/{file}")),
        );
        // What is commented out is an example as well.
        let whole: Vec<_> = given.lines().map(uncommented).collect();
        all.extend([(name.clone(), whole.join("\n")), (name, given)]);
    }
    for (name, example) in all {
        let program = programs().into_iter().find(|(program, _)| *program == name);
        let (_, program) = program.unwrap_or_else(|| panic!("{name}: no program of that name"));
        let file = folder.join(format!("{name}.toml"));
        // Files that it names are not at hand here.
        let example = example.replace(
            "/etc/spillway/",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operations/given/"),
        );
        std::fs::write(&file, example).unwrap();
        printed(&program, &["--check", "--config", file.to_str().unwrap()]);
    }
}

fn uncommented(line: &str) -> &str {
    let rest = line.strip_prefix('#').unwrap_or(line);
    if rest.starts_with(' ') { line } else { rest }
}
