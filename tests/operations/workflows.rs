//! The workflows of GitHub Actions: whose code they run is fixed, and they may do no more than they have to.

use serde_json::Value;

use super::{files, text, yaml};

#[test]
fn actions_are_pinned_and_their_versions_said() {
    for file in files(FOLDER) {
        let whole = text(&format!("{FOLDER}/{file}"));
        let used: Vec<_> = whole
            .lines()
            .filter_map(|line| line.split_once("uses: "))
            .collect();
        assert!(!used.is_empty() || file.contains("deploy"), "{file}");
        for (_, used) in used {
            let (action, version) = used
                .split_once(" # ")
                .unwrap_or_else(|| panic!("{file}: {used} does not say its version"));
            let (_, commit) = action.split_once('@').unwrap();
            assert!(
                commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
                "{file}: {action} is not pinned to a commit"
            );
            assert!(version.starts_with('v'), "{file}: {used}");
        }
    }
}

#[test]
fn workflows_begin_without_rights_and_end_in_time() {
    for file in files(FOLDER) {
        let workflow = yaml(&format!("{FOLDER}/{file}"));
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({ "contents": "read" }),
            "{file}"
        );
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_u64(), "{file}: {name} has no end");
            for step in job["steps"].as_array().unwrap() {
                // Whoever writes a title of a pull request must not write a script.
                let script = step["run"].as_str().unwrap_or_default();
                assert!(
                    !script.contains("${{"),
                    "{file}: {name} puts an expression into a script; hand it over by env"
                );
                let checkout = step["uses"]
                    .as_str()
                    .is_some_and(|action| action.starts_with("actions/checkout@"));
                let kept = &step["with"]["persist-credentials"];
                assert!(
                    !checkout || *kept == Value::Bool(false),
                    "{file}: {name} leaves its token about"
                );
            }
        }
    }
}

#[test]
fn nothing_is_deployed_but_by_hand() {
    let deploy = yaml(&format!("{FOLDER}/deploy.yml"));
    let on = deploy["on"].as_object().unwrap();
    assert_eq!(on.keys().collect::<Vec<_>>(), ["workflow_dispatch"]);
    assert!(deploy["jobs"]["deploy"]["environment"].is_string());
}

const FOLDER: &str = ".github/workflows";
