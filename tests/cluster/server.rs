//! As much of a Kubernetes API server as the manager needs, in memory and on a free port: Pods,
//! PodTemplates and Leases of one namespace, with resource versions, watches, preconditions and graceful deletion.
//! It answers wrongly, late or not at all on demand; and there is a kubelet that does what a test says.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running server; stopped when dropped.
pub(crate) struct Cluster {
    pub(crate) url: String,
    pub(crate) api: Arc<Api>,
    _guard: DropGuard,
}

#[derive(Default)]
pub(crate) struct Api {
    inner: Mutex<Inner>,
    uids: AtomicU64,
    /// Counts whatever happens, to wait for it.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    /// By kind and name.
    objects: BTreeMap<(String, String), Value>,
    /// What watches are told: version, kind, event.
    log: Vec<(u64, String, Value)>,
    /// Watches cannot go on from before this.
    compacted: u64,
    watches: Vec<(String, mpsc::UnboundedSender<Value>)>,
    faults: Vec<Fault>,
    requests: Vec<String>,
}

/// What happens to the next requests of a kind instead of what should.
#[derive(Clone, Debug)]
struct Fault {
    method: Method,
    left: u32,
    what: Wrong,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrong {
    Status(u16),
    /// It never answers, and does nothing.
    Silent,
    /// It does what it should, and never answers.
    DoneSilently,
}

type Parameters = Query<BTreeMap<String, String>>;

impl Cluster {
    pub(crate) async fn start() -> Self {
        let api = Arc::new(Api::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/api/v1/namespaces/tv/{kind}", any(collection))
            .route("/api/v1/namespaces/tv/{kind}/{name}", any(object))
            .route(
                "/apis/coordination.k8s.io/v1/namespaces/tv/{kind}",
                any(collection),
            )
            .route(
                "/apis/coordination.k8s.io/v1/namespaces/tv/{kind}/{name}",
                any(object),
            )
            .with_state(api.clone());
        let stop = CancellationToken::new();
        let end = stop.clone();
        tokio::spawn(async move {
            let served = axum::serve(listener, app).into_future();
            tokio::select! { _ = served => {}, () = end.cancelled() => {} }
        });
        Self {
            url,
            api,
            _guard: stop.drop_guard(),
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(self.url.parse().unwrap());
        config.default_namespace = "tv".into();
        kube::Client::try_from(config).unwrap()
    }
}

impl Api {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The next `count` requests of this method go wrong.
    pub(crate) fn spoil(&self, method: Method, count: u32, what: Wrong) {
        self.lock().faults.push(Fault {
            method,
            left: count,
            what,
        });
    }

    /// Watches end without a word, and can go on where they were.
    pub(crate) fn cut_watches(&self) {
        self.lock().watches.clear();
    }

    /// Watches end with 410, and so does whoever wants to go on from before now.
    pub(crate) fn expire_watches(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.compacted = inner.version;
        inner.log.clear();
        let gone = json!({ "type": "ERROR", "object": status(410, "Expired", "too old resource version") });
        for (_, watch) in std::mem::take(&mut inner.watches) {
            let _ = watch.send(gone.clone());
        }
    }

    /// Deletes without telling any watch, as if that had been while nobody watched.
    pub(crate) fn delete_unseen(&self, name: &str) {
        self.lock().objects.remove(&("pods".into(), name.into()));
    }

    pub(crate) fn requests(&self, which: &str) -> usize {
        self.lock()
            .requests
            .iter()
            .filter(|request| request.starts_with(which))
            .count()
    }

    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        self.get("pods", name)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.lock()
            .objects
            .get(&(kind.into(), name.into()))
            .cloned()
    }

    pub(crate) fn pods(&self) -> Vec<String> {
        let inner = self.lock();
        let pods = inner.objects.keys().filter(|(kind, _)| kind == "pods");
        pods.map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn put(&self, kind: &str, name: &str, mut object: Value) {
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = "tv".into();
        object["metadata"]["uid"] = format!("uid-{}", self.uids.fetch_add(1, Relaxed)).into();
        self.store(kind, name, object, "ADDED");
    }

    /// What a kubelet reports of a Pod.
    pub(crate) fn report(&self, name: &str, phase: &str, state: Value) {
        let mut pod = self.pod(name).unwrap();
        let running = state.get("running").is_some();
        let containers = pod["spec"]["containers"].as_array().unwrap().clone();
        let relay = containers
            .iter()
            .find(|container| container["name"] == "relay")
            .unwrap_or(&containers[0]);
        pod["status"] = json!({ "phase": phase, "containerStatuses": [{
            "name": relay["name"], "image": "", "imageID": "", "ready": running, "restartCount": 0, "state": state,
        }] });
        self.store("pods", name, pod, "MODIFIED");
    }

    pub(crate) fn run(&self, name: &str) {
        self.report(name, "Running", json!({ "running": {} }));
    }

    pub(crate) fn evict(&self, name: &str) {
        let mut pod = self.pod(name).unwrap();
        pod["status"] = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." });
        self.store("pods", name, pod, "MODIFIED");
    }

    /// The last of a Pod that was deleted.
    pub(crate) fn remove(&self, kind: &str, name: &str) {
        let key = (kind.to_owned(), name.to_owned());
        let gone = self.lock().objects.remove(&key);
        if let Some(object) = gone {
            self.tell(kind, object, "DELETED");
        }
    }

    /// Somebody deletes it, with time to go.
    pub(crate) fn delete(&self, name: &str) {
        let mut pod = self.pod(name).unwrap();
        pod["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z".into();
        self.store("pods", name, pod, "MODIFIED");
    }

    /// Waits until `wanted` is true of this server.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        let seen = async {
            while !wanted(self) {
                changes.changed().await.unwrap();
            }
        };
        let seen = tokio::time::timeout(std::time::Duration::from_secs(30), seen).await;
        assert!(seen.is_ok(), "never {what}: {:#?}", self.lock().requests);
    }

    fn store(&self, kind: &str, name: &str, object: Value, event: &str) {
        let key = (kind.to_owned(), name.to_owned());
        let object = self.tell(kind, object, event);
        self.lock().objects.insert(key, object);
        self.happened();
    }

    fn tell(&self, kind: &str, mut object: Value, event: &str) -> Value {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let told = json!({ "type": event, "object": object });
        inner.log.push((version, kind.to_owned(), told.clone()));
        inner
            .watches
            .retain(|(watched, watch)| watched != kind || watch.send(told.clone()).is_ok());
        drop(inner);
        self.happened();
        object
    }

    fn happened(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Notes the request; what is to go wrong with it, if anything is.
    fn asked(&self, method: &Method, what: &str) -> Option<Wrong> {
        let mut inner = self.lock();
        inner.requests.push(format!("{method} {what}"));
        let fault = inner
            .faults
            .iter_mut()
            .find(|fault| fault.method == *method && fault.left > 0);
        let wrong = fault.map(|fault| {
            fault.left -= 1;
            fault.what
        });
        drop(inner);
        self.happened();
        wrong
    }
}

/// Lists and watches; POST makes.
async fn collection(
    State(api): State<Arc<Api>>,
    method: Method,
    Path(kind): Path<String>,
    Query(query): Parameters,
    body: Bytes,
) -> Response {
    let watches = query.contains_key("watch");
    let what = if watches {
        format!("{kind} watch")
    } else {
        kind.clone()
    };
    match api.asked(&method, &what) {
        Some(Wrong::Status(code)) => return refuse(code, "Injected", "as the test wants it"),
        Some(_) => return std::future::pending().await,
        None => {}
    }
    if method == Method::POST {
        let object: Value = serde_json::from_slice(&body).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if api.get(&kind, &name).is_some() {
            return refuse(409, "AlreadyExists", "it is there");
        }
        api.put(&kind, &name, object);
        return (StatusCode::CREATED, Json(api.get(&kind, &name).unwrap())).into_response();
    }
    let mut inner = api.lock();
    if !watches {
        let selector = query.get("labelSelector").map_or("", String::as_str);
        let items = inner
            .objects
            .iter()
            .filter(|((of, _), object)| *of == kind && selected(object, selector));
        let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
        let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": inner.version.to_string() }, "items": items });
        return Json(list).into_response();
    }
    let from: u64 = query
        .get("resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(0);
    if from < inner.compacted {
        return refuse(410, "Expired", "too old resource version");
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    for (version, of, told) in &inner.log {
        if *version > from && *of == kind {
            sender.send(told.clone()).unwrap();
        }
    }
    inner.watches.push((kind, sender));
    let lines = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let line = format!("{}\n", receiver.recv().await?);
        Some((Ok::<_, Infallible>(line), receiver))
    });
    Body::from_stream(lines).into_response()
}

async fn object(
    State(api): State<Arc<Api>>,
    method: Method,
    Path((kind, name)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let wrong = api.asked(&method, &format!("{kind} {name}"));
    match wrong {
        Some(Wrong::Status(code)) => return refuse(code, "Injected", "as the test wants it"),
        Some(Wrong::Silent) => return std::future::pending().await,
        Some(Wrong::DoneSilently) | None => {}
    }
    let answer = match method {
        Method::GET => api.get(&kind, &name).map_or_else(
            || refuse(404, "NotFound", "there is none"),
            |object| Json(object).into_response(),
        ),
        Method::PATCH => applied(&api, &kind, &name, &body),
        Method::PUT => replaced(&api, &kind, &name, &body),
        Method::DELETE => deleted(&api, &kind, &name, &body),
        _ => refuse(405, "MethodNotAllowed", "no"),
    };
    if wrong.is_some() {
        return std::future::pending().await;
    }
    answer
}

/// Server-side apply: makes it, or sets what is said.
fn applied(api: &Api, kind: &str, name: &str, body: &[u8]) -> Response {
    let object: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        object["kind"].as_str().map(str::to_lowercase),
        Some(kind.trim_end_matches('s').to_owned()),
        "apply needs a kind"
    );
    match api.get(kind, name) {
        None => api.put(kind, name, object),
        Some(old) if old["spec"] != object["spec"] => {
            return refuse(422, "Invalid", "a Pod's spec cannot be changed");
        }
        Some(_) => {}
    }
    Json(api.get(kind, name).unwrap()).into_response()
}

/// Only over what was read.
fn replaced(api: &Api, kind: &str, name: &str, body: &[u8]) -> Response {
    let object: Value = serde_json::from_slice(body).unwrap();
    let Some(old) = api.get(kind, name) else {
        return refuse(404, "NotFound", "there is none");
    };
    let read = &object["metadata"]["resourceVersion"];
    if !read.is_null() && *read != old["metadata"]["resourceVersion"] {
        return refuse(409, "Conflict", "the object has been modified");
    }
    let mut object = object;
    object["metadata"]["uid"] = old["metadata"]["uid"].clone();
    api.store(kind, name, object, "MODIFIED");
    Json(api.get(kind, name).unwrap()).into_response()
}

fn deleted(api: &Api, kind: &str, name: &str, body: &[u8]) -> Response {
    let options: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(object) = api.get(kind, name) else {
        return refuse(404, "NotFound", "there is none");
    };
    let uid = &options["preconditions"]["uid"];
    assert!(!uid.is_null(), "nothing is deleted by its name alone");
    if *uid != object["metadata"]["uid"] {
        return refuse(409, "Conflict", "the uid in the precondition is another");
    }
    let over = matches!(
        object["status"]["phase"].as_str(),
        Some("Failed" | "Succeeded")
    );
    if over {
        api.remove(kind, name)
    } else {
        api.delete(name)
    }
    Json(object).into_response()
}

fn selected(object: &Value, selector: &str) -> bool {
    let mut pairs = selector.split(',').filter_map(|pair| pair.split_once('='));
    pairs.all(|(name, value)| object["metadata"]["labels"][name] == value)
}

fn refuse(code: u16, reason: &str, message: &str) -> Response {
    (
        StatusCode::from_u16(code).unwrap(),
        Json(status(code, reason, message)),
    )
        .into_response()
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message })
}
