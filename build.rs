//! Says what to do when the web pages, which are part of the programs, have not been built.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    let mut code = ExitCode::SUCCESS;
    for page in PAGES {
        // A folder that is there is watched for what is put into it; one that is not, for its coming.
        println!("cargo::rerun-if-changed={page}");
        if !Path::new(page).is_file() {
            println!(
                "cargo::error={page} is not there; build the web pages with tools/run, or with `npm ci && npm run build` in web/"
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}

const PAGES: [&str; 3] = [
    "web/dist/player/index.html",
    "web/dist/ops/index.html",
    "web/dist/analytics/index.html",
];
