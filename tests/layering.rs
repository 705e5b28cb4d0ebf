//! The map of `docs/architecture.md`, enforced: which part of the tree may name which, and where what is dangerous
//! or foreign is fenced in. What cargo can guard (the crates' dependencies) is read off the manifests.

#[path = "layering/code.rs"]
mod code;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use code::{File, files, names};

/// What a module of the root package may name: modules of its own package, and crates of the workspace.
///
/// The bottom of the page knows nothing of the top. `origin`, `source`, `ingest` and `manager` never name one another: the
/// origin does not know where media comes from, a source does not know who watches, and the manager never touches
/// media. Whoever assembles them (`node`, the programs) is above them.
const MODULES: &[(&str, &[&str], &[&str])] = &[
    ("traces", &[], &[]),
    ("telemetry", &["net", "traces"], &[]),
    ("runtime", &[], &[]),
    ("shutdown", &[], &[]),
    ("pages", &[], &[]),
    ("clock", &[], &["playlists"]),
    ("config", &[], &[]),
    ("api", &[], &[]),
    ("metrics", &[], &[]),
    ("logfile", &[], &[]),
    ("text", &[], &[]),
    ("token", &["clock"], &[]),
    ("assets", &["text"], &[]),
    ("net", &["pages", "text", "traces"], &["playlists"]),
    ("webhook", &["clock", "metrics", "net"], &[]),
    ("archive", &["clock"], &["playlists"]),
    (
        "store",
        &["archive", "pages", "text", "traces"],
        &["playlists", "segmenter"],
    ),
    ("control", &[], &["playlists"]),
    ("analytics", &["api", "clock", "control", "net"], &[]),
    ("player", &["clock", "net"], &["playlists"]),
    ("ingest", &["clock", "net", "store"], &[]),
    (
        "source",
        &["clock", "net", "store"],
        &["playlists", "segmenter", "media"],
    ),
    (
        "origin",
        &[
            "api", "clock", "control", "logfile", "metrics", "net", "store", "text", "token",
            "traces", "webhook",
        ],
        &["playlists", "adaptation", "media"],
    ),
    (
        "manager",
        &[
            "analytics",
            "api",
            "assets",
            "control",
            "logfile",
            "metrics",
            "net",
            "webhook",
        ],
        &["playlists", "adaptation"],
    ),
    (
        "node",
        &[
            "assets",
            "clock",
            "control",
            "net",
            "origin",
            "store",
            "telemetry",
            "token",
            "traces",
            "webhook",
        ],
        &["playlists", "adaptation"],
    ),
];

/// What each member may depend on of the workspace.
const MEMBERS: &[(&str, &[&str])] = &[
    ("playlists", &[]),
    ("media", &[]),
    ("adaptation", &["playlists"]),
    ("manual", &[]),
    ("segmenter", &["manual", "playlists", "media"]),
    (
        "tools",
        &["playlists", "media", "adaptation", "segmenter", "spillway"],
    ),
    ("top", &["spillway"]),
];

/// Names that only some files may use.
const FENCES: &[(&str, &[&str], &str)] = &[
    (
        "ffmpeg_next",
        &["segmenter/src/libav/"],
        "libav is touched in one place",
    ),
    (
        "m3u8_rs",
        &[
            "playlists/src/parse.rs",
            "playlists/src/render/multivariant.rs",
        ],
        "others see our own types",
    ),
    (
        "quick_m3u8",
        &["playlists/src/parse.rs"],
        "others see our own types",
    ),
    (
        "dashmap",
        &["src/origin/room.rs"],
        "a guard must not leave a synchronous method",
    ),
    (
        "rustls",
        &["src/net/", "tools/src/load/wire/tls.rs"],
        "one place knows how TLS is done, and with whose cryptography",
    ),
    (
        "instant_acme",
        &["src/net/"],
        "certificates are ordered in one place",
    ),
    (
        "prost",
        &["src/control/encoding.rs", "src/control/protobuf.rs"],
        "others see our own types",
    ),
    (
        "opentelemetry",
        &["src/traces/on.rs", "src/telemetry/exporting.rs"],
        "others see our own types",
    ),
    (
        "opentelemetry_sdk",
        &["src/traces/on.rs", "src/telemetry/exporting.rs"],
        "others see our own types",
    ),
    (
        "kube",
        &[
            "src/manager/launcher/kubernetes.rs",
            "src/manager/launcher/kubernetes/",
            "src/manager/lease/kubernetes.rs",
        ],
        "a manager without a cluster is built without it",
    ),
    (
        "rust_embed",
        &["src/assets.rs"],
        "one place knows what is embedded",
    ),
    (
        "maxminddb",
        &["src/manager/places/geo.rs"],
        "one place knows what a GeoIP database looks like",
    ),
    (
        "tokio_postgres",
        &["src/manager/lease/postgres.rs", "src/analytics/postgres.rs"],
        "a lease and what became of viewers is all that is kept in a database",
    ),
    (
        "rusqlite",
        &["src/analytics/sqlite.rs"],
        "others see rows and values",
    ),
    (
        "unsafe",
        &[
            "src/archive/map.rs",
            "src/net/tcp_info.rs",
            "src/pages.rs",
            "segmenter/src/libav/raw.rs",
        ],
        "unsafe code is in few, small, audited files",
    ),
];

