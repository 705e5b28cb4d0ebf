//! Certificates that are ordered from an authority. The authority is a real one, `pebble`, which
//! looks at what we serve before it issues.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;
#[path = "common/site.rs"]
mod site;

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use site::{Ca, Site, client, presented};
use spillway::net::{FrontConfig, acme::Challenge};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_certificate_is_proven_over_tls_kept_and_renewed() {
    let ca = Ca::new("acme-tls");
    let ports = Ports::free();
    let Some(pebble) = Pebble::start(&ca, &ports, 12).await else {
        return;
    };
    let config = config(&ca, &ports, Challenge::Tls);
    let listen = format!("127.0.0.1:{}", ports.tls);
    let site = Site::start(config.open().await.unwrap(), &listen).await;
    let first = issued(&pebble, site.address).await;
    let page = client(&pebble.root).build().unwrap().get(site.at("/"));
    assert!(page.send().await.unwrap().status().is_success());

    let kept = ca
        .path("state")
        .join(format!("localhost-{}", ports.directory));
    for name in ["account.json", "certificate.pem"] {
        let mode = kept.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is nobody else's");
    }
    // Twelve seconds are its life, so that it is replaced after eight.
    let renewed = async {
        loop {
            let now = issued(&pebble, site.address).await;
            if now != first {
                return now;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let renewed = timeout(PATIENCE, renewed).await.expect("it is renewed");
    // Another run has it at once, without asking anybody.
    site.stop.cancel();
    site.serving.await.unwrap();
    drop(pebble.child);
    let again = Site::start(config.open().await.unwrap(), &listen).await;
    let root = Ca::trusting(&pebble.root);
    let stream = root.shake(again.address, b"http/1.1").await;
    assert_eq!(presented(&stream), renewed);
}

#[tokio::test]
async fn a_certificate_is_proven_over_plain_http() {
    let ca = Ca::new("acme-http");
    let ports = Ports::free();
    let Some(pebble) = Pebble::start(&ca, &ports, 3600).await else {
        return;
    };
    let config = FrontConfig {
        http_listen: Some(([127, 0, 0, 1], ports.plain).into()),
        ..config(&ca, &ports, Challenge::Http)
    };
    let site = Site::start(config.open().await.unwrap(), "127.0.0.1:0").await;
    issued(&pebble, site.address).await;
}

#[tokio::test]
async fn programs_that_share_a_folder_share_a_certificate() {
    let ca = Ca::new("acme-shared");
    let ports = Ports::free();
    let Some(pebble) = Pebble::start(&ca, &ports, 3600).await else {
        return;
    };
    let config = config(&ca, &ports, Challenge::Tls);
    let listen = format!("127.0.0.1:{}", ports.tls);
    let first = Site::start(config.open().await.unwrap(), &listen).await;
    let certificate = issued(&pebble, first.address).await;
    let second = Site::start(config.open().await.unwrap(), "127.0.0.1:0").await;
    assert_eq!(issued(&pebble, second.address).await, certificate);
}

/// Free ports: the authority knows where it will look before anything listens there.
struct Ports {
    directory: u16,
    management: u16,
    tls: u16,
    plain: u16,
}

impl Ports {
    fn free() -> Self {
        let listeners = [(); 4].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [directory, management, tls, plain] =
            listeners.map(|listener| listener.local_addr().unwrap().port());
        Self {
            directory,
            management,
            tls,
            plain,
        }
    }
}

fn config(ca: &Ca, ports: &Ports, challenge: Challenge) -> FrontConfig {
    FrontConfig {
        acme_domain: vec!["localhost".into()],
        acme_email: Some("operator@example.org".into()),
        acme_state: Some(ca.path("state")),
        acme_directory: Some(format!("https://localhost:{}/dir", ports.directory)),
        acme_ca: Some(ca.path("ca.pem")),
        acme_challenge: Some(challenge),
        ..FrontConfig::default()
    }
}

/// What is presented, once there is something that the authority issued.
async fn issued(pebble: &Pebble, address: SocketAddr) -> Vec<u8> {
    let authority = Ca::trusting(&pebble.root);
    let issued = async {
        loop {
            match authority.try_shake(address, b"http/1.1").await {
                Ok(stream) => return presented(&stream),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(PATIENCE, issued)
        .await
        .expect("a certificate is issued")
}

/// A running authority.
struct Pebble {
    /// Killed when dropped.
    child: Child,
    /// Whom those trust who trust what it issues.
    root: String,
}

impl Pebble {
    /// `None`, and it is said, where it is not installed.
    async fn start(ca: &Ca, ports: &Ports, seconds: u32) -> Option<Self> {
        ca.issue();
        std::fs::write(ca.path("ca.pem"), &ca.pem).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", ports.directory),
            "managementListenAddress": format!("127.0.0.1:{}", ports.management),
            "certificate": ca.path("cert.pem"),
            "privateKey": ca.path("key.pem"),
            "httpPort": ports.plain,
            "tlsPort": ports.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        std::fs::write(ca.path("pebble.json"), config.to_string()).unwrap();
        let log = std::fs::File::create(ca.path("pebble.log")).unwrap();
        let child = Command::new("pebble")
            .arg("-config")
            .arg(ca.path("pebble.json"))
            // Its other caprices stay: it refuses one good nonce in twenty, and so may a real one.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let Ok(child) = child else {
            eprintln!("SKIPPED acme: pebble is not installed");
            assert!(
                std::env::var_os("CI").is_none(),
                "pebble has to be there in CI"
            );
            return None;
        };
        let management = format!("https://localhost:{}/roots/0", ports.management);
        let (client, start) = (ca.client().build().unwrap(), Instant::now());
        loop {
            if let Ok(answer) = client.get(&management).send().await {
                let root = answer.text().await.unwrap();
                return Some(Self { child, root });
            }
            assert!(start.elapsed() < PATIENCE, "pebble does not answer");
            sleep(Duration::from_millis(50)).await;
        }
    }
}
