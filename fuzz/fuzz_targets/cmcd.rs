//! What players say of themselves, in the query and in headers: any text is read, within bounds, and what is
//! taken out of a query leaves the rest as it was.

#![no_main]

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use spillway::origin::cmcd::{self, Cmcd};

fuzz_target!(|octets: &[u8]| {
    let mut headers = HeaderMap::new();
    for (name, value) in ["cmcd-request", "cmcd-object"].into_iter().zip(octets.split(|b| *b == 0)) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    bounded(Cmcd::of(None, &headers));
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    bounded(Cmcd::of(Some(text), &headers));
    bounded(Cmcd::of(Some(&format!("CMCD={text}")), &headers));
    let rest: Vec<_> = cmcd::without(text).collect();
    let rest = rest.join("&");
    assert_eq!(rest, cmcd::without(&rest).collect::<Vec<_>>().join("&"));
    assert!(rest.len() <= text.len());
});

fn bounded(said: Option<Cmcd>) {
    const LONGEST: Duration = Duration::from_millis(1 << 32);
    let Some(said) = said else { return };
    assert!(said.buffer.is_none_or(|buffer| buffer <= LONGEST));
    let hint = said.hint(false);
    assert!(hint.throughput.is_none_or(|rate| rate.kbps() > 0));
}
