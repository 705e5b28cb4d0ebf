//! The launcher of Pods against an API server that misbehaves on demand; and against a real one, if
//! KUBECONFIG names it.

#![cfg(feature = "kubernetes")]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap is an assertion, in its helpers too"
)]

#[path = "cluster/server.rs"]
mod server;

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use server::{Cluster, Wrong};
use spillway::manager::{
    launcher::{
        Ended, KubernetesLauncher, Launcher as _, Order,
        kubernetes::{Settings, Template},
    },
    lease::{Hold, KubernetesLease, Lease as _, Sought, kubernetes::Times},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A manager's launcher in a cluster.
struct Town {
    cluster: Cluster,
    launcher: KubernetesLauncher,
    _guard: DropGuard,
}

impl Town {
    async fn new() -> Self {
        Self::with(Cluster::start().await, |_| {}).await
    }

    async fn with(cluster: Cluster, change: impl FnOnce(&mut Settings)) -> Self {
        if cluster.api.get("podtemplates", "spillway-relay").is_none() {
            cluster
                .api
                .put("podtemplates", "spillway-relay", template());
        }
        let mut settings = settings();
        change(&mut settings);
        let stop = CancellationToken::new();
        let launcher =
            KubernetesLauncher::start(cluster.client(), "tv", settings, stop.clone()).await;
        Self {
            cluster,
            launcher: launcher.unwrap(),
            _guard: stop.drop_guard(),
        }
    }

    /// A launch that is under way, once its Pod is there.
    async fn launch(
        &self,
        node: &str,
    ) -> (
        tokio::task::JoinHandle<anyhow::Result<Ended>>,
        CancellationToken,
    ) {
        let stop = CancellationToken::new();
        let launch = tokio::spawn(self.launcher.launch(order(node), stop.clone()));
        let made = |api: &server::Api| {
            api.pod(node)
                .is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        };
        self.cluster.api.until("made", made).await;
        (launch, stop)
    }

    /// A relay that runs.
    async fn relay(&self, node: &str) -> (Ended, CancellationToken) {
        let (launch, stop) = self.launch(node).await;
        self.cluster.api.run(node);
        (launch.await.unwrap().unwrap(), stop)
    }
}

/// A relay that is told to stop has its Pod deleted, and is over when that is gone.
async fn is_ended_when_told(api: &server::Api, ended: Ended, stop: &CancellationToken) {
    let ended = tokio::spawn(ended);
    stop.cancel();
    api.until("deleted", |api| {
        !api.pod("relay-paris-1").unwrap()["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    api.remove("pods", "relay-paris-1");
    assert_eq!(ended.await.unwrap(), "its Pod was deleted, as it should be");
}

fn settings() -> Settings {
    Settings {
        installation: "tv".into(),
        template: Template::Object("spillway-relay".into()),
        manager: "http://traffic-manager:9000".into(),
        runs_within: Duration::from_secs(20),
        ends_within: Duration::from_secs(20),
        answers_within: Duration::from_secs(5),
    }
}

fn template() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {},
        "template": {
            "metadata": { "labels": { "team": "video" } },
            "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "relay", "image": "spillway:0.1" }] },
        },
    })
}

fn order(node: &str) -> Order {
    Order {
        node: node.into(),
        region: "paris".into(),
        upstream: "http://primary:8080".into(),
    }
}

fn error(launched: anyhow::Result<Ended>) -> String {
    format!("{:#}", launched.err().unwrap())
}

#[tokio::test]
async fn a_relay_is_a_pod_from_the_template_until_it_is_told_to_end() {
    let town = Town::new().await;
    let api = &town.cluster.api;
    let (ended, stop) = town.relay("relay-paris-1").await;
    let pod = api.pod("relay-paris-1").unwrap();
    assert_eq!(pod["metadata"]["labels"]["team"], "video");
    assert_eq!(pod["metadata"]["labels"]["spillway.dev/region"], "paris");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(
        arguments.contains(&"--launched".into()) && arguments.contains(&"relay-paris-1".into()),
        "{arguments:?}"
    );
    is_ended_when_told(api, ended, &stop).await;
}

#[tokio::test]
async fn a_pod_that_fails_or_is_evicted_or_taken_away_is_an_event() {
    let town = Town::new().await;
    let api = &town.cluster.api;
    let (ended, _stop) = town.relay("relay-paris-1").await;
    api.evict("relay-paris-1");
    assert_eq!(ended.await, "Evicted: The node was low on memory.");
    assert!(
        api.pod("relay-paris-1").is_none(),
        "what is over is cleared away"
    );

    let (ended, _stop) = town.relay("relay-paris-2").await;
    api.report(
        "relay-paris-2",
        "Failed",
        json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
    );
    assert_eq!(ended.await, "OOMKilled, exit status: 137");

    // A node is drained by the cluster's operator: the Pod has its time, and is gone then.
    let (ended, _stop) = town.relay("relay-paris-3").await;
    api.delete("relay-paris-3");
    api.remove("pods", "relay-paris-3");
    assert_eq!(ended.await, "its Pod was deleted");
}

#[tokio::test]
async fn a_pod_that_never_runs_fails_with_what_it_waited_for_and_is_deleted() {
    let town = Town::with(Cluster::start().await, |settings| {
        settings.runs_within = Duration::from_millis(500)
    })
    .await;
    let api = &town.cluster.api;
    let (launch, _stop) = town.launch("relay-paris-1").await;
    api.report(
        "relay-paris-1",
        "Pending",
        json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }),
    );
    let told = error(launch.await.unwrap());
    assert_eq!(
        told,
        "its Pod did not run within 500ms: ImagePullBackOff: no such image"
    );
    assert!(!api.pod("relay-paris-1").unwrap()["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test]
async fn a_launch_that_is_stopped_leaves_nothing() {
    let town = Town::new().await;
    let (launch, stop) = town.launch("relay-paris-1").await;
    stop.cancel();
    assert_eq!(error(launch.await.unwrap()), "it was stopped before it ran");
    let pod = town.cluster.api.pod("relay-paris-1").unwrap();
    assert!(!pod["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test]
async fn conflicts_and_errors_that_pass_are_waited_out() {
    let town = Town::new().await;
    let api = &town.cluster.api;
    for code in [409, 429, 500, 503] {
        api.spoil(Method::PATCH, 1, Wrong::Status(code));
        api.spoil(Method::GET, 1, Wrong::Status(code));
    }
    let (ended, stop) = town.relay("relay-paris-1").await;
    assert_eq!(api.requests("PATCH pods"), 5);
    let ended = tokio::spawn(ended);
    for code in [500, 503] {
        api.spoil(Method::DELETE, 1, Wrong::Status(code));
    }
    stop.cancel();
    api.until("deleted", |api| {
        !api.pod("relay-paris-1").unwrap()["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    assert_eq!(api.requests("DELETE pods"), 3);
    api.remove("pods", "relay-paris-1");
    ended.await.unwrap();
}

#[tokio::test]
async fn what_is_forbidden_fails_at_once_and_says_so() {
    let town = Town::new().await;
    town.cluster.api.spoil(Method::PATCH, 1, Wrong::Status(403));
    let told = error(
        town.launcher
            .launch(order("relay-paris-1"), CancellationToken::new())
            .await,
    );
    assert!(
        told.starts_with("Pod relay-paris-1: ") && told.contains("403"),
        "{told}"
    );
    assert_eq!(town.cluster.api.requests("PATCH pods"), 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_pod() {
    let town = Town::with(Cluster::start().await, |settings| {
        settings.answers_within = Duration::from_millis(300)
    })
    .await;
    let api = &town.cluster.api;
    // It is made, but nobody hears of it; then nothing is done, and nobody hears of that.
    api.spoil(Method::PATCH, 1, Wrong::DoneSilently);
    api.spoil(Method::PATCH, 1, Wrong::Silent);
    let (_ended, _stop) = town.relay("relay-paris-1").await;
    assert_eq!(api.pods(), ["relay-paris-1"]);
    assert_eq!(api.requests("PATCH pods"), 3);
}

#[tokio::test]
async fn a_launch_whose_answer_never_comes_leaves_no_pod() {
    let town = Town::with(Cluster::start().await, |settings| {
        (settings.answers_within, settings.runs_within) =
            (Duration::from_millis(200), Duration::from_millis(300));
    })
    .await;
    town.cluster
        .api
        .spoil(Method::PATCH, 9, Wrong::DoneSilently);
    let told = error(
        town.launcher
            .launch(order("relay-paris-1"), CancellationToken::new())
            .await,
    );
    assert!(told.contains("did not answer within"), "{told}");
    let pod = town.cluster.api.pod("relay-paris-1").unwrap();
    assert!(
        !pod["metadata"]["deletionTimestamp"].is_null(),
        "it was made all the same"
    );
}

#[tokio::test]
async fn a_watch_that_is_lost_goes_on_and_one_that_is_too_old_begins_anew() {
    let town = Town::new().await;
    let api = &town.cluster.api;
    let (first, _stop) = town.relay("relay-paris-1").await;
    let (second, _stop) = town.relay("relay-paris-2").await;
    // What happens meanwhile is told when the watch is back.
    api.cut_watches();
    api.evict("relay-paris-1");
    assert_eq!(first.await, "Evicted: The node was low on memory.");
    // What happened before the oldest that is known is seen by what is listed, and by what is not.
    let lists = api.requests("GET pods") - api.requests("GET pods watch");
    api.delete_unseen("relay-paris-2");
    api.expire_watches();
    assert_eq!(second.await, "its Pod was deleted");
    assert!(
        api.requests("GET pods") - api.requests("GET pods watch") > lists,
        "it was listed again"
    );
    // An expired watch that is asked for again.
    let (third, _stop) = town.relay("relay-paris-3").await;
    api.spoil(Method::GET, 1, Wrong::Status(410));
    api.cut_watches();
    api.evict("relay-paris-3");
    assert_eq!(third.await, "Evicted: The node was low on memory.");
}

#[tokio::test]
async fn another_manager_adopts_what_runs_and_sees_it_to_its_end() {
    let old = Town::new().await;
    let (lost, _stop) = old.relay("relay-paris-1").await;
    drop(lost);
    assert!(old.launcher.outlives());
    let Town {
        cluster, launcher, ..
    } = old;
    drop(launcher);
    let new = Town::with(cluster, |_| {}).await;
    let api = &new.cluster.api;
    let stop = CancellationToken::new();
    let ended = new
        .launcher
        .adopt("relay-paris-1".into(), stop.clone())
        .await
        .unwrap();
    assert!(
        new.launcher
            .adopt("relay-rome-1".into(), CancellationToken::new())
            .await
            .is_none()
    );
    is_ended_when_told(api, ended, &stop).await;
}

#[tokio::test]
async fn a_launch_finds_the_pod_that_an_earlier_manager_made_for_it() {
    let old = Town::new().await;
    let (launch, _stop) = old.launch("relay-paris-1").await;
    // Killed in the middle of it.
    launch.abort();
    let uid = old.cluster.api.pod("relay-paris-1").unwrap()["metadata"]["uid"].clone();
    let Town {
        cluster, launcher, ..
    } = old;
    drop(launcher);
    let new = Town::with(cluster, |_| {}).await;
    let (_ended, _stop) = new.relay("relay-paris-1").await;
    assert_eq!(
        new.cluster.api.pod("relay-paris-1").unwrap()["metadata"]["uid"],
        uid
    );
    assert_eq!(new.cluster.api.pods().len(), 1);
}

#[tokio::test]
async fn a_pod_of_before_is_cleared_away_before_another_takes_its_name() {
    let old = Town::new().await;
    let (ended, _stop) = old.relay("relay-paris-1").await;
    drop(ended);
    let uid = old.cluster.api.pod("relay-paris-1").unwrap()["metadata"]["uid"].clone();
    // It goes, and takes its time.
    old.cluster.api.delete("relay-paris-1");
    let stop = CancellationToken::new();
    let launch = tokio::spawn(old.launcher.launch(order("relay-paris-1"), stop.clone()));
    let api = &old.cluster.api;
    api.until("asked for", |api| {
        api.requests("GET pods relay-paris-1") > 1
    })
    .await;
    api.remove("pods", "relay-paris-1");
    api.until("made", |api| api.pod("relay-paris-1").is_some())
        .await;
    assert_ne!(api.pod("relay-paris-1").unwrap()["metadata"]["uid"], uid);
    api.run("relay-paris-1");
    let _runs = launch.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.api.put("pods", "relay-paris-1", json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": { "app": "other" } }, "spec": { "containers": [{ "name": "x" }] } }));
    let town = Town::with(cluster, |_| {}).await;
    let told = error(
        town.launcher
            .launch(order("relay-paris-1"), CancellationToken::new())
            .await,
    );
    assert_eq!(
        told,
        "there is a Pod relay-paris-1 already, which is no relay of this installation"
    );
    assert_eq!(town.cluster.api.requests("DELETE"), 0);
    assert_eq!(town.cluster.api.requests("PATCH"), 0);
}

#[tokio::test]
async fn what_an_earlier_manager_left_over_is_cleared_away() {
    let old = Town::new().await;
    let (ended, _stop) = old.relay("relay-paris-1").await;
    let (stuck, _stop) = old.launch("relay-paris-2").await;
    let (runs, _stop) = old.relay("relay-paris-3").await;
    drop((ended, runs));
    stuck.abort();
    let Town {
        cluster, launcher, ..
    } = old;
    drop(launcher);
    cluster.api.evict("relay-paris-1");
    let new = Town::with(cluster, |settings| {
        settings.runs_within = Duration::from_millis(100)
    })
    .await;
    let api = &new.cluster.api;
    api.until("cleared", |api| api.pod("relay-paris-1").is_none())
        .await;
    // Seen not to run; looked at again when something happens, or after a while.
    tokio::time::timeout(Duration::from_secs(20), async {
        while api.pod("relay-paris-2").unwrap()["metadata"]["deletionTimestamp"].is_null() {
            api.run("relay-paris-3");
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(
        api.pod("relay-paris-3").unwrap()["metadata"]["deletionTimestamp"].is_null(),
        "what runs is left"
    );
}

#[tokio::test]
async fn a_template_that_cannot_work_is_said_at_the_start() {
    let cluster = Cluster::start().await;
    let start = |template: Template| {
        let settings = Settings {
            template,
            ..settings()
        };
        let (client, stop) = (cluster.client(), CancellationToken::new());
        async move {
            let started = KubernetesLauncher::start(client, "tv", settings, stop).await;
            format!("{:#}", started.err().unwrap())
        }
    };
    let told = start(Template::Object("spillway-relay".into())).await;
    assert!(
        told.starts_with("PodTemplate spillway-relay: ") && told.contains("404"),
        "{told}"
    );
    let told = start(Template::File("/nowhere.yaml".into())).await;
    assert!(
        told.starts_with("cannot read pod-template /nowhere.yaml: "),
        "{told}"
    );
    cluster.api.put(
        "podtemplates",
        "empty",
        json!({ "apiVersion": "v1", "kind": "PodTemplate", "metadata": {} }),
    );
    let told = start(Template::Object("empty".into())).await;
    assert_eq!(told, "PodTemplate empty has no template in it");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_yet_is_no_reason_not_to_start() {
    let cluster = Cluster::start().await;
    cluster.api.spoil(Method::GET, 2, Wrong::Status(503));
    let town = Town::with(cluster, |settings| {
        settings.answers_within = Duration::from_millis(50)
    })
    .await;
    let _ = town.relay("relay-paris-1").await;
}

/// One manager's way to the lease that all of them want.
fn lease(cluster: &Cluster, url: &str) -> KubernetesLease {
    let times = Times {
        good_for: Duration::from_secs(1),
        renewed_within: Duration::from_millis(600),
        answer: Duration::from_millis(300),
    };
    KubernetesLease::new(cluster.client(), "tv", "spillway", url.into(), times).unwrap()
}

fn held(sought: Sought) -> Box<dyn Hold> {
    match sought {
        Sought::Held(hold) => hold,
        Sought::Taken(holder) => panic!("it is held by {holder:?}"),
    }
}

/// Who holds it, and the epoch.
fn holder(sought: &Sought) -> Option<(&str, u64)> {
    match sought {
        Sought::Taken(Some(holder)) => Some((&holder.url, holder.epoch)),
        _ => None,
    }
}

#[tokio::test]
async fn one_manager_holds_the_lease_and_gives_it_to_the_next() {
    let cluster = Cluster::start().await;
    let (one, two) = (lease(&cluster, "http://one"), lease(&cluster, "http://two"));
    let mut first = held(one.seek().await.unwrap());
    assert_eq!(first.epoch(), 1);
    assert_eq!(holder(&two.seek().await.unwrap()), Some(("http://one", 1)));
    first.check().await.unwrap();
    // Somebody else changes the object meanwhile.
    cluster.api.spoil(Method::PUT, 1, Wrong::DoneSilently);
    assert!(first.check().await.is_ok() && first.left().is_empty());
    first.leave("a word").await.unwrap();
    first.release().await;
    let mut second = held(two.seek().await.unwrap());
    assert_eq!((second.epoch(), second.left()), (2, "a word"));
    second.check().await.unwrap();
    assert_eq!(holder(&one.seek().await.unwrap()), Some(("http://two", 2)));
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_and_who_lost_it_notices() {
    let cluster = Cluster::start().await;
    let (one, two) = (lease(&cluster, "http://one"), lease(&cluster, "http://two"));
    let mut frozen = held(one.seek().await.unwrap());
    let taken = async {
        loop {
            if let Sought::Held(hold) = two.seek().await.unwrap() {
                return hold;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let second = tokio::time::timeout(Duration::from_secs(20), taken)
        .await
        .unwrap();
    assert_eq!(second.epoch(), 2);
    let error = format!("{:#}", frozen.check().await.unwrap_err());
    assert!(error.starts_with("it is held by http://two#"), "{error}");
}

#[tokio::test]
async fn of_two_who_take_it_at_once_one_gets_it() {
    let cluster = Cluster::start().await;
    let managers: Vec<_> = (0..8)
        .map(|number| lease(&cluster, &format!("http://{number}")))
        .collect();
    let sought = futures_util::future::join_all(managers.iter().map(|lease| lease.seek())).await;
    let held = sought
        .iter()
        .filter(|sought| matches!(sought, Ok(Sought::Held(_))));
    assert_eq!(held.count(), 1);
}

#[tokio::test]
async fn an_api_that_does_not_answer_for_a_moment_costs_no_lease_and_one_that_is_gone_does() {
    let cluster = Cluster::start().await;
    let mut hold = held(lease(&cluster, "http://one").seek().await.unwrap());
    cluster.api.spoil(Method::PUT, 1, Wrong::Status(503));
    hold.check().await.unwrap();
    hold.check().await.unwrap();
    // The answer to a renewal is lost, and the next is made from what is old by then.
    cluster.api.spoil(Method::PUT, 1, Wrong::DoneSilently);
    hold.check().await.unwrap();
    hold.check().await.unwrap();
    cluster.api.spoil(Method::PUT, 99, Wrong::Silent);
    let lost = async { while hold.check().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), lost)
        .await
        .unwrap();
}

/// What the server in memory cannot tell: that a real one takes what is sent. Where there is no kubelet this test plays it.
#[tokio::test]
async fn a_real_api_server_takes_it_all() {
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!(
            "SKIPPED a_real_api_server_takes_it_all: KUBECONFIG names no cluster; run it where one can be had, \
             KUBECONFIG=~/.kube/config cargo test --test kubernetes a_real_api_server"
        );
        return;
    }
    let client = kube::Client::try_default().await.unwrap();
    let namespace = real::Namespace::new(&client).await;
    let settings = Settings {
        runs_within: Duration::from_secs(60),
        ..settings()
    };
    let stop = CancellationToken::new();
    let started = KubernetesLauncher::start(
        client.clone(),
        &namespace.name,
        settings.clone(),
        stop.clone(),
    );
    let launcher = started.await.unwrap();
    let end = CancellationToken::new();
    let launch = tokio::spawn(launcher.launch(order("relay-paris-1"), end.clone()));
    namespace.run("relay-paris-1").await;
    let ended = launch.await.unwrap().unwrap();
    drop(ended);

    // Evicted, taken away by somebody, and somebody else's.
    for node in ["relay-paris-2", "relay-paris-3"] {
        let launch = tokio::spawn(launcher.launch(order(node), CancellationToken::new()));
        namespace.run(node).await;
        let ended = launch.await.unwrap().unwrap();
        match node {
            "relay-paris-2" => namespace.evict(node).await,
            _ => namespace.take_away(node).await,
        }
        let told = tokio::time::timeout(Duration::from_secs(60), ended).await;
        println!("a real API server: {node}: {}", told.unwrap());
        namespace.gone(node).await;
    }
    namespace.occupy("relay-paris-4").await;
    let taken = launcher.launch(order("relay-paris-4"), CancellationToken::new());
    let told = error(taken.await);
    assert!(told.contains("no relay of this installation"), "{told}");
    stop.cancel();

    let stop = CancellationToken::new();
    let next = KubernetesLauncher::start(client.clone(), &namespace.name, settings, stop.clone())
        .await
        .unwrap();
    let adopted = next
        .adopt("relay-paris-1".into(), end.clone())
        .await
        .unwrap();
    end.cancel();
    let told = tokio::time::timeout(Duration::from_secs(60), adopted)
        .await
        .unwrap();
    println!("a real API server: {told}");
    stop.cancel();

    let lease = |url: &str| {
        KubernetesLease::new(
            client.clone(),
            &namespace.name,
            "spillway",
            url.into(),
            Times::default(),
        )
        .unwrap()
    };
    let mut first = held(lease("http://one").seek().await.unwrap());
    first.check().await.unwrap();
    let two = lease("http://two");
    assert_eq!(holder(&two.seek().await.unwrap()), Some(("http://one", 1)));
    first.release().await;
    assert_eq!(held(two.seek().await.unwrap()).epoch(), 2);
    namespace.delete().await;
}

mod real {
    //! A namespace of its own in a real cluster, and the kubelet that it may lack.

    use std::time::Duration;

    use k8s_openapi::api::core::v1::{Namespace as Object, Pod, PodTemplate, ServiceAccount};
    use kube::{
        Api, Client,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    };
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    pub(crate) struct Namespace {
        client: Client,
        pub(crate) name: String,
    }

    fn object<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    impl Namespace {
        pub(crate) async fn new(client: &Client) -> Self {
            let name = format!("spillway-test-{:08x}", getrandom::u32().unwrap());
            let params = PostParams::default();
            let namespaces: Api<Object> = Api::all(client.clone());
            let own: Object = object(json!({ "metadata": { "name": name } }));
            namespaces.create(&params, &own).await.unwrap();
            // Without a controller manager nobody else makes it.
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
            let _ = accounts
                .create(
                    &params,
                    &object(json!({ "metadata": { "name": "default" } })),
                )
                .await;
            let mut template = super::template();
            template["metadata"]["name"] = "spillway-relay".into();
            template["template"]["spec"]["containers"][0]["image"] =
                "registry.k8s.io/pause:3.9".into();
            template["template"]["spec"]["automountServiceAccountToken"] = false.into();
            let templates: Api<PodTemplate> = Api::namespaced(client.clone(), &name);
            let template: PodTemplate = object(template);
            templates.create(&params, &template).await.unwrap();
            Self {
                client: client.clone(),
                name,
            }
        }

        /// Reports that the Pod runs, as a kubelet does.
        pub(crate) async fn run(&self, name: &str) {
            let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
                "name": "relay", "image": "x", "imageID": "x", "ready": true, "started": true, "restartCount": 0,
                "state": { "running": { "startedAt": "2026-11-21T10:00:00Z" } },
            }] } });
            self.report(name, status).await;
        }

        /// Reports what a kubelet does of a Pod for which its node has no memory any more.
        pub(crate) async fn evict(&self, name: &str) {
            let status = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." });
            self.report(name, json!({ "status": status })).await;
        }

        async fn report(&self, name: &str, status: Value) {
            let pods = self.pods();
            let patched = async {
                while pods
                    .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                    .await
                    .is_err()
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), patched)
                .await
                .unwrap();
        }

        pub(crate) async fn take_away(&self, name: &str) {
            let at_once = DeleteParams::default().grace_period(0);
            self.pods().delete(name, &at_once).await.unwrap();
        }

        /// Waits until there is no such Pod.
        pub(crate) async fn gone(&self, name: &str) {
            let pods = self.pods();
            let gone = async {
                while pods.get_opt(name).await.unwrap().is_some() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), gone)
                .await
                .unwrap();
        }

        /// A Pod of that name that is no relay.
        pub(crate) async fn occupy(&self, name: &str) {
            let pod: Pod = object(json!({
                "metadata": { "name": name, "labels": { "app": "other" } },
                "spec": { "automountServiceAccountToken": false,
                          "containers": [{ "name": "x", "image": "registry.k8s.io/pause:3.9" }] },
            }));
            self.pods()
                .create(&PostParams::default(), &pod)
                .await
                .unwrap();
        }

        fn pods(&self) -> Api<Pod> {
            Api::namespaced(self.client.clone(), &self.name)
        }

        pub(crate) async fn delete(self) {
            let namespaces: Api<Object> = Api::all(self.client);
            let _ = namespaces
                .delete(&self.name, &DeleteParams::default())
                .await;
        }
    }
}
