//! What nodes and the traffic manager say to each other, over real sockets: in both encodings, with
//! a secret, with certificates; and who is not heard.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap is an assertion, in its helpers too"
)]

#[path = "control/messages.rs"]
mod messages;
#[path = "control/office.rs"]
mod office;

use std::time::Duration;

use messages::{heartbeat, reply, told};
use office::{Office, Papers, control, secret};
use proptest::prelude::*;
use reqwest::StatusCode;
use spillway::{
    control::{
        Answer, ControlConfig, Encoding, Heartbeat, HeartbeatReply, VERSION,
        proof::{CHALLENGE_HEADER, Prover, SEAL_HEADER, Said, Secret},
    },
    manager::Members,
    origin::reporter::LineError,
};
use tools::program::Program;

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

proptest! {
    #[test]
    fn a_heartbeat_is_read_as_it_was_written(sent in heartbeat()) {
        for encoding in ENCODINGS {
            let read: Heartbeat = encoding.read(&encoding.write(&sent)).unwrap();
            prop_assert_eq!(&read, &sent);
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(sent in reply()) {
        for encoding in ENCODINGS {
            let read: HeartbeatReply = encoding.read(&encoding.write(&sent)).unwrap();
            prop_assert_eq!(&read, &sent);
        }
    }

    #[test]
    fn what_an_operator_asked_for_is_read_as_it_was_written(sent in told()) {
        for encoding in ENCODINGS {
            let read: Answer = encoding.read(&encoding.write(&sent)).unwrap();
            prop_assert_eq!(&read, &sent);
        }
    }

    #[test]
    fn no_octets_are_too_strange_to_be_refused(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        for encoding in ENCODINGS {
            let _ = encoding.read::<Heartbeat>(&octets);
            let _ = encoding.read::<HeartbeatReply>(&octets);
            let _ = encoding.read::<Answer>(&octets);
        }
    }

    #[test]
    fn a_heartbeat_that_was_cut_or_changed_is_read_or_refused(sent in heartbeat(), at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        for encoding in ENCODINGS {
            let mut octets = encoding.write(&sent);
            let at = at.index(octets.len());
            let _ = encoding.read::<Heartbeat>(&octets[..at]);
            octets[at] = octet;
            let _ = encoding.read::<Heartbeat>(&octets);
        }
    }
}

#[test]
fn another_version_is_told_and_not_what_else_is_strange_about_it() {
    for encoding in ENCODINGS {
        let mut sent = office::report("primary");
        sent.version = VERSION + 1;
        let octets = encoding.write(&sent);
        let error = encoding.read::<Heartbeat>(&octets).unwrap_err().to_string();
        let told = format!(
            "the heartbeat is of version {}, this program speaks version {VERSION}; run the same release on all nodes",
            VERSION + 1
        );
        assert_eq!(error, told);
    }
    let later = br#"{"version":9,"nodes":[]}"#;
    let error = Encoding::Json.read::<Heartbeat>(later).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the heartbeat is of version 9"),
        "{error}"
    );
}

#[test]
fn protobuf_takes_less_than_half_of_what_json_does() {
    let mut sent = office::report("relay-paris-1");
    for region in ["paris", "rome", "berlin"] {
        sent.load.regions.insert(
            region.into(),
            spillway::control::RegionLoad {
                viewers: 120,
                arrivals: 4000,
            },
        );
    }
    let [json, protobuf] = ENCODINGS.map(|encoding| encoding.write(&sent).len());
    assert!(protobuf * 2 < json, "{protobuf} octets, and {json}");
}

#[tokio::test]
async fn a_node_is_answered_in_its_own_encoding() {
    let office = Office::open(Members::default()).await;
    for (encoding, node) in [(Encoding::Json, "primary"), (Encoding::Protobuf, "relay-1")] {
        let mut line = office.line(&ControlConfig::default(), encoding);
        let reply = line.report(&office::report(node)).await.unwrap();
        assert_eq!(reply.version, VERSION);
        let sent = encoding.write(&office::report(node));
        let answer = office.post(encoding.content_type(), sent, None).await;
        assert_eq!(answer.headers()["content-type"], encoding.content_type());
    }
    let answer = office.post("text/plain", b"{}".to_vec(), None).await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn who_knows_the_secret_is_heard_and_nobody_else() {
    let members = Members {
        secret: Some(Secret::new(secret("right")).unwrap()),
        ..Members::default()
    };
    let office = Office::open(members).await;
    let report = office::report("primary");
    for encoding in ENCODINGS {
        let mut line = office.line(&control(Some("right")), encoding);
        for _ in 0..3 {
            line.report(&report).await.unwrap();
        }
    }
    for (theirs, status, told) in [
        (Some("wrong"), 403, "made with another secret"),
        (None, 401, "has to prove that it knows the secret"),
    ] {
        let mut line = office.line(&control(theirs), Encoding::Json);
        let error = line.report(&report).await.unwrap_err();
        assert!(
            error.is_refusal() && error.to_string().contains(told),
            "{error}"
        );
        assert!(
            matches!(error, LineError::Refused { status: found, .. } if found == status),
            "{error}"
        );
    }
    for garbage in [
        "",
        "Spillway",
        "Spillway x",
        "Bearer x",
        "Spillway 1.1.none.00",
    ] {
        let answer = office
            .post(
                "application/json",
                Encoding::Json.write(&report),
                Some(garbage),
            )
            .await;
        assert_eq!(answer.status(), 401, "{garbage}");
    }
    assert_eq!(office.nodes().await, ["primary"]);
}

#[tokio::test]
async fn what_was_overheard_is_of_no_use_to_whoever_says_it_again() {
    let members = || Members {
        secret: Some(Secret::new(secret("right")).unwrap()),
        ..Members::default()
    };
    let (office, other) = (Office::open(members()).await, Office::open(members()).await);
    let mut node = Prover::new(Secret::new(secret("right")).unwrap(), 7);
    let body = Encoding::Json.write(&office::report("primary"));
    let said = Said {
        path: "/v1/heartbeat",
        content_type: "application/json",
        body: &body,
    };
    let first = office
        .post(said.content_type, body.clone(), Some(&node.prove(&said)))
        .await;
    assert_eq!(first.status(), 401, "nothing was challenged yet");
    assert!(node.challenged(first.headers()[CHALLENGE_HEADER].to_str().unwrap()));
    let proof = node.prove(&said);
    let heard = office
        .post(said.content_type, body.clone(), Some(&proof))
        .await;
    assert_eq!(heard.status(), 200);
    let seal = heard.headers()[SEAL_HEADER].to_str().unwrap().to_owned();
    assert!(node.is_answer(&proof, &heard.bytes().await.unwrap(), &seal));

    let again = office
        .post(said.content_type, body.clone(), Some(&proof))
        .await;
    assert_eq!(again.status(), 403);
    assert!(again.text().await.unwrap().contains("was heard before"));
    let elsewhere = other
        .post(said.content_type, body.clone(), Some(&proof))
        .await;
    assert_eq!(
        elsewhere.status(),
        401,
        "another manager, or another run of it"
    );
    let mut changed = office::report("primary");
    changed.url = "http://thief.test".into();
    let proof = node.prove(&said);
    let changed = office
        .post(
            said.content_type,
            Encoding::Json.write(&changed),
            Some(&proof),
        )
        .await;
    assert_eq!(changed.status(), 403);
}

#[tokio::test]
async fn directives_of_somebody_else_are_not_followed() {
    // It hears everybody, knows no secret, and so cannot seal what it answers.
    let impostor = Office::open(Members::default()).await;
    let mut line = impostor.line(&control(Some("right")), Encoding::Json);
    let error = line.report(&office::report("primary")).await.unwrap_err();
    assert!(
        matches!(error, LineError::Forged { .. }) && error.is_refusal(),
        "{error}"
    );
}

#[tokio::test]
async fn with_certificates_both_sides_know_who_the_other_is() {
    let papers = Papers::new("both");
    papers.make(&["manager=localhost,127.0.0.1", "primary", "relay-*"]);
    let office = Office::for_members(&papers).await;
    for (name, node) in [
        ("primary", "primary"),
        ("relay", "relay-paris-1"),
        ("relay", "relay-rome-1"),
    ] {
        let mut line = office.line(&papers.of(name), Encoding::Protobuf);
        line.report(&office::report(node)).await.unwrap();
    }
    let mut line = office.line(&papers.of("relay"), Encoding::Json);
    let error = line
        .report(&office::report("primary"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("primary: its certificate is for relay-*"),
        "{error}"
    );
    assert_eq!(
        office.nodes().await,
        ["primary", "relay-paris-1", "relay-rome-1"]
    );
    assert_eq!(
        office.version(&papers.of("primary")).await,
        reqwest::Version::HTTP_2
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_and_none_at_all_get_nobody_in() {
    let (papers, others) = (Papers::new("ours"), Papers::new("theirs"));
    for papers in [&papers, &others] {
        papers.make(&["manager=localhost,127.0.0.1", "primary"]);
    }
    let office = Office::for_members(&papers).await;
    // It trusts us, but shows what somebody else issued.
    let stranger = ControlConfig {
        control_ca: papers.of("primary").control_ca,
        ..others.of("primary")
    };
    let error = office
        .line(&stranger, Encoding::Json)
        .report(&office::report("primary"))
        .await
        .unwrap_err();
    assert!(matches!(error, LineError::Call(_)), "{error}");
    // It would show it to us, but trusts somebody else.
    let error = office
        .line(&others.of("primary"), Encoding::Json)
        .report(&office::report("primary"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    let error = office.without_certificate(&papers).await;
    assert!(error.contains("ertificate"), "{error}");
    assert!(office.nodes().await.is_empty());
}

#[tokio::test]
async fn certificates_that_were_made_anew_are_shown_after_the_old_ones_failed() {
    let papers = Papers::new("renewed");
    papers.make(&["manager=localhost,127.0.0.1", "primary"]);
    let office = Office::for_members(&papers).await;
    let others = Papers::new("renewed-by");
    others.make(&["primary"]);
    let wrong = std::fs::read(others.path("primary.pem")).unwrap();
    let wrong_key = std::fs::read(others.path("primary-key.pem")).unwrap();
    std::fs::write(papers.path("primary.pem"), wrong).unwrap();
    std::fs::write(papers.path("primary-key.pem"), wrong_key).unwrap();
    let mut line = office.line(&papers.of("primary"), Encoding::Json);
    assert!(line.report(&office::report("primary")).await.is_err());
    papers.make(&["primary"]);
    // Read again because the first failed; shown with the next.
    let _ = line.report(&office::report("primary")).await;
    line.report(&office::report("primary")).await.unwrap();
}

#[test]
fn an_authority_is_made_once_and_its_keys_are_nobody_elses() {
    use std::os::unix::fs::PermissionsExt as _;
    let papers = Papers::new("once");
    papers.make(&[]);
    let authority = std::fs::read(papers.path("ca.pem")).unwrap();
    let primary = std::fs::read(papers.path("primary.pem")).unwrap();
    for name in ["ca", "manager", "primary", "relay"] {
        let mode =
            |name: String| papers.path(&name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(format!("{name}-key.pem")), 0o600, "{name}");
        assert_eq!(mode(format!("{name}.pem")), 0o644, "{name}");
    }
    // What is there stays, unless it is asked for by name.
    papers.make(&[]);
    assert_eq!(std::fs::read(papers.path("primary.pem")).unwrap(), primary);
    papers.make(&["primary"]);
    assert_ne!(std::fs::read(papers.path("primary.pem")).unwrap(), primary);
    assert_eq!(std::fs::read(papers.path("ca.pem")).unwrap(), authority);
}

#[tokio::test]
async fn options_that_go_together_are_asked_for_together() {
    let papers = Papers::new("together");
    papers.make(&[]);
    let half = ControlConfig {
        control_ca: None,
        ..papers.of("primary")
    };
    let told = half.papers().unwrap_err().to_string();
    assert_eq!(
        told,
        "control-ca and control-cert go together; give both, or neither"
    );
    let told = office::try_line("http://127.0.0.1:9000", &papers.of("primary")).unwrap_err();
    assert!(
        told.contains("control-cert is for https, but the manager is http://127.0.0.1:9000/"),
        "{told}"
    );
    let nowhere = ControlConfig {
        control_secret_file: Some("/nowhere".into()),
        ..ControlConfig::default()
    };
    let told = office::try_line("http://127.0.0.1:9000", &nowhere).unwrap_err();
    assert!(
        told.starts_with("cannot read control-secret-file /nowhere"),
        "{told}"
    );
}

/// A manager that starts no relays, and where viewers join.
async fn started_manager(arguments: &[&str]) -> (Program, String) {
    let usual = [
        "http://127.0.0.1:1",
        "3",
        "--launcher",
        "none",
        "--listen",
        "127.0.0.1:0",
    ];
    let program = office::program("traffic-manager", &[&usual[..], arguments].concat());
    office::ready(program).await
}

/// A relay that reports to a manager, whatever that makes of it.
async fn started_relay(manager: &str, arguments: &[&str]) -> Program {
    let usual = ["127.0.0.1", "--listen", "127.0.0.1:0", "--name", "relay-1"];
    let arguments = [&usual[..], &["--manager", manager], arguments].concat();
    let program = office::program("local-server", &arguments);
    office::ready(program).await.0
}

#[tokio::test]
async fn who_is_refused_is_told_why_in_its_log_and_in_the_managers() {
    let folder = Papers::new("logs");
    let [right, wrong] = ["right", "wrong"].map(|name| folder.secret_file(name));
    let (mut manager, url) = started_manager(&["--control-secret-file", &right]).await;
    let mut relay = started_relay(&url, &["--control-secret-file", &wrong]).await;
    let told = "the proof was made with another secret";
    office::logs(&mut relay, &["does not take this node", told]).await;
    office::logs(&mut manager, &["heartbeat refused", told]).await;
    relay.stop().await.unwrap();
    let mut relay = started_relay(
        &url,
        &[
            "--control-secret-file",
            &right,
            "--control-encoding",
            "protobuf",
        ],
    )
    .await;
    office::logs(&mut manager, &["node heard", "relay-1"]).await;
    relay.stop().await.unwrap();
    manager.stop().await.unwrap();
}

#[tokio::test]
async fn whole_programs_find_each_other_by_certificates() {
    let papers = Papers::new("programs");
    let made = office::run(
        "traffic-manager",
        &["make-certificates", papers.path("").to_str().unwrap()],
    )
    .await;
    assert!(made.contains("relay.pem and "), "{made}");
    let [ca, cert, key, relay_cert, relay_key] = [
        "ca.pem",
        "manager.pem",
        "manager-key.pem",
        "relay.pem",
        "relay-key.pem",
    ]
    .map(|name| papers.path(name).to_str().unwrap().to_owned());
    let (mut manager, url) = started_manager(&[
        "--control-listen",
        "127.0.0.1:0",
        "--control-ca",
        &ca,
        "--control-cert",
        &cert,
        "--control-key",
        &key,
    ])
    .await;
    let control = url.replace("http://", "");
    let said = manager.said();
    let nodes_at = said
        .iter()
        .find_map(|line| line.split("control ").nth(1))
        .unwrap()
        .trim()
        .to_owned();
    assert!(nodes_at.starts_with("https://localhost:"), "{nodes_at}");
    let mut relay = started_relay(
        &nodes_at,
        &[
            "--control-ca",
            &ca,
            "--control-cert",
            &relay_cert,
            "--control-key",
            &relay_key,
        ],
    )
    .await;
    office::logs(&mut manager, &["node heard", "relay-1"]).await;
    // Where viewers join, no node is heard.
    let answer = reqwest::Client::new()
        .post(format!("http://{control}/v1/heartbeat"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    tokio::time::timeout(Duration::from_secs(10), relay.stop())
        .await
        .unwrap()
        .unwrap();
    manager.stop().await.unwrap();
}
