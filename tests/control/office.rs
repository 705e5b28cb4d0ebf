//! A manager that hears nodes, their lines to it, and the papers of both.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use playlists::Bitrate;
use spillway::{
    control::{ControlConfig, Encoding, Heartbeat, Load, NodeKind, NodeState, VERSION},
    manager::{Config, Manager, Means, Members},
    net::{self, Files, Front, FrontConfig, caller::Trusted, issuing::Issue},
    origin::reporter::Line,
};
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};
use tools::program::Program;

pub(crate) struct Office {
    url: String,
    manager: Manager,
    _guard: DropGuard,
}

impl Office {
    pub(crate) async fn open(members: Members) -> Self {
        Self::behind(
            FrontConfig::default().open().await.unwrap(),
            "http",
            members,
        )
        .await
    }

    /// Whoever connects has to show a certificate.
    pub(crate) async fn for_members(papers: &Papers) -> Self {
        let files = Files {
            certificate: papers.path("manager.pem"),
            key: papers.path("manager-key.pem"),
        };
        let front = Front::for_members(files, &papers.path("ca.pem"))
            .await
            .unwrap();
        let members = Members {
            certificate: true,
            ..Members::default()
        };
        Self::behind(front, "https", members).await
    }

    async fn behind(mut front: Front, scheme: &str, members: Members) -> Self {
        let listener = net::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!(
            "{scheme}://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let stop = CancellationToken::new();
        let manager = Manager::start(
            Config::new("http://primary.test".into()),
            Means::plain(None),
            stop.clone(),
        );
        let app = manager.public().merge(manager.control(members).unwrap());
        front.server.limits.shutdown = Duration::from_secs(1);
        let (base, end) = (url.parse().unwrap(), stop.clone());
        tokio::spawn(async move { front.serve(listener, app, &base, end).await });
        Self {
            url,
            manager,
            _guard: stop.drop_guard(),
        }
    }

    pub(crate) fn line(&self, control: &ControlConfig, encoding: Encoding) -> Line {
        let trust = Trusted::default();
        Line::new(self.url.parse().unwrap(), control, encoding, trust).unwrap()
    }

    pub(crate) async fn post(
        &self,
        kind: &str,
        body: Vec<u8>,
        proof: Option<&str>,
    ) -> reqwest::Response {
        let mut request = reqwest::Client::new()
            .post(format!("{}/v1/heartbeat", self.url))
            .header("content-type", kind)
            .body(body);
        if let Some(proof) = proof {
            request = request.header("authorization", proof);
        }
        request.send().await.unwrap()
    }

    /// Who has been heard.
    pub(crate) async fn nodes(&self) -> Vec<String> {
        use tower::ServiceExt as _;
        let request = axum::http::Request::get("/v1/nodes")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = self.manager.public().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .unwrap();
        let nodes: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        nodes
            .iter()
            .map(|node| node["node"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The version of HTTP that is spoken with who has these papers.
    pub(crate) async fn version(&self, control: &ControlConfig) -> reqwest::Version {
        let papers = control.papers().unwrap().unwrap();
        let mut pem = std::fs::read(papers.certificate).unwrap();
        pem.extend(std::fs::read(papers.key).unwrap());
        let client =
            trusting(&papers.authority).identity(reqwest::Identity::from_pem(&pem).unwrap());
        let answer = client.build().unwrap().get(&self.url).send().await.unwrap();
        answer.version()
    }

    /// What comes of it.
    pub(crate) async fn without_certificate(&self, papers: &Papers) -> String {
        let client = trusting(&papers.path("ca.pem")).build().unwrap();
        let error = client.get(&self.url).send().await.unwrap_err();
        format!("{error:?}")
    }
}

fn trusting(authority: &Path) -> reqwest::ClientBuilder {
    let pem = std::fs::read(authority).unwrap();
    reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
}

/// Why there is no such line.
pub(crate) fn try_line(manager: &str, control: &ControlConfig) -> Result<Line, String> {
    let line = Line::new(
        manager.parse().unwrap(),
        control,
        Encoding::Json,
        Trusted::default(),
    );
    line.map_err(|error| format!("{error:#}"))
}

/// A folder of certificates and secrets, called after its test.
pub(crate) struct Papers(PathBuf);

impl Papers {
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("control-{test}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As `traffic-manager make-certificates` does.
    pub(crate) fn make(&self, nodes: &[&str]) {
        #[derive(Parser)]
        struct Program {
            #[command(flatten)]
            issue: Issue,
        }
        let arguments = ["x", self.0.to_str().unwrap()]
            .into_iter()
            .chain(nodes.iter().copied());
        Program::parse_from(arguments).issue.run().unwrap();
    }

    /// Options of who has the certificate that is called so.
    pub(crate) fn of(&self, name: &str) -> ControlConfig {
        ControlConfig {
            control_ca: Some(self.path("ca.pem")),
            control_cert: Some(self.path(&format!("{name}.pem"))),
            control_key: Some(self.path(&format!("{name}-key.pem"))),
            ..ControlConfig::default()
        }
    }

    pub(crate) fn secret_file(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, format!("{}\n", secret(name))).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A secret of this name.
pub(crate) fn secret(name: &str) -> &'static str {
    match name {
        "right" => "the right secret of this test",
        _ => "a wrong secret of this test",
    }
}

/// Options of who knows it.
pub(crate) fn control(name: Option<&str>) -> ControlConfig {
    let Some(name) = name else {
        return ControlConfig::default();
    };
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let papers = Papers::new(&format!("secret-{}-{count}", std::process::id()));
    ControlConfig {
        control_secret_file: Some(papers.secret_file(name).into()),
        ..ControlConfig::default()
    }
}

pub(crate) fn report(node: &str) -> Heartbeat {
    let kind = if node == "primary" {
        NodeKind::Primary
    } else {
        NodeKind::Relay
    };
    Heartbeat {
        version: VERSION,
        node: node.into(),
        instance: 1_000,
        kind,
        state: NodeState::Active,
        url: format!("http://{node}.test"),
        region: None,
        launched: false,
        software: "0.1.0".into(),
        load: Load {
            egress: Bitrate::from_kbps(100),
            ..Load::default()
        },
    }
}

pub(crate) fn program(name: &str, arguments: &[&str]) -> Program {
    let mut command = command(name);
    command.args(arguments).env("RUST_LOG", "info");
    Program::start(name, command).unwrap()
}

pub(crate) async fn ready(mut program: Program) -> (Program, String) {
    let url = program.ready().await.unwrap().remove(0);
    (program, url)
}

/// What a program prints that ends by itself.
pub(crate) async fn run(name: &str, arguments: &[&str]) -> String {
    let output = command(name).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn command(name: &str) -> Command {
    Command::new(match name {
        "traffic-manager" => env!("CARGO_BIN_EXE_traffic-manager"),
        _ => env!("CARGO_BIN_EXE_local-server"),
    })
}

/// Waits until one line of what `program` says has all of `words`.
pub(crate) async fn logs(program: &mut Program, words: &[&str]) {
    let said = program.says(Duration::from_secs(20), |line| {
        words.iter().all(|word| line.contains(word)).then_some(())
    });
    said.await.unwrap();
}
