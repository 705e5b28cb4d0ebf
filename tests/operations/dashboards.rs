//! Dashboards: that Grafana can read them, and that they ask for what `/metrics` has.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::{files, metrics, promtool, text};

#[test]
fn dashboards_ask_for_metrics_that_there_are() {
    let known = metrics();
    for (file, board) in dashboards() {
        let expressions = expressions(&board);
        assert!(!expressions.is_empty(), "{file}");
        for expression in expressions {
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for metric in words.filter(|word| word.starts_with("spillway_")) {
                assert!(known.contains(metric), "{file}: nobody tells {metric}");
            }
        }
    }
}

#[test]
fn dashboards_can_be_loaded() {
    let mut names = BTreeSet::new();
    for (file, board) in dashboards() {
        let uid = board["uid"].as_str().unwrap_or_default();
        assert!(
            !uid.is_empty() && names.insert(uid.to_owned()),
            "{file}: its uid is {uid:?}"
        );
        assert!(
            board["id"].is_null(),
            "{file}: an id is the server's to give"
        );
        assert!(
            board["title"]
                .as_str()
                .is_some_and(|title| title.starts_with("Spillway")),
            "{file}"
        );
        let variables = board["templating"]["list"].as_array().unwrap();
        assert!(
            variables
                .iter()
                .any(|variable| variable["type"] == "datasource"),
            "{file}: whose metrics?"
        );
        let mut panels = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(
                panels.insert(panel["id"].as_u64().unwrap()),
                "{file}: {title} has another's id"
            );
            let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(
                at("x") + at("w") <= 24,
                "{file}: {title} is beyond the edge"
            );
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{file}: {title} lies over another");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], "${source}", "{file}: {title}");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            assert!(unit.is_some(), "{file}: {title} has no unit");
            assert!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{file}: {title} says not what it is"
            );
        }
    }
}

#[test]
fn prometheus_understands_what_dashboards_ask() {
    let all = dashboards()
        .into_iter()
        .flat_map(|(_, board)| expressions(&board));
    let all = all.filter(|asked| !asked.starts_with("label_values("));
    let rules = all.enumerate().map(|(number, asked)| {
        // What is chosen on the page: all of it.
        let asked = asked.replace("$instance", ".*").replace("$stream", ".*");
        json!({ "record": format!("asked:{number}"), "expr": asked })
    });
    let rules = json!({ "groups": [{ "name": "asked", "rules": rules.collect::<Vec<_>>() }] });
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboards.yml");
    std::fs::write(&file, rules.to_string()).unwrap();
    promtool(
        &["check", "rules", file.to_str().unwrap()],
        "expressions are only looked through",
    );
}

fn dashboards() -> Vec<(String, Value)> {
    let files = files("deploy/grafana").into_iter();
    let boards: Vec<_> = files
        .filter(|file| file.ends_with(".json"))
        .map(|file| {
            let board = serde_json::from_str(&text(&format!("deploy/grafana/{file}")));
            (
                file.clone(),
                board.unwrap_or_else(|error| panic!("{file}: {error}")),
            )
        })
        .collect();
    assert!(!boards.is_empty());
    boards
}

/// Whatever is asked of Prometheus, of variables too.
fn expressions(board: &Value) -> Vec<String> {
    match board {
        Value::Object(fields) => {
            let own = ["expr", "query"]
                .into_iter()
                .filter_map(|name| fields.get(name)?.as_str());
            let own: Vec<_> = own
                .filter(|text| text.contains("spillway_"))
                .map(str::to_owned)
                .collect();
            own.into_iter()
                .chain(fields.values().flat_map(expressions))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}
