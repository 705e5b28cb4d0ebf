//! The operators' page: against a manager, a primary and viewers, against a manager that goes away, and with as many
//! regions as there can be (of `web/dev/mock.mjs`).

use serde_json::Value;
use tokio::process::Command;
use tools::program::Program;

use crate::{
    PATIENCE, begin,
    common::{Manager, Primary, SMALL, Viewer, free, skip},
    end, no_browser, says, tell,
};

const TOKEN: &str = "a-token-of-some-length";

/// Nobody of its region is on the primary but one, so that the next one spills.
async fn site(test: &str) -> (Primary, Manager, String) {
    let (listen, folder) = (free(), env!("CARGO_TARGET_TMPDIR"));
    let token = format!("{folder}/{test}.token");
    std::fs::write(&token, TOKEN).unwrap();
    let reports = format!("http://{listen}/");
    let arguments = [&SMALL[..], &["--manager", &reports]].concat();
    let primary = Primary::start("127.0.0.1", "test", &arguments).await;
    let manager = manager(&listen, &primary, &token).await;
    (primary, manager, token)
}

async fn manager(listen: &str, primary: &Primary, token: &str) -> Manager {
    let options = ["--operator-token-file", token];
    let manager = Manager::with(listen, &primary.url, 1, &options).await;
    manager.until("ready", |seen| seen["ready"] == true).await;
    manager
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_seen_coming_up_and_is_drained_from_the_page() {
    let name = "a_relay_is_seen_coming_up_and_is_drained_from_the_page";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let (_primary, manager, _) = site(name).await;
    let arguments = ["spilling", &*manager.url, TOKEN];
    let mut story = begin(Command::new("node"), "ops.mjs", &arguments);
    says(&mut story, "looking").await;
    let join = |region| Viewer::join(&manager.url, region, 120);
    let mut crowd = [join("paris"), join("rome")];
    for viewer in &mut crowd {
        viewer.plays().await;
    }
    let _peak = [join("paris"), join("paris")];
    end(story, "ops.mjs", &arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_outlives_its_manager() {
    let name = "the_page_outlives_its_manager";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let (primary, first, token) = site(name).await;
    let url = first.url.clone();
    // Its second run has to be shorter than its first, which the page knows it by.
    let aged = |seen: &Value| seen["uptime_s"].as_u64() >= Some(3);
    first.until("old enough", aged).await;
    let arguments = ["again", &*url];
    let mut story = begin(Command::new("node"), "ops.mjs", &arguments);
    says(&mut story, "may go").await;
    drop(first);
    says(&mut story, "may come").await;
    let _second = manager(url.trim_start_matches("http://"), &primary, &token).await;
    end(story, "ops.mjs", &arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_with_no_region_with_one_and_with_fifty() {
    let name = "it_fits_with_no_region_with_one_and_with_fifty";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    for (regions, sizes) in [
        ("0", &[["360", "light"]][..]),
        ("1", &[["1280", "dark"]]),
        ("50", &[["1280", "light"], ["360", "dark"]]),
    ] {
        let mut node = Command::new("node");
        node.args(["web/dev/mock.mjs", "--port", "0", "--streams", "0"]);
        node.args(["--regions", regions]);
        let mut mock = Program::start("mock.mjs", node).unwrap();
        let url = mock.says(PATIENCE, |line| {
            line.starts_with("http://").then(|| line.to_owned())
        });
        let url = url.await.unwrap();
        for [width, theme] in sizes {
            let told = tell(
                "ops.mjs",
                &["size", url.trim_end_matches('/'), width, theme],
            )
            .await;
            assert_eq!(told["regions"].to_string(), regions);
        }
    }
}
