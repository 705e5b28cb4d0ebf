//! The alert rules: that they are of what there is and alert when they should; and the runbook, where each alert has its entry in
//! docs/operations.md, and says where it is.

use segmenter::wire::Alert;

use super::{metrics, promtool, text, yaml};

#[test]
fn the_alert_rules_tell_their_stories() {
    for words in [
        ["check", "rules", "deploy/prometheus/alerts.yml"],
        ["test", "rules", "deploy/prometheus/alerts.test.yml"],
    ] {
        promtool(&words, "the alert rules are not looked at");
    }
}

#[test]
fn the_alert_rules_name_metrics_and_alerts_that_there_are() {
    let (rules, known) = (text("deploy/prometheus/alerts.yml"), metrics());
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for metric in words.filter(|word| word.starts_with("spillway_")) {
        assert!(known.contains(metric), "{metric}");
    }
    for alert in Alert::ALL {
        assert!(rules.contains(alert.name()), "{} has no rule", alert.name());
    }
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_leads_there() {
    let runbook = text("docs/operations.md");
    let rules = yaml("deploy/prometheus/alerts.yml");
    let groups = rules["groups"].as_array().unwrap().iter();
    let all: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(all.len() > 10);
    for rule in &all {
        let name = rule["alert"].as_str().unwrap();
        assert!(
            runbook.contains(&format!("\n### {name}\n")),
            "docs/operations.md has no entry `### {name}`"
        );
        let leads = rule["annotations"]["runbook"].as_str();
        let anchor = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(leads, Some(anchor.as_str()), "{name}");
    }
    // And no entry is of an alert that there is no more.
    let entries = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### Spillway"));
    for entry in entries {
        let name = format!("Spillway{entry}");
        assert!(
            all.iter().any(|rule| rule["alert"] == name.as_str()),
            "docs/operations.md: no rule is called {name}"
        );
    }
}

#[test]
fn what_a_stream_says_of_itself_is_in_the_runbook() {
    let runbook = text("docs/operations.md");
    for alert in Alert::ALL {
        assert!(
            runbook.contains(&format!("`{}`", alert.name())),
            "docs/operations.md says nothing of `{}`",
            alert.name()
        );
    }
}
