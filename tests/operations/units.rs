//! The units for systemd: that they start what there is, and give it no more than it needs.

use std::process::Command;

use tools::program::is_installed;

use super::{files, path, programs, text};

#[test]
fn units_start_what_there_is_and_wait_until_it_has_ended() {
    for file in units() {
        let unit = text(&format!("deploy/systemd/{file}"));
        let said = |key: &str| {
            unit.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("{file} says no {key}"))
        };
        let program = file
            .trim_start_matches("spillway-")
            .trim_end_matches(".service");
        assert!(
            programs().iter().any(|(name, _)| *name == program),
            "{file}: there is no {program}"
        );
        assert_eq!(
            said("ExecStart"),
            format!("/usr/bin/spillway-{program} --config /etc/spillway/{program}.toml")
        );
        // Its exit code would not count below, and a unit that cannot work would be started over and over.
        assert!(!unit.contains("ExecStartPre"), "{file}");
        assert!(
            path(&format!("deploy/config/{program}.toml")).exists(),
            "{file}"
        );
        assert_eq!(said("User"), "spillway");
        // What is wrong with the settings is wrong the next time as well.
        assert_eq!(
            said("RestartPreventExitStatus"),
            spillway::config::MISCONFIGURED.to_string()
        );
        let settings: toml::Table = text(&format!("deploy/config/{program}.toml"))
            .parse()
            .unwrap();
        let drain = settings
            .get("drain-seconds")
            .and_then(toml::Value::as_integer)
            .unwrap_or(0);
        assert!(
            said("TimeoutStopSec").parse::<i64>().unwrap() > drain + 10,
            "{file}: viewers are still being sent on"
        );
    }
}

#[test]
fn systemd_finds_the_units_sound_and_fenced_in() {
    if !is_installed("systemd-analyze") {
        eprintln!("SKIPPED: systemd-analyze is not installed; the units are only read by us");
        return;
    }
    for file in units() {
        let unit = path("deploy/systemd").join(&file);
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stderr);
        // The programs need not be installed here.
        let wrong: Vec<_> = said
            .lines()
            .filter(|line| line.contains(&file) && !line.contains("is not executable"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let exposed = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=25"])
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&exposed.stdout);
        assert!(
            exposed.status.success(),
            "{file}: {}",
            said.lines().last().unwrap_or_default()
        );
    }
}

fn units() -> Vec<String> {
    let units: Vec<_> = files("deploy/systemd")
        .into_iter()
        .filter(|file| file.ends_with(".service"))
        .collect();
    assert_eq!(units.len(), 3);
    units
}
