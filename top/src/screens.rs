//! Whole screens, compared as text with what is in `golden/`; `SPILLWAY_BLESS=1` writes them anew.

use std::{path::Path, time::Duration};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::*;
use crate::{feed::News, state::Turn};

fn evening(regions: u32) -> Overview {
    let region = |i: u32| {
        let viewers = (1 + i * 37 % 90) as u64;
        let over = viewers.saturating_sub(30);
        json!({
            "region": format!("region-{i}"), "viewers": viewers, "on_primary": viewers - over, "on_relays": over,
            "relays": over.div_ceil(40), "threshold": 30, "egress_bps": viewers * 2_300_000, "price": 0.0,
            "state": if over > 0 { "spilling" } else { "normal" },
            "pinned": (i == 2).then(|| json!({ "relays": 1, "node": null })),
        })
    };
    let node = |i: u32| {
        let (name, kind) = match i {
            0 => ("primary".to_owned(), "primary"),
            i => (format!("relay-region-{i}-1"), "relay"),
        };
        json!({
            "node": name, "kind": kind, "region": (i > 0).then(|| format!("region-{i}")), "state": if i == 3 { "draining" } else { "active" },
            "viewers": 10 + i, "egress_bps": 23_000_000 * u64::from(i + 1), "budget_bps": (i == 0).then_some(1_000_000_000),
            "price": if i == 0 { 0.0123 } else { 0.0 }, "heard_ms": if i == 4 { 8_400 } else { 300 }, "uptime_s": 3_960, "software": "0.1.0",
            "closed": i == 3, "weight": 1.0,
        })
    };
    let nodes = if regions == 0 { 0 } else { regions.min(6) + 1 };
    let alerts = match regions {
        0 | 1 => json!([]),
        _ => json!([
            { "name": "node-silent", "grave": true, "node": "relay-region-4-1", "region": "region-4", "what": "not heard for 8 s", "for_s": 8 },
            { "name": "on-backup", "grave": false, "node": "primary", "stream": "demo", "what": "the backup is on the air", "for_s": 94 },
        ]),
    };
    let decision = |i: u32| {
        json!({ "at": format!("2026-11-21T10:00:{:02}.000Z", 59 - i), "region": format!("region-{i}"), "node": format!("relay-region-{i}-1"),
                "action": "launch", "reason": "31 viewers pass the threshold of 30" })
    };
    serde_json::from_value(json!({
        "ready": true, "active": true, "threshold": 30, "uptime_s": 3_960, "software": "0.1.0",
        "regions": (1..=regions).map(region).collect::<Vec<_>>(), "nodes": (0..nodes).map(node).collect::<Vec<_>>(),
        "alerts": alerts, "decisions": (1..=regions.min(5)).map(decision).collect::<Vec<_>>(),
    }))
    .unwrap()
}

fn seen(regions: u32) -> (State, Instant) {
    let (mut state, t0) = (
        State::new("http://tm.example.org:9000".into()),
        Instant::now(),
    );
    let mut now = t0;
    for i in 0..40 {
        let mut overview = evening(regions);
        if let Some(node) = overview.nodes.first_mut() {
            node.viewers += i;
        }
        now = t0 + Duration::from_secs(2 * u64::from(i));
        state.hear(News::Overview(Box::new(overview)), now);
    }
    (state, now)
}

fn screen(state: &State, now: Instant, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, state, now));
    lines(terminal.backend().buffer()).join("\n") + "\n"
}

fn is(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    if std::env::var_os("SPILLWAY_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn with_no_region_with_one_and_with_fifty() {
    for (regions, width, height) in [(0, 80, 24), (1, 100, 24), (50, 120, 40)] {
        let (state, now) = seen(regions);
        is(
            &format!("{regions}.txt"),
            &screen(&state, now, width, height),
        );
    }
}

#[test]
fn once_is_all_of_it_as_text() {
    let (state, now) = seen(6);
    is("once.txt", &text(&state, now));
}

#[test]
fn a_manager_that_is_gone_is_told_and_what_was_known_stays() {
    let (mut state, now) = seen(1);
    let why = "http://tm.example.org:9000/v1/events: connection refused";
    state.hear(News::Lost(why.into()), now);
    let told = screen(&state, now, 120, 24);
    assert!(
        told.contains("✕ not connected: http://tm.example.org:9000/v1/events: connection refused"),
        "{told}"
    );
    assert!(told.contains("region-1"), "{told}");
    let mut new = State::new("http://tm.example.org:9000".into());
    assert!(screen(&new, now, 60, 5).contains("connecting"));
    new.hear(News::Lost(why.into()), now);
    assert!(screen(&new, now, 120, 5).contains("connection refused"));
}

#[test]
fn keys_move_the_list_that_is_marked_and_no_further_than_its_end() {
    let (mut state, now) = seen(50);
    let press = |state: &mut State, code| state.press(KeyEvent::new(code, KeyModifiers::NONE));
    let first = state.overview.as_ref().unwrap().regions[0].region.clone();
    assert!(screen(&state, now, 120, 40).contains("▸ REGIONS 50"));
    for _ in 0..9 {
        assert_eq!(press(&mut state, KeyCode::PageDown), Turn::On);
    }
    assert_eq!(state.passed, [49, 0, 0]);
    assert!(!screen(&state, now, 120, 40).contains(&format!("{first} ")));
    press(&mut state, KeyCode::Home);
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Down);
    assert_eq!(state.passed, [0, 1, 0]);
    press(&mut state, KeyCode::Char('p'));
    let mut later = evening(50);
    later.uptime_s = 9;
    state.hear(News::Overview(Box::new(later)), now);
    assert_eq!(state.overview.as_ref().unwrap().uptime_s, 3_960);
    assert!(screen(&state, now, 120, 40).contains("held still"));
    assert_eq!(press(&mut state, KeyCode::Char('q')), Turn::End);
}

#[test]
fn any_size_of_terminal_will_do() {
    for (width, height) in [(1, 1), (20, 3), (300, 100), (40, 12)] {
        let (state, now) = seen(50);
        screen(&state, now, width, height);
    }
}