/// Routes that no description of an interface has, and why.
const UNDESCRIBED: &[(&str, &str)] = &[
    ("src/assets.rs", "pages"),
    (
        "src/manager/hearing.rs",
        "heartbeats, answers and visits, between programs of one version",
    ),
    (
        "src/net/front.rs",
        "authorities that issue certificates ask",
    ),
    (
        "src/origin/mod.rs",
        "playlists and media, which players find by themselves",
    ),
];

/// What the pure parts may not do: read a clock, do I/O, spawn.
const IMPURE: &[&str] = &[
    "tokio",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "crate::clock",
];

/// Whole crates, and the parts of others that promise the same in their first lines.
const PURE: &[&str] = &[
    "playlists/src/",
    "media/src/",
    "adaptation/src/",
    "segmenter/src/wire.rs",
    "segmenter/src/cutter.rs",
    "segmenter/src/cadence.rs",
    "segmenter/src/a53.rs",
    "segmenter/src/clock.rs",
    "segmenter/src/ladder.rs",
    "segmenter/src/marks.rs",
    "segmenter/src/supply.rs",
    "segmenter/src/director.rs",
    "segmenter/src/overload.rs",
    "segmenter/src/coded.rs",
    "segmenter/src/health.rs",
    "src/player/session.rs",
    "src/player/session/answers.rs",
    "src/player/session/lanes.rs",
    "src/player/parts.rs",
    "src/player/steering.rs",
    "src/player/playback.rs",
    "src/analytics/reckoning.rs",
    "src/origin/account.rs",
    "src/origin/cmcd.rs",
    "src/origin/cmsd.rs",
    "src/origin/outbox.rs",
];

/// The production code of every crate.
fn sources() -> impl Iterator<Item = File> {
    let members = MEMBERS.iter().map(|(member, _)| format!("{member}/src"));
    std::iter::once("src".to_owned())
        .chain(members)
        .flat_map(|folder| files(root(), &folder))
}

#[test]
fn modules_name_only_what_is_below_them() {
    let mut wrong = Wrong::default();
    for file in files(root(), "src") {
        let module = file.module();
        // The programs and the crate's root assemble; they may name everything.
        if module == "bin" || module == "lib" {
            continue;
        }
        let Some((_, siblings, members)) = MODULES.iter().find(|(name, ..)| *name == module) else {
            wrong.say(
                &file,
                "is in no layer; give it a line in MODULES of tests/layering.rs",
            );
            continue;
        };
        for name in file.siblings() {
            let known = MODULES.iter().any(|(known, ..)| *known == name);
            if known && name != module && !siblings.contains(&name.as_str()) {
                wrong.say(
                    &file,
                    &format!("names {name}, but {module} may name only {siblings:?}"),
                );
            }
        }
        for (member, _) in MEMBERS {
            let mut paths = paths(&file.code, member);
            if paths.next().is_some() && !members.contains(member) {
                wrong.say(
                    &file,
                    &format!("names {member}, but {module} may name only {members:?}"),
                );
            }
        }
        // Its wire format is all that the origin knows of the segmenter.
        if paths(file.production(), "segmenter").any(|rest| !rest.starts_with("wire")) {
            wrong.say(&file, "names more of the segmenter than its wire format");
        }
    }
    wrong.none();
}

