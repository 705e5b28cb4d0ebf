//! An audience at nodes in this process: who comes, where it goes, and what is told of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/common/client_stream.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod client_stream;

use std::{path::Path, sync::Arc, time::Duration};

use client_stream::{Manager, Node, Stream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use spillway::{net::FrontConfig, origin::Stance};
use tools::load::{
    crowd::{Audience, Options, run},
    figure,
    model::Model,
    wire::tls::Trust,
};

fn options(manager: &Manager, regions: &[(&str, &str)], seconds: u64) -> Options {
    let audience = |(region, curve): &(&str, &str)| Audience {
        region: (*region).to_owned(),
        curve: curve.parse().unwrap(),
        from: None,
    };
    let mut url = manager.watch(client_stream::STREAM);
    url.set_query(None);
    Options {
        url,
        audiences: regions.iter().map(audience).collect(),
        span: Duration::from_secs(seconds),
        models: [Model::HLS, Model::VLC, Model::FFMPEG]
            .map(|model| (model, 1.0))
            .to_vec(),
        links: vec![None, Some(4000)],
        seed: 7,
        manager: None,
        progress: false,
        trust: Trust::System,
    }
}

#[tokio::test]
async fn viewers_come_and_go_and_all_of_them_see_something() {
    let stream = Stream::live();
    let (one, two) = (
        Node::start("one", &stream).await,
        Node::start("two", &stream).await,
    );
    let manager = Manager::start(&one).await;
    let options = options(
        &manager,
        &[("paris", "peak:5,30"), ("rome", "steady:10")],
        10,
    );
    let drained = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        manager.send_to(&two);
        let to = two.base();
        one.origin.stance.store(Arc::new(Stance::Draining { to }));
    };
    let (outcome, ()) = tokio::join!(run(&options), drained);
    let outcome = outcome.unwrap();
    let report = &outcome.report;
    assert_eq!(
        (report.gave_up, report.rejoined),
        (0, 0),
        "{:#?}",
        report.troubles
    );
    let (paris, rome) = (&report.regions["paris"], &report.regions["rome"]);
    assert!(paris.joins >= 30 && rome.joins >= 10, "{paris:?} {rome:?}");
    assert!(paris.join_time.p50 > 0.0 && paris.kbps > 100.0, "{paris:?}");
    // They followed the node that sent them on, and were counted where they are.
    assert!(report.moves >= 10, "{report:?}");
    let last = report.seconds.last().unwrap();
    assert_eq!(last.nodes["one"], 0, "{last:?}");
    assert!(last.nodes["two"] > 0, "{last:?}");
    assert!(outcome.served["one"] < outcome.served["two"]);
    let most = report
        .seconds
        .iter()
        .map(|second| second.regions["paris"])
        .max();
    assert_eq!(most, Some(30));
    let svg = figure::draw("a test", &outcome);
    assert!(svg.starts_with("<svg") && svg.contains("paris") && svg.contains("two"));
}

#[tokio::test]
async fn a_narrow_link_is_felt_by_the_player_and_by_the_node() {
    let stream = Stream::live();
    let node = Node::start("one", &stream).await;
    let manager = Manager::start(&node).await;
    let seen = async |links: Vec<Option<u64>>| {
        let options = Options {
            links,
            ..options(&manager, &[("paris", "steady:4")], 8)
        };
        run(&options).await.unwrap().report.regions["paris"].clone()
    };
    let (wide, narrow) = (seen(vec![None]).await, seen(vec![Some(700)]).await);
    assert!(wide.kbps > 1500.0, "{wide:?}");
    assert!(narrow.kbps < 1000.0, "{narrow:?}");
}

/// A certificate for `localhost` that vouches for itself, and where it is.
fn self_made(test: &str) -> FrontConfig {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // As `openssl req -x509` makes them.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(&certificate, params.self_signed(&own).unwrap().pem()).unwrap();
    std::fs::write(&key, own.serialize_pem()).unwrap();
    FrontConfig {
        tls_cert: Some(certificate),
        tls_key: Some(key),
        ..FrontConfig::default()
    }
}

#[tokio::test]
async fn over_tls_in_parts_and_steered_they_play_closer_to_live() {
    let stream = Stream::live();
    let config = self_made("load");
    let node = Node::encrypted("one", &stream, &config).await;
    let manager = Manager::start(&node).await;
    // It has somewhere to steer to, and says to stay.
    node.origin
        .keeper
        .store(Some(Arc::new("https://other.test".to_owned())));
    let of = async |player: &str, trust: Trust, seconds: u64| {
        let options = Options {
            models: vec![(player.parse().unwrap(), 1.0)],
            links: vec![None],
            trust,
            ..options(&manager, &[("paris", "steady:3")], seconds)
        };
        run(&options).await.unwrap().report
    };
    let trusted = Trust::File(config.tls_cert.clone().unwrap());
    let (whole, parts) = tokio::join!(
        of("hls.js", trusted, 4),
        of("hls.js+parts+steering", Trust::Anybody, 4)
    );
    for report in [&whole, &parts] {
        assert_eq!(report.gave_up, 0, "{:#?}", report.troubles);
        assert!(report.troubles.is_empty(), "{:#?}", report.troubles);
    }
    let (whole, parts) = (&whole.regions["paris"], &parts.regions["paris"]);
    assert_eq!(whole.parts, 0);
    assert!(
        parts.parts > parts.segments && parts.segments > 10,
        "{parts:?}"
    );
    assert!(parts.latency.p50 < whole.latency.p50, "{parts:?} {whole:?}");

    let refused = of("vlc", Trust::System, 1).await;
    let troubles = refused.troubles.keys().cloned().collect::<String>();
    assert!(troubles.contains("certificate"), "{troubles}");
}
