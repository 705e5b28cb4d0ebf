//! The images and the compose file: rules that a linter would hold them to, and that they are of this tree.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{path, takes, text, yaml};

const DOCKERFILE: &str = "deploy/docker/Dockerfile";

/// Instructions, with continued lines in one, by stage.
fn stages() -> BTreeMap<String, Vec<(String, String)>> {
    let whole = text(DOCKERFILE);
    let lines = whole
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let whole = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut stages: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut name = String::new();
    for line in whole.lines().filter(|line| !line.trim().is_empty()) {
        let (word, rest) = line.trim().split_once(' ').unwrap();
        if word == "FROM" {
            name = rest
                .split(" AS ")
                .nth(1)
                .unwrap_or_else(|| panic!("{rest} has no name"))
                .to_owned();
        }
        let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        stages
            .entry(name.clone())
            .or_default()
            .push((word.to_owned(), rest));
    }
    stages
}

#[test]
fn images_are_of_what_is_named_and_run_as_nobody_special() {
    for (name, instructions) in stages() {
        let all = |word: &str| {
            instructions
                .iter()
                .filter(|(own, _)| own == word)
                .map(|(_, rest)| rest.as_str())
                .collect::<Vec<_>>()
        };
        let base = all("FROM")[0].split(' ').next().unwrap();
        let (_, tag) = base
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{base} is of any version"));
        assert_ne!(tag, "latest");
        for run in all("RUN")
            .iter()
            .filter(|run| run.contains("apt-get install"))
        {
            for wanted in [
                "apt-get update &&",
                "--no-install-recommends",
                "--yes",
                "rm -rf /var/lib/apt/lists/*",
            ] {
                assert!(run.contains(wanted), "{name}: {run} lacks {wanted}");
            }
        }
        assert!(all("ADD").is_empty(), "{name}: COPY says what it does");
        for user in all("RUN").iter().chain(&all("CMD")) {
            assert!(
                !user.contains("sudo") && !user.contains("curl "),
                "{name}: {user}"
            );
        }
        if !name.starts_with("spillway") {
            continue;
        }
        let user = *all("USER")
            .last()
            .unwrap_or_else(|| panic!("{name} runs as root"));
        assert!(!["root", "0"].contains(&user), "{name}");
        let start = *all("CMD").last().unwrap();
        assert!(
            start.starts_with('['),
            "{name}: a shell would not pass SIGTERM on: {start}"
        );
    }
}

#[test]
fn only_the_image_of_the_primary_has_ffmpeg() {
    let stages = stages();
    let plain = &stages["spillway"];
    assert!(
        plain
            .iter()
            .any(|(word, rest)| word == "FROM" && rest.contains("distroless"))
    );
    for (_, rest) in plain {
        for other in [
            "libav",
            "ffmpeg",
            "segmenter",
            "/programs/ ",
            "/programs/primary",
        ] {
            assert!(!rest.contains(other), "the image without FFmpeg: {rest}");
        }
    }
    let whole = &stages["spillway-primary"];
    assert!(whole.iter().any(|(_, rest)| rest.contains("libavcodec")));
    let label = whole
        .iter()
        .find(|(word, rest)| word == "LABEL" && rest.contains("licenses"))
        .unwrap();
    assert!(label.1.contains("GPL"), "who passes it on has to be told");
}

#[test]
fn what_the_images_are_built_from_is_there() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let ignored = text(".dockerignore");
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        assert!(
            ignored.lines().any(|line| line == format!("!{member}")),
            ".dockerignore keeps {member} out of the build"
        );
    }
    for kept in ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .filter(|kept| !kept.contains('*'))
    {
        assert!(
            path(kept).exists(),
            ".dockerignore lets {kept} in, which is not there"
        );
    }
}

#[test]
fn the_compose_file_gives_programs_what_they_take() {
    let compose = yaml("deploy/compose.yaml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        assert!(
            image.contains(':') && !image.ends_with(":latest"),
            "{name}: {image}"
        );
        if !image.starts_with("spillway") {
            continue;
        }
        let words: Vec<_> = service["command"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        let variables = service["environment"].as_object().unwrap().keys();
        let flags = words.iter().copied();
        takes(name, words[0], flags, variables.map(String::as_str));
        assert_eq!(service["read_only"], Value::Bool(true), "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        if words[0] == "local-server" {
            let drain: u64 = service["environment"]["SPILLWAY_DRAIN_SECONDS"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let grace = service["stop_grace_period"]
                .as_str()
                .unwrap()
                .trim_end_matches('s');
            assert!(grace.parse::<u64>().unwrap() > drain, "{name}");
        }
    }
}
