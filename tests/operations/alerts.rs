//! The runbook: each alert has its entry in docs/operations.md, and says where it is.

use segmenter::wire::Alert;

use super::{text, yaml};

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