#[test]
fn crates_depend_only_on_what_is_below_them() {
    let mut wrong = String::new();
    for (member, allowed) in MEMBERS {
        let path = root().join(member).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).expect("each member has a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let depends = manifest["dependencies"]
            .as_table()
            .expect("dependencies are a table");
        for (other, _) in MEMBERS.iter().chain(&[("spillway", &[] as &[&str])]) {
            if depends.contains_key(*other) && !allowed.contains(other) {
                let _ = writeln!(
                    wrong,
                    "{member}/Cargo.toml depends on {other}; of the workspace it may only on {allowed:?}"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_origin_is_not_linked_to_libav() {
    let text =
        std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest of the workspace");
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let segmenter = &manifest["workspace"]["dependencies"]["segmenter"];
    let default = segmenter
        .get("default-features")
        .and_then(toml::Value::as_bool);
    assert_eq!(
        default,
        Some(false),
        "the root package must take the segmenter's wire format only"
    );
    let ours = manifest["dependencies"]
        .as_table()
        .expect("dependencies are a table");
    assert!(
        !ours.contains_key("ffmpeg-next"),
        "only the segmenter depends on ffmpeg-next"
    );
}

#[test]
fn what_is_foreign_or_dangerous_stays_in_its_fence() {
    let mut wrong = Wrong::default();
    for file in sources() {
        for (name, homes, why) in FENCES {
            let at_home = homes.iter().any(|home| file.path.starts_with(home));
            if !at_home && names(&file.code, name) {
                wrong.say(
                    &file,
                    &format!("names {name}, whose place is {homes:?}: {why}"),
                );
            }
        }
    }
    wrong.none();
}

#[test]
fn what_operators_and_programs_may_ask_is_described() {
    let mut wrong = Wrong::default();
    for file in files(root(), "src") {
        let code = file.production();
        let plain = code.contains("Router::new()") && code.contains(".route(");
        if plain && !UNDESCRIBED.iter().any(|(home, _)| file.path == *home) {
            wrong.say(
                &file,
                "has a route that /v1/openapi.json does not know; use `OpenApiRouter::routes` with `utoipa::path` above the handler",
            );
        }
    }
    wrong.none();
}

#[test]
fn what_is_pure_reads_no_clock_and_does_no_io() {
    let mut wrong = Wrong::default();
    for file in sources() {
        if !PURE.iter().any(|pure| file.path.starts_with(pure)) {
            continue;
        }
        for name in IMPURE.iter().filter(|name| names(file.production(), name)) {
            wrong.say(
                &file,
                &format!("names {name}; it takes values and gives values, and time is an argument"),
            );
        }
    }
    wrong.none();
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong = Wrong::default();
    let members = MEMBERS.iter().map(|(member, _)| *member);
    for folder in ["src", "tests", "benches"].into_iter().chain(members) {
        for file in files(root(), folder) {
            if !file.text.starts_with("//! ") {
                wrong.say(
                    &file,
                    "does not open with `//!`, saying what it owns and what not",
                );
            }
        }
    }
    wrong.none();
}

#[test]
fn the_map_is_of_this_tree() {
    let here: BTreeMap<_, _> = files(root(), "src")
        .into_iter()
        .map(|file| (file.path.clone(), file))
        .collect();
    for (module, ..) in MODULES {
        let there = here.values().any(|file| file.module() == *module);
        assert!(
            there,
            "MODULES of tests/layering.rs lists {module}, which is not in src/"
        );
    }
    let homes = FENCES.iter().flat_map(|(_, homes, _)| homes.iter());
    let undescribed = UNDESCRIBED.iter().map(|(path, _)| path);
    for path in homes.chain(PURE).chain(undescribed) {
        assert!(
            root().join(path).exists(),
            "tests/layering.rs lists {path}, which is not there"
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What follows `crate::` wherever a path begins with the name of that crate.
fn paths<'a>(code: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("{name}::");
    let found: Vec<_> = code.match_indices(&start).map(|(at, _)| at).collect();
    let length = start.len();
    found.into_iter().filter_map(move |at| {
        let before = code[..at].chars().next_back();
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        begins.then(|| &code[at + length..])
    })
}

/// All that is wrong, to be said at once.
#[derive(Default)]
struct Wrong(String);

impl Wrong {
    fn say(&mut self, file: &File, what: &str) {
        let _ = writeln!(self.0, "{} {what}", file.path);
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}
